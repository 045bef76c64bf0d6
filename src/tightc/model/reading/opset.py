"""Raising the opset of a model, with a proof by onnxruntime that its outputs stay equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, version_converter

from tightc.errors import ModelError, first_line
from tightc.model.onnx_proto.graph import default_opset
from tightc.model.onnx_proto.naming import walk_graphs
from tightc.model.onnx_proto.stored_tensors import embed_all
from tightc.model.reading.functions import called_functions
from tightc.model.runtime.limited import LimitedSession, LimitError, open_session
from tightc.model.runtime.shapes import runs_within_bounds

OLDEST_OPSET = 13
_EXPORT_AGAIN = "export the model again with a newer opset"
_IR_OF_OLDEST = 7  # the IR version that opset 13 was released with
_RESIZE_WITH_MODES = 11  # where Resize says how it maps pixels, and the bounds of Clip and Pad are inputs
_TRIED_SIZES = (32, 224, 64, 16, 128, 8, 300, 416)  # of an open dimension other than the batch
_MOST_ELEMENTS = 2**20  # over the open axes of an input: 224 in four of them would not fit into memory
_TOLERANCE = 1e-4  # of the largest output: another opset may take another kernel

# how onnx's converter says no
_REFUSED = (
    version_converter.ConvertError,
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)

Values = Sequence[NDArray[Any] | None]


def raise_opset(
    proto: onnx.ModelProto, origin: str, target: int = OLDEST_OPSET, *, before: bytes | None = None
) -> str:
    """Convert `proto`, in place, to the opset `target`, by default the oldest that stages work with.

    Its outputs are compared with those of the model in `before`, by default those that it has now.

    Returns a sentence about it, an empty one where the opset is not older. ModelError, naming `origin`, where onnx's
    converter does not know an operator, or where onnxruntime computes other outputs afterwards.
    """
    opset = default_opset(proto)
    if opset >= target:
        return ""
    failure = f"{origin}: opset {opset} cannot be raised to {target}"
    called = sorted(called_functions(proto))
    if called:  # onnx's converter drops functions
        name = called[0][1]
        raise ModelError(f"{failure} (function {name} is for another opset than the graph)", _EXPORT_AGAIN)
    embed_all(proto, origin)  # onnx's converter drops references
    before = proto.SerializeToString() if before is None else before
    try:
        converted = version_converter.convert_version(proto, target)
    except _REFUSED as fault:
        raise ModelError(f"{failure} ({first_line(fault)})", _EXPORT_AGAIN) from None
    converted.ir_version = max(converted.ir_version, _IR_OF_OLDEST)
    _restore(converted, proto)
    if opset < _RESIZE_WITH_MODES:
        _keep_sampling(converted)
        _keep_types(converted, _element_types(proto))
    proto.CopyFrom(converted)
    compared = _compare(before, proto, origin, failure)
    return f"opset raised from {opset} to {target} by onnx's converter; {compared}"


def _restore(converted: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Put back what onnx's converter drops: the metadata of the model."""
    if not converted.metadata_props:
        converted.metadata_props.extend(original.metadata_props)


def _keep_sampling(converted: onnx.ModelProto) -> None:
    """Resize as Upsample and the first Resize sampled: onnx's converter leaves the modes to their later defaults."""
    for graph in walk_graphs(converted.graph):
        for node in graph.node:
            if node.op_type == "Resize":
                node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
                node.attribute.append(helper.make_attribute("nearest_mode", "floor"))


def _keep_types(converted: onnx.ModelProto, types: Mapping[str, int]) -> None:
    """Give the bounds of Clip and the value of Pad the type of what they act on; onnx's converter writes float32.

    `types`: ONNX's element type of each value, by name.
    """
    for graph in walk_graphs(converted.graph):
        constants = {node.output[0]: node for node in graph.node if node.op_type == "Constant"}
        for node in graph.node:
            kind = types.get(node.input[0], onnx.TensorProto.FLOAT) if node.op_type in ("Clip", "Pad") else 0
            if kind in (0, onnx.TensorProto.FLOAT):
                continue
            for name in node.input[1 if node.op_type == "Clip" else 2 :]:
                if name in constants:
                    value = numpy_helper.to_array(constants[name].attribute[0].t)
                    typed = numpy_helper.from_array(value.astype(helper.tensor_dtype_to_np_dtype(kind)))
                    constants[name].attribute[0].t.CopyFrom(typed)


def _element_types(proto: onnx.ModelProto) -> dict[str, int]:
    """ONNX's element types of the values of `proto` and its subgraphs, by name, as far as they are inferred."""
    inferred = onnx.shape_inference.infer_shapes(proto)
    return {
        value.name: value.type.tensor_type.elem_type
        for graph in walk_graphs(inferred.graph)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def _compare(before: bytes, after: onnx.ModelProto, origin: str, failure: str) -> str:
    """A sentence on the outputs of both models on random inputs.

    ModelError where they differ, or, with the sentence `failure`, where onnxruntime can load the first alone.
    """
    is_bounded = runs_within_bounds(after, max(_TRIED_SIZES))
    with ExitStack() as stack:
        try:
            session = stack.enter_context(open_session(before, origin, is_bounded=is_bounded))
        except LimitError:
            raise
        except ModelError as fault:
            return f"outputs not compared ({fault.sentence.removeprefix(f'{origin}: ')})"
        other = next((given for given in session.inputs if _dtype(given) is None), None)
        if other is not None:
            return f"outputs not compared (input {other.name} is {other.type})"
        try:
            new = stack.enter_context(open_session(after.SerializeToString(), origin, is_bounded=is_bounded))
        except LimitError:
            raise
        except ModelError as fault:
            reason = fault.sentence.removeprefix(f"{origin}: ")
            raise ModelError(f"{failure} (afterwards, {reason})", _EXPORT_AGAIN) from None
        return _compare_runs(session, new, origin)


def _compare_runs(session: LimitedSession, new: LimitedSession, origin: str) -> str:
    """A sentence on the outputs of both sessions on random inputs; ModelError where they differ."""
    inputs = session.inputs
    has_conditions = any(given.type == "tensor(bool)" for given in inputs)
    for size in _TRIED_SIZES:
        if any(size ** _open_axes(given) > _MOST_ELEMENTS for given in inputs):
            continue
        pairs = []
        try:
            for condition in (False, True) if has_conditions else (False,):  # an If runs one of its branches
                feeds = _random_inputs(inputs, size, condition)
                pairs.append((session.run(None, feeds), new.run(None, feeds)))
        except LimitError:
            raise
        except ModelError:
            continue
        for expected, found in pairs:
            _require_equal(expected, found, origin)
        return "outputs equal on random inputs"
    return "outputs not compared (no size of its open inputs was found that runs)"


def _is_size(entry: Any) -> bool:
    return isinstance(entry, int) and entry > 0


def _open_axes(given: Any) -> int:
    """The number of open axes of an input of a session, but the batch."""
    return sum(not _is_size(entry) for entry in given.shape[1:])


def _random_inputs(inputs: Sequence[Any], size: int, condition: bool) -> Mapping[str, NDArray[Any]]:
    """One sample for each input of a session; open dimensions are `size`, that of the batch 1.

    Inputs of true or false are `condition`.
    """
    rng = np.random.default_rng(0)
    feeds = {}
    for given in inputs:
        dtype = _dtype(given)
        assert dtype is not None, "the caller looked"
        shape = [
            entry if _is_size(entry) else (1 if axis == 0 else size) for axis, entry in enumerate(given.shape)
        ]
        values = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        feeds[given.name] = np.full(shape, condition) if dtype.kind == "b" else values.astype(dtype)
    return feeds


def _dtype(given: Any) -> np.dtype[Any] | None:
    """The numpy dtype of an input of a session; None where it is no tensor of numbers."""
    kind = given.type.removeprefix("tensor(").removesuffix(")")
    try:
        dtype = np.dtype({"float": "float32", "double": "float64"}.get(kind, kind))
    except TypeError:
        return None
    return dtype if dtype.kind in "fiub" else None


def _require_equal(expected: Values, found: Values, origin: str) -> None:
    for one, other in zip(expected, found, strict=True):
        if one is None or other is None or one.dtype.kind not in "fiub":
            continue
        bound = _TOLERANCE * max(1.0, float(np.abs(one[np.isfinite(one)]).max(initial=0)))
        same = one.shape == other.shape and np.allclose(one, other, rtol=0, atol=bound, equal_nan=True)
        if not same:
            raise ModelError(
                f"{origin}: raising its opset changes its outputs",
                _EXPORT_AGAIN,
            )
