"""Sessions of stock onnxruntime, with its errors turned into ModelErrors that name the model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError

from tightc.errors import ModelError
from tightc.model.runtime.float32_copy import use_float32
from tightc.parallel import available_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_EXCERPT = 200


def create_session(
    model_bytes: bytes, origin: str, threads: int = 0, *, literal: bool = False, folds: bool = True
) -> InferenceSession:
    """A CPU session for the model in `model_bytes`; `threads` 0 uses every core of the process.

    `literal` dequantizes weights as the model says. Otherwise onnxruntime may fuse a MatMul with int8 weights
    (MatMulNBits), which rounds its other operand too. Without `folds` it computes nothing while it loads. A model of
    bfloat16, for which onnxruntime has no operators, runs as one of float32. ModelError, naming `origin`, where the
    model cannot be loaded.
    """
    try:
        session = _load(model_bytes, origin, threads, literal=literal, folds=folds)
        if not any("bfloat16" in value.type for value in (*session.get_inputs(), *session.get_outputs())):
            return session
        copied = float32_copy(model_bytes)
    except ModelError:
        copied = float32_copy(model_bytes)
        if copied is None:
            raise
    return session if copied is None else _load(copied, origin, threads, literal=literal, folds=folds)


def float32_copy(model_bytes: bytes) -> bytes | None:
    """The model with float32 in place of bfloat16; None where it has none, or cannot be parsed."""
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(model_bytes)
    except DecodeError:
        return None
    return proto.SerializeToString() if use_float32(proto) else None


def _load(model_bytes: bytes, origin: str, threads: int, *, literal: bool, folds: bool) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as exceptions too
    # With the default of 0, onnxruntime pins its threads to cores that a container may not own.
    options.intra_op_num_threads = threads or available_cores()
    if literal:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    with ort_errors(origin, "onnxruntime cannot load it"):
        return onnxruntime.InferenceSession(
            model_bytes,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=None if folds else ["ConstantFolding"],
        )


@contextmanager
def ort_errors(origin: str, what_failed: str) -> Iterator[None]:
    """A context that turns onnxruntime's exceptions into a ModelError: `origin`, `what_failed`, their first line."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    known = (
        ort.EPFail,
        ort.Fail,
        ort.InvalidArgument,
        ort.InvalidGraph,
        ort.InvalidProtobuf,
        ort.NoModel,
        ort.NotImplemented,
        ort.RuntimeException,
        UnicodeDecodeError,  # the message quotes a damaged name of the model
    )
    try:
        yield
    except known as fault:
        raise ort_failure(origin, what_failed, str(fault) or type(fault).__name__) from None


def ort_failure(origin: str, what_failed: str, message: str) -> ModelError:
    """The ModelError for a `message` of onnxruntime: `origin`, `what_failed`, the first line of the message."""
    return ModelError(
        f"{origin}: {what_failed} ({_first_line(message)})",
        f"check that onnxruntime {_version()} has its operators and opset, or export it again",
    )


def _first_line(message: str) -> str:
    line = next((line for line in message.splitlines() if line.strip()), "no reason given")
    line = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", line.strip())
    line = re.sub(r"^/\S+:\d+ .*?\)(?: const)? (?=[A-Z])", "", line)  # the place in onnxruntime's source
    return line if len(line) <= _EXCERPT else line[:_EXCERPT] + "..."


def _version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
