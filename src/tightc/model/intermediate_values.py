"""What flows between the nodes of a model, by onnxruntime."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import DataError
from tightc.model.file import Model
from tightc.model.onnx_proto.graph import read_graph
from tightc.model.runtime.session import create_session, ort_errors
from tightc.model.runtime.shapes import value_shapes

Values = dict[str, NDArray[Any]]


def intermediate_values(model: Model, names: Iterable[str], feeds: Mapping[str, NDArray[Any]]) -> Values:
    """The values named, of one run on `feeds`, literally. ModelError where onnxruntime cannot run it on them."""
    wanted = list(dict.fromkeys(name for name in names if name not in feeds))
    proto = model.editable()
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    session = create_session(proto.SerializeToString(), model.origin, literal=True)
    with ort_errors(model.origin, "onnxruntime cannot run it"):
        found = session.run(wanted, dict(feeds)) if wanted else []
    return {**feeds, **dict(zip(wanted, found, strict=True))}


def random_feeds(model: Model, input_sizes: InputSizeOptions, seed: int) -> Values:
    """Something for each input of the model, as large as `extent` says: normal numbers, or zeros where not floats."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name, (dtype, shape) in _inputs(model, input_sizes).items():
        drawn = rng.standard_normal(shape) if np.issubdtype(dtype, np.floating) else np.zeros(shape)
        feeds[name] = drawn.astype(dtype)
    return feeds


def read_feeds(path: str, model: Model, input_sizes: InputSizeOptions) -> Values:
    """An array for each input of the model from an .npz file; DataError where one is missing or does not fit."""
    wanted = _inputs(model, input_sizes)
    stored = _read_npz(path)
    feeds = {}
    for name, (dtype, shape) in wanted.items():
        if name not in stored:
            held = ", ".join(stored) or "nothing"
            raise DataError(f"{path}: has no array for input {name} (it has {held})", f"add {name}")
        array = stored[name]
        if array.shape != shape:
            found, needed = ("x".join(map(str, sides)) or "a single number" for sides in (array.shape, shape))
            raise DataError(
                f"{path}: {name} is {found}, the model takes {needed}", "mend the array, or give --batch"
            )
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"{path}: {name} holds {array.dtype}, the model takes {dtype}", "give real numbers"
            )
        feeds[name] = array.astype(dtype)
    return feeds


def _read_npz(path: str) -> Values:
    try:
        stored = np.load(Path(path).expanduser())
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array")
        with stored:
            arrays = {name: stored[name] for name in stored.files}
        strange = next((name for name, array in arrays.items() if not isinstance(array, np.ndarray)), "")
        if strange:
            raise ValueError(f"{strange} is no array")
        return arrays
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as fault:
        raise DataError(f"{path}: cannot be read as .npz ({fault})", "write it with numpy.savez") from None


def _inputs(model: Model, input_sizes: InputSizeOptions) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """dtype and shape of each input that a caller feeds."""
    names = read_graph(model.proto).inputs
    shapes = value_shapes(model.proto, model.origin, names, input_sizes)
    kinds: dict[str, onnx.ValueInfoProto] = {value.name: value for value in model.proto.graph.input}
    return {
        name: (helper.tensor_dtype_to_np_dtype(kinds[name].type.tensor_type.elem_type), shapes[name])
        for name in names
    }
