"""The strategy: which nodes follow each other, and what the file says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import onnx
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter
from onnx import helper, numpy_helper

from helpers import models
from helpers.graphs import layers, moves, pointwise, structures
from helpers.graphs.network import (
    ORT_ERRORS,
    Array,
    Draw,
    Network,
    RefusedError,
    Value,
    free_names,
    make_model,
    read_names,
    run,
    subgraphs,
)

REJECTED: list[str] = []
"""Why onnxruntime or the checker did not take whole models, which were then left out."""


@dataclass(frozen=True)
class Kind:
    """Operators of a kind: what draws them, which values they follow, and from which opset on."""

    draw: Draw
    ranks: range = range(1, 6)
    opset: int = 7
    float32: bool = False


_IMAGES, _MATRICES = range(3, 6), range(2, 6)

LAYERS = {
    "conv": Kind(layers.conv, _IMAGES),
    "gemm": Kind(layers.gemm, range(2, 3)),
    "matmul": Kind(layers.matmul),
    "matmul_left": Kind(layers.matmul_left, _MATRICES),
    "gemm_left": Kind(layers.gemm_left, range(2, 3)),
    "conv_transpose": Kind(layers.conv_transpose, _IMAGES),
}
INTEGER_LAYERS = {
    "qlinear_conv": Kind(layers.qlinear_conv, _IMAGES, 10, True),
    "conv_integer": Kind(layers.conv_integer, range(4, 5), 10, True),
    "matmul_integer": Kind(layers.matmul_integer, _MATRICES, 10, True),
    "qlinear_matmul": Kind(layers.qlinear_matmul, _MATRICES, 10, True),
    "fake_quantize": Kind(layers.fake_quantize, opset=10, float32=True),
}
OTHERS = {
    "activation": Kind(pointwise.activation),
    "joined": Kind(pointwise.joined),
    "batch_norm": Kind(pointwise.batch_norm, _MATRICES),
    "max_pool": Kind(pointwise.max_pool, _IMAGES),
    "average_pool": Kind(pointwise.average_pool, _IMAGES),
    "global_pool": Kind(pointwise.global_pool, _IMAGES),
    "flatten": Kind(moves.flatten),
    "reshape": Kind(moves.reshape),
    "transpose": Kind(moves.transpose),
    "concat": Kind(moves.concat),
    "split": Kind(moves.split),
    "slice": Kind(moves.slices),
    "gather": Kind(moves.gather),
    "pad": Kind(moves.pad, _MATRICES),
    "resize": Kind(moves.resize, _IMAGES),
    "unsqueeze": Kind(moves.unsqueeze, range(1, 5)),
    "cast": Kind(pointwise.cast),
}
PLAIN = {**LAYERS, **OTHERS}
STRUCTURES: dict[str, Callable[..., list[str]]] = {
    "choice": structures.choice,
    "loop": structures.loop,
    "function": structures.function,
}


@dataclass(frozen=True)
class GeneratedGraph:
    """A drawn model.

    `proto`: the file. `runnable`: the same without sizes of 0, which onnxruntime takes literally. `feeds`: an array for
    each input. `kinds`: what was drawn. `refused`: why onnxruntime did not run nodes that were left out.
    `has_half`: whether some value is float16.
    """

    proto: onnx.ModelProto
    runnable: onnx.ModelProto
    feeds: dict[str, Array]
    kinds: frozenset[str]
    refused: tuple[str, ...]
    has_half: bool

    def outputs(self) -> list[Array]:
        return run(self.runnable, self.feeds)

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        """How Hypothesis prints a failing example."""
        printer.text(onnx.printer.to_text(self.proto))


@cache
def newest_opset() -> int:
    return models.newest_opset()


def opsets() -> list[int]:
    return [17, 13, *(opset for opset in range(newest_opset(), 6, -1) if opset not in (13, 17))]


@st.composite
def graphs(draw: st.DrawFn, *, plain: bool = False) -> GeneratedGraph:
    """Models of 1 to 12 drawn nodes; only float operators without subgraphs or functions where `plain`."""
    dtype = np.dtype(draw(st.sampled_from([np.float32, np.float32, np.float32, np.float16])))
    opset = draw(st.sampled_from(opsets()))
    net = Network(draw, opset, dtype, np.random.default_rng(draw(st.integers(0, 9999))))
    net.note(f"opset: {opset}")
    net.note(f"dtype: {dtype}")
    refused: list[str] = []
    net.values.append(pointwise.new_input(net, _shape(net), dtype))
    chain = net.choose([False, True])
    net.note("chain" if chain else "branches")
    first = True
    for _ in range(draw(st.integers(1, 12))):
        earlier = net.copied()
        try:
            x = net.values[-1] if chain else net.choose(net.values[:-4:-1])
            _grow(net, x, LAYERS if first else (PLAIN if plain else None))
            first = False
        except RefusedError as fault:
            net.restore(earlier)
            refused.append(str(fault))
    assume(net.nodes)
    return _finished(net, tuple(refused), last_only=chain)


def _shape(net: Network) -> tuple[int, ...]:
    rank = net.choose([4, 2, 3, 5, 4, 4])
    batch = net.choose([1, 2])
    if rank == 2:
        return batch, net.number(1, 8)
    side = 4 if rank == 5 else 7
    return batch, net.choose([1, 2, 3, 4, 6]), *(net.number(1, side) for _ in range(rank - 2))


def _grow(net: Network, x: Value, kinds: dict[str, Kind] | None) -> None:
    """A node or a structure after `x`; its outputs are values of the network."""
    if kinds is None and net.choose([False, False, False, False, True]):
        names = _structure(net, x)
    else:
        kinds = kinds or _any_kind(net)
        names = _fitting(net, x, kinds)(net, x)
    net.values.extend([net.value(name) for name in names])


def _any_kind(net: Network) -> dict[str, Kind]:
    return net.choose([LAYERS, OTHERS, OTHERS, *([] if _has_subgraphs(net) else [INTEGER_LAYERS])])


def _has_subgraphs(net: Network) -> bool:
    return not {"op: If", "op: Loop"}.isdisjoint(net.kinds)


def _fitting(net: Network, x: Value, kinds: dict[str, Kind]) -> Draw:
    fitting = [
        kind.draw
        for kind in kinds.values()
        if x.rank in kind.ranks
        and net.opset >= kind.opset
        and (x.array.dtype == np.float32 or not kind.float32)
    ]
    if not fitting:
        raise RefusedError("no kind fits")
    return net.choose(fitting)


def _structure(net: Network, x: Value) -> list[str]:
    """An If, Loop or function, possibly within each other."""
    # onnxruntime 1.31 ends the process where a dequantized activation goes through an Unsqueeze into a subgraph
    name = net.choose([*STRUCTURES]) if "op: QuantizeLinear" not in net.kinds else "function"
    draws: list[Draw] = []
    if name != "choice" and net.choose([False, True]):
        return STRUCTURES[name](net, x, [layers.square])
    for kinds in [LAYERS, *net.choose([[], [OTHERS], [PLAIN, OTHERS]])]:
        draws.append(partial(_one, kinds=kinds))
    if net.depth < 2 and net.choose([False, True]):
        draws.insert(0, _structure)
        net.note("structure: nested")
    return STRUCTURES[name](net, x, draws)


def _one(net: Network, x: Value, kinds: dict[str, Kind]) -> list[str]:
    return _fitting(net, x, kinds)(net, x)


# --- the file


def _finished(net: Network, refused: tuple[str, ...], *, last_only: bool) -> GeneratedGraph:
    proto = _model(net, last_only=last_only)
    _name_nodes(net, proto)
    if net.choose([False, False, True]):
        _add_value_info(net, proto)
    runnable = _without_sparse(net, proto)
    feeds = {name: net.known[name] for name in net.inputs}
    try:
        onnx.checker.check_model(runnable, full_check=True)
        outputs = run(runnable, feeds)
        run(runnable, feeds, optimized=True)
    except (*ORT_ERRORS, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        REJECTED.append(str(fault))
        assume(False)
    assume(all(np.isfinite(array).all() for array in outputs))
    _open_sizes(net, proto, runnable)
    has_half = any(array.dtype == np.float16 for array in net.known.values())
    return GeneratedGraph(proto, runnable, feeds, frozenset(net.kinds), refused, has_half)


def _model(net: Network, *, last_only: bool) -> onnx.ModelProto:
    read = {name for node in net.nodes for name in read_names(node)}
    computed = [name for node in net.nodes for name in node.output]
    last = [name for name in computed if name not in read and net.known[name].dtype.kind == "f"]
    outputs = last[-1:] if last_only else [name for name in last if net.choose([True, False])] or last[-1:]
    inner = [value.name for value in net.values if value.name in read and value.name in computed]
    of_weights = [name for name in net.weights if name in computed and name not in outputs]
    if inner and not last_only and net.choose([False, False, True]):
        outputs.append(net.choose(inner[::-1]))
        net.note("outputs: one that is read")
    if of_weights and not last_only and net.choose([False] * 7 + [True]):
        outputs.append(net.choose(of_weights))
        net.note("outputs: a weight")
    if len(outputs) > 1:
        net.note("outputs: several")
    free = set(free_names(net.nodes))
    tensors = [tensor for name, tensor in net.tensors.items() if name in free]
    graph = helper.make_graph(
        net.nodes,
        "generated",
        [_info(net, name) for name in net.inputs],
        [_info(net, name) for name in outputs],
        tensors,
        sparse_initializer=[tensor for name, tensor in net.sparse.items() if name in free],
    )
    ir = net.choose([10, 8]) if net.functions or net.sparse else net.choose([8, 10, 4, 3])
    model = make_model(graph, net.opset, ir, net.functions)
    listed = [name for name in net.listed if name in free]
    if model.ir_version < 4:
        net.note("IR 3")
        listed = [tensor.name for tensor in tensors]
    model.graph.input.extend(_info(net, name) for name in listed)
    return model


def _without_sparse(net: Network, proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with dense tensors: the checker infers no shape of a sparse one."""
    runnable = onnx.ModelProto()
    runnable.CopyFrom(proto)
    names = [sparse.values.name for sparse in proto.graph.sparse_initializer]
    del runnable.graph.sparse_initializer[:]
    runnable.graph.initializer.extend(numpy_helper.from_array(net.known[name], name) for name in names)
    return runnable


def _info(net: Network, name: str) -> onnx.ValueInfoProto:
    array = net.known[name]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def _name_nodes(net: Network, proto: onnx.ModelProto) -> None:
    """Nodes without names, or with names that those of subgraphs and functions repeat."""
    form = net.choose(["their own", "none", "repeated"])
    net.note(f"node names: {form}")
    if form != "their own":
        for nodes in _node_lists(proto):
            for place, node in enumerate(nodes):
                node.name = "" if form == "none" else f"same{place}"


def _node_lists(proto: onnx.ModelProto) -> Iterator[Sequence[onnx.NodeProto]]:
    """The nodes of the graph, of its functions, and of the subgraphs of both."""
    waiting: list[Sequence[onnx.NodeProto]] = [proto.graph.node, *(f.node for f in proto.functions)]
    while waiting:
        nodes = waiting.pop()
        yield nodes
        waiting += [graph.node for node in nodes for graph in subgraphs(node)]


def _add_value_info(net: Network, proto: onnx.ModelProto) -> None:
    net.note("value_info")
    outputs = {value.name for value in proto.graph.output}
    names = [name for node in proto.graph.node for name in node.output if name and name not in outputs]
    proto.graph.value_info.extend(_info(net, name) for name in names)


def _open_sizes(net: Network, proto: onnx.ModelProto, runnable: onnx.ModelProto) -> None:
    """Sizes of the inputs that are open, -1 or 0, and outputs without a shape."""
    form = net.choose(["fixed", "open batch", "open", "-1", "0"])
    net.note(f"sizes: {form}")
    fed = set(net.inputs)
    if form != "fixed":
        for model in (proto, runnable):
            model_form = form if model is proto else "open"
            values = [value for value in model.graph.input if value.name in fed]
            _open(values, model_form if form in ("-1", "0") else form)
            _open(model.graph.output, "open")
            _open(model.graph.value_info, "open")
    if net.choose([False, False, True]):
        net.note("outputs without a shape")
        for value in proto.graph.output:
            value.type.tensor_type.ClearField("shape")


def _open(values: Iterable[onnx.ValueInfoProto], form: str) -> None:
    for value in values:
        for axis, side in enumerate(value.type.tensor_type.shape.dim):
            if form == "open":
                side.ClearField("value")
            elif axis == 0 and form == "open batch":
                side.dim_param = "batch"
            elif axis == 0:
                side.dim_value = int(form)
