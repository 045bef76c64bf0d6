"""What a file declares, checked before the work: opsets, calls of functions, and sizes of sparse tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

import onnx

from tightc.errors import ModelError
from tightc.model.onnx_proto.naming import subgraphs, walk_graphs

_LARGEST_OPSET = 2**31 - 1
_MOST_NODES = 100_000  # after functions are replaced, or ten times those in the file
_DEEPEST = 64  # calls within calls
_MOST_ELEMENTS = 2**26  # of a dense tensor, or 2**14 for each value that is stored
_ELEMENTS_PER_VALUE = 2**14
_EXPORT_AGAIN = "export the model again"

Key = tuple[str, str]


def require_bounds(proto: onnx.ModelProto, origin: str) -> None:
    """ModelError, naming `origin`, where `proto` declares opsets, calls or sizes that no model needs."""
    for entry in proto.opset_import:
        if not 0 < entry.version <= _LARGEST_OPSET:
            raise ModelError(
                f"{origin}: expected an opset from 1 to {onnx.defs.onnx_opset_version()}, got {entry.version}",
                _EXPORT_AGAIN,
            )
    _require_few_nodes(proto, origin)
    for graph in walk_graphs(proto.graph):
        for sparse in graph.sparse_initializer:
            _require_small(sparse, origin)


def _require_small(sparse: onnx.SparseTensorProto, origin: str) -> None:
    stored = prod(sparse.values.dims)
    most = max(_MOST_ELEMENTS, _ELEMENTS_PER_VALUE * stored)
    if min(sparse.dims, default=1) < 0 or prod(sparse.dims) > most:
        raise ModelError(
            f"{origin}: expected at most {most} elements in the sparse tensor {sparse.values.name} with {stored} "
            f"values, got the shape {'x'.join(map(str, sparse.dims))}",
            _EXPORT_AGAIN,
        )


def _require_few_nodes(proto: onnx.ModelProto, origin: str) -> None:
    """ModelError where calls of functions within functions stand for more nodes than any model has."""
    if not proto.functions:
        return
    calls = {(function.domain, function.name): list(_called(function.node)) for function in proto.functions}
    called = list(_called(proto.graph.node))
    most = max(_MOST_NODES, 10 * (len(called) + sum(map(len, calls.values()))))
    sizes: dict[Key, int] = {}
    depths: dict[Key, int] = {}
    for key in calls:
        if key not in sizes:
            _measure(key, calls, (sizes, depths), origin)
    total = sum(sizes.get(key, 1) for key in called)
    if total > most:
        raise ModelError(
            f"{origin}: expected at most {most} nodes with its functions written out, got {total}",
            _EXPORT_AGAIN,
        )


def _measure(
    first: Key, calls: Mapping[Key, Sequence[Key]], found: tuple[dict[Key, int], dict[Key, int]], origin: str
) -> None:
    """Put into `found` how many nodes a call of `first` stands for, and how deep; the same of all that it calls."""
    sizes, depths = found
    path = {first: iter(calls[first])}
    while path:
        key, rest = next(reversed(path.items()))
        waiting = next((call for call in rest if call in calls and call not in sizes), None)
        if waiting is None:
            sizes[key] = sum(sizes.get(call, 1) for call in calls[key])
            depths[key] = 1 + max((depths.get(call, 0) for call in calls[key]), default=0)
            if depths[key] > _DEEPEST:
                raise ModelError(
                    f"{origin}: its functions are more than {_DEEPEST} calls deep ({key[1]})", _EXPORT_AGAIN
                )
            del path[key]
        elif waiting in path:
            raise ModelError(
                f"{origin}: its functions call each other in a circle ({waiting[1]})", _EXPORT_AGAIN
            )
        else:
            path[waiting] = iter(calls[waiting])


def _called(nodes: Iterable[onnx.NodeProto]) -> Iterable[Key]:
    """Domain and operator of `nodes` and of those in their subgraphs."""
    for node in nodes:
        yield node.domain, node.op_type
        for first in subgraphs(node):
            for graph in walk_graphs(first):
                yield from ((inner.domain, inner.op_type) for inner in graph.node)
