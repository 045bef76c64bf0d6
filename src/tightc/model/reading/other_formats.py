"""Files of other formats that are given as a model: recognized by content and name, never decoded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from tightc.errors import ModelError

_HEAD = 4096  # bytes at the start and at the end that are looked at; a zip lists its members at the end
_TAIL = 65536
_EXPORT = 'torch.onnx.export(model.eval(), (torch.randn(1, 3, 224, 224),), "{out}")'
_STATE = (
    "in Python, build the model, load the weights into it, and run {export}, "
    "with an input of the size that it takes"
)


@dataclass(frozen=True)
class _Format:
    """A format: what it is, and the remedy, in which `{name}` is the file and `{out}` the model to write."""

    what: str
    remedy: str

    def error(self, path: str) -> ModelError:
        """The error for the file at `path`."""
        out = f"{PurePath(path).stem}.onnx"
        if out in (PurePath(path).name, "<stdin>.onnx"):
            out = "exported.onnx"
        remedy = self.remedy.format(name=path, out=out, export=_EXPORT.format(out=out))
        return ModelError(f"{path}: not an ONNX model, but {self.what}", remedy)


_TORCH = _Format(
    "a file of torch.save",
    "in Python, load the model and run {export}, with an input of the size that it takes",
)
_PROGRAM = _Format(
    "a program of torch.export",
    'run in Python: torch.onnx.export(torch.export.load("{name}"), f="{out}")',
)
_SAFETENSORS = _Format("weights as safetensors", _STATE)
_KERAS = _Format(
    "a Keras model",
    'run in Python: keras.saving.load_model("{name}").export("{out}", format="onnx")',
)
_TFLITE = _Format("a TFLite model", "run python -m tf2onnx.convert --tflite {name} --output {out}")
_GRAPH = _Format(
    "a TensorFlow graph",
    "run python -m tf2onnx.convert --graphdef {name} --inputs NAME:0 --outputs NAME:0 --output {out}",
)
_SAVED_MODEL = _Format(
    "a SavedModel of TensorFlow", "run python -m tf2onnx.convert --saved-model {name} --output {out}"
)
_ORT = _Format("a model in the format of onnxruntime", "give the .onnx file that it was made from")
_LFS = _Format("a Git LFS pointer", "run git lfs pull in its repository")
_HTML = _Format("a web page", "download the file itself, not the page that shows it")
_GZIP = _Format("a gzip file", "unpack it with gunzip first")
_ZIP = _Format("a zip file", "unpack it with unzip first")

_BY_START: tuple[tuple[re.Pattern[bytes], _Format], ...] = (
    (re.compile(rb"\x80[\x02-\x05]"), _TORCH),  # a pickle, as torch.save wrote before 1.6
    (re.compile(rb"\x89HDF\r\n\x1a\n"), _KERAS),
    (re.compile(rb".{4}TFL3", re.DOTALL), _TFLITE),
    (re.compile(rb".{4}ORTM", re.DOTALL), _ORT),
    (re.compile(rb".{8}\{\s*\"", re.DOTALL), _SAFETENSORS),
    (re.compile(rb"version https://git-lfs"), _LFS),
    (re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE), _HTML),
    (re.compile(rb"\x1f\x8b"), _GZIP),
)
_BY_MEMBER = (
    (b"model.weights.h5", _KERAS),
    (b"exported_program", _PROGRAM),
    (b"archive_format", _PROGRAM),
    (b"data.pkl", _TORCH),
    (b"constants.pkl", _TORCH),
)
_BY_SUFFIX = {
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".ckpt": _TORCH,
    ".pt2": _PROGRAM,
    ".safetensors": _SAFETENSORS,
    ".keras": _KERAS,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".tflite": _TFLITE,
    ".pb": _GRAPH,
    ".ort": _ORT,
}


def other_format(path: str, size: int, read: Callable[[int, int], bytes]) -> ModelError | None:
    """The error for a file that is no ONNX model, with the line that converts it; None where it is not recognized.

    `read(start, count)` returns bytes of its `size`. Nothing is unpickled or unpacked.
    """
    head = read(0, min(size, _HEAD))
    if head.startswith(b"PK\x03\x04"):
        start = max(0, size - _TAIL)
        members = head + read(start, size - start)
        found = next((kind for mark, kind in _BY_MEMBER if mark in members), None)
        return (found or _BY_SUFFIX.get(PurePath(path).suffix.lower(), _ZIP)).error(path)
    by_start = next((kind for start_of, kind in _BY_START if start_of.match(head)), None)
    kind = by_start or _BY_SUFFIX.get(PurePath(path).suffix.lower())
    return kind.error(path) if kind else None


def saved_model(folder: str) -> ModelError:
    """The error for a folder that is a SavedModel."""
    return _SAVED_MODEL.error(folder)
