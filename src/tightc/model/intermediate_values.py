"""Intermediate values of a model, computed by onnxruntime, and the feeds of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import DataError, ModelError
from tightc.model.file import Model
from tightc.model.onnx_proto.graph import read_graph
from tightc.model.onnx_proto.stored_tensors import embedded
from tightc.model.runtime.float32_copy import run_dtype
from tightc.model.runtime.limited import open_session
from tightc.model.runtime.session import create_session, ort_errors
from tightc.model.runtime.shapes import runs_within_bounds, value_shapes
from tightc.npz_file import open_npz

Values = dict[str, NDArray[Any]]


def intermediate_values(model: Model, names: Iterable[str], feeds: Mapping[str, NDArray[Any]]) -> Values:
    """The values `names` in one run of `model` on `feeds`, by name, with weights dequantized as the model says.

    ModelError where onnxruntime cannot run it.
    """
    wanted = list(dict.fromkeys(name for name in names if name not in feeds))
    proto = _with_outputs(model, wanted)
    session = create_session(embedded(proto, model.origin).SerializeToString(), model.origin, literal=True)
    with ort_errors(model.origin, "onnxruntime cannot run it"):
        found = session.run(wanted, dict(feeds)) if wanted else []
    return {**feeds, **dict(zip(wanted, found, strict=True))}


def limited_values(model: Model, names: Iterable[str], feeds: Mapping[str, NDArray[Any]]) -> Values:
    """As `intermediate_values`, with limits of time and memory: nobody asked for that run of `model`.

    ModelError where onnxruntime cannot run it, or where a value is no array of numbers.
    """
    wanted = list(dict.fromkeys(name for name in names if name not in feeds))
    proto = _with_outputs(model, wanted)
    is_bounded = runs_within_bounds(proto)
    with open_session(
        embedded(proto, model.origin).SerializeToString(), model.origin, is_bounded=is_bounded
    ) as session:
        found = session.run(wanted, feeds) if wanted else []
    values = {name: value for name, value in zip(wanted, found, strict=True) if value is not None}
    if len(values) < len(wanted):
        raise ModelError(f"{model.origin}: expected tensors of numbers, got others", "export the model again")
    return {**feeds, **values}


def _with_outputs(model: Model, names: Sequence[str]) -> onnx.ModelProto:
    """A copy of `model` whose outputs are the values `names`."""
    proto = model.copy_proto()
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return proto


def random_feeds(model: Model, input_sizes: InputSizeOptions, seed: int) -> Values:
    """An array for each input of `model` with `input_sizes`: standard normal from `seed`, or zeros for integers."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name, (dtype, shape) in _input_types(model, input_sizes).items():
        array = rng.standard_normal(shape) if np.issubdtype(dtype, np.floating) else np.zeros(shape)
        feeds[name] = array.astype(dtype)
    return feeds


def read_feeds(path: str, model: Model, input_sizes: InputSizeOptions) -> Values:
    """An array for each input of `model` with `input_sizes`, from the .npz file at `path`.

    DataError where one is missing or has another shape or type.
    """
    types = _input_types(model, input_sizes)
    try:
        with open_npz(Path(os.path.expanduser(path))) as stored:
            return {name: _feed(name, stored, wanted, path) for name, wanted in types.items()}
    except OSError as fault:
        raise DataError(f"{path}: cannot be read as .npz ({fault})", "write it with numpy.savez") from None


def _feed(
    name: str,
    stored: Mapping[str, NDArray[Any]],
    wanted: tuple[np.dtype[Any], tuple[int, ...]],
    path: str,
) -> NDArray[Any]:
    """The array of the input `name` in the `wanted` dtype; DataError where it is missing or has another shape."""
    dtype, shape = wanted
    if name not in stored:
        names = ", ".join(stored) or "nothing"
        raise DataError(f"{path}: expected an array for input {name}, got {names}", f"add {name}")
    array = stored[name]
    if array.shape != shape:
        raise DataError(
            f"{path}: expected {_shape_text(shape)} for {name}, got {_shape_text(array.shape)}",
            "correct the array, or give --batch",
        )
    if array.dtype.kind not in "biuf":
        raise DataError(f"{path}: expected {dtype} for {name}, got {array.dtype}", "give an array of numbers")
    return array.astype(dtype)


def _shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _input_types(
    model: Model, input_sizes: InputSizeOptions
) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """The dtype and shape of each input that a caller feeds."""
    names = read_graph(model.proto).inputs
    shapes = value_shapes(model.proto, model.origin, names, input_sizes)
    declared: dict[str, onnx.ValueInfoProto] = {value.name: value for value in model.proto.graph.input}
    return {name: (run_dtype(declared[name].type.tensor_type.elem_type), shapes[name]) for name in names}
