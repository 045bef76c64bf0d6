"""Initializers as constants: those that are listed as inputs too, and sparse ones."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from onnx import numpy_helper

from tightc.errors import ModelError
from tightc.model.onnx_proto.naming import walk_graphs
from tightc.model.onnx_proto.repeated_fields import replace_items

_IR_WITHOUT_LISTING = 4  # from there on, an initializer that is no input is a constant (ONNX IR, "Graphs")


def fix_overridable(proto: onnx.ModelProto) -> int:
    """Remove the initializers of `proto` from its inputs, in place; returns how many there were.

    IR version 3 had to list them. They stay initializers, and a caller can no longer replace them.
    """
    names = {tensor.name for tensor in proto.graph.initializer}
    names |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    kept = [value for value in proto.graph.input if value.name not in names]
    fixed = len(proto.graph.input) - len(kept)
    if fixed:
        replace_items(proto.graph.input, kept)
    if fixed or proto.ir_version < _IR_WITHOUT_LISTING:
        proto.ir_version = max(proto.ir_version, _IR_WITHOUT_LISTING)
    return fixed


def make_dense(proto: onnx.ModelProto, origin: str) -> list[str]:
    """Turn the sparse initializers of `proto`, also those of subgraphs, into dense ones; returns their names.

    ModelError, naming `origin`, where the indices of one do not fit its shape.
    """
    names = []
    for graph in walk_graphs(proto.graph):
        for sparse in graph.sparse_initializer:
            names.append(sparse.values.name)
            graph.initializer.append(_dense(sparse, origin))
        del graph.sparse_initializer[:]
    return names


def _dense(sparse: onnx.SparseTensorProto, origin: str) -> onnx.TensorProto:
    """The dense tensor of `sparse`, whose indices are (nonzeros,) in the flat tensor or (nonzeros, axes)."""
    shape = tuple(sparse.dims)
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    dense = np.zeros(prod(shape), values.dtype)
    try:
        places = np.ravel_multi_index(tuple(indices.T), shape) if indices.ndim == 2 else indices
        dense[places] = values
    except (ValueError, IndexError) as fault:
        raise ModelError(
            f"{origin}: expected indices within {'x'.join(map(str, shape))} in the sparse tensor "
            f"{sparse.values.name}, got others ({fault})",
            "export the model again",
        ) from None
    return numpy_helper.from_array(dense.reshape(shape), sparse.values.name)
