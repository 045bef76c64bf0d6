"""Checks of a model that is read: the ONNX checker, and finite weights."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from tightc.errors import ModelError, first_line
from tightc.model.onnx_proto.graph import Graph, is_identity
from tightc.model.onnx_proto.stored_tensors import stored_as_inputs
from tightc.model.onnx_proto.unknown_operators import in_domain_of_their_own
from tightc.model.onnx_proto.weight_operators import WEIGHT_OPERATORS, has_weight
from tightc.model.reading.sizes import infer_output_shapes, outputs_without_shape
from tightc.model.reading.stale_shapes import drop_stale_shapes
from tightc.report import join_names

_PACKAGE = Path(__file__).parents[2]
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def check(proto: onnx.ModelProto, origin: str) -> list[str]:
    """Run the ONNX checker on `proto`; returns a sentence for each change to stated shapes that it needed, in place.

    Operators that ONNX does not know are passed by. ModelError, naming `origin`, where the checker refuses the rest.
    """
    done = []
    try:
        inferred = infer_output_shapes(proto, origin) if outputs_without_shape(proto) else []
        if inferred:
            done.append(f"shapes inferred for the outputs {join_names(inferred)}")
        try:
            _run_checker(proto)
        except onnx.shape_inference.InferenceError:
            stale = drop_stale_shapes(proto)
            if not stale:
                raise
            done.append(f"stated shapes that contradict the inputs left out: {join_names(stale)}")
            _run_checker(proto)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        raise ModelError(
            f"{origin}: the ONNX checker refuses it ({first_line(fault)})",
            "export the model again, or check that the file was copied whole",
        ) from None
    return done


def _run_checker(proto: onnx.ModelProto) -> None:
    onnx.checker.check_model(in_domain_of_their_own(stored_as_inputs(proto)), full_check=True)


def damage_text(fault: Exception) -> str:
    """What is damaged, of an exception while a model was read: our own sentence, or the kind of another library's."""
    raised_in = Path(traceback.extract_tb(fault.__traceback__)[-1].filename)
    if isinstance(fault, RecursionError):
        return "it is nested too deep"
    if isinstance(fault, ValueError) and raised_in.is_relative_to(_PACKAGE):
        return first_line(fault)
    return f"a tensor, attribute or name in it cannot be read: {type(fault).__name__}"


def check_finite(graph: Graph, origin: str) -> None:
    """ModelError, naming `origin`, where a weight, scale or bias of a layer of `graph` holds NaN or infinity.

    Elsewhere infinity is an ordinary constant: a bound of Clip, an operand of Max.
    """
    for name in dict.fromkeys(_layer_constants(graph)):
        tensor = graph.tensors[name]
        if tensor.dtype.name in _FLOATS and not np.isfinite(tensor).all():
            raise ModelError(
                f"{origin}: tensor {name} holds NaN or infinite values", "train or export the model again"
            )


def _layer_constants(graph: Graph) -> Iterator[str]:
    """The constants that layers read as weight or bias, through Identity, Cast and DequantizeLinear."""
    producers = {name: node for node in graph.nodes for name in node.outputs}
    for node in graph.nodes:
        if not has_weight(node.op, node.domain):
            continue
        operator = WEIGHT_OPERATORS[node.op]
        slots = [
            *operator.weights,
            *operator.scales.values(),
            *([] if operator.bias is None else [operator.bias]),
        ]
        waiting = [node.inputs[slot] for slot in slots if slot < len(node.inputs)]
        while waiting:
            name = waiting.pop()
            producer = producers.get(name)
            if name in graph.tensors:
                yield name
            elif producer is not None and (
                is_identity(producer.op, producer.domain) or producer.op == "Cast"
            ):
                waiting.append(producer.inputs[0])
            elif producer is not None and producer.op == "DequantizeLinear":
                waiting += producer.inputs[:2]
