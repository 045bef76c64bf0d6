"""Sessions for models that tightc did not make: where one could run without end, in a child process with limits.

A loop without end, a tensor of petabytes or a crash within onnxruntime then ends in a sentence.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.model.runtime import worker
from tightc.model.runtime.session import create_session, float32_copy, ort_errors, ort_failure
from tightc.parallel import available_cores

UNLIMITED = "TIGHTC_UNLIMITED"  # set to 1, all models run in this process
_SECONDS = 4.0  # of computing, and one more for each MiB of the model
_MEMORY = 3 * 2**29  # bytes, and eight for each of the model
_BYTES_PER_BYTE = 8
_MIB = 2**20
_ON_ZEROS = "onnxruntime cannot run it on zeros"
_TIMED_OUT = {"SIGPROF", "SIGALRM", "SIGXCPU"}

Feeds = Mapping[str, NDArray[Any]]


class LimitError(ModelError):
    """Running the model takes too long or too much memory, or crashes onnxruntime."""


class ValueType(NamedTuple):
    """An input or output of a session as onnxruntime states it."""

    name: str
    type: str
    shape: Sequence[int | str | None]


class LimitedSession(Protocol):
    """A session with its `inputs` and `outputs`; ModelError where the model cannot be run."""

    inputs: Sequence[ValueType]
    outputs: Sequence[ValueType]

    def run(self, names: Sequence[str] | None, feeds: Feeds) -> list[NDArray[Any] | None]:
        """The outputs `names`, or all, of one run; None in place of one that is no array of numbers."""

    def shapes(self, names: Sequence[str], feeds: Feeds) -> list[tuple[int, ...]]:
        """Their shapes, in a run on zeros."""


@contextmanager
def open_session(model_bytes: bytes, origin: str, *, is_bounded: bool) -> Iterator[LimitedSession]:
    """A context with a session for the model in `model_bytes`, in a child process unless it `is_bounded`.

    ModelError, naming `origin`, where the model cannot be loaded; LimitError where that exceeds the limits.
    """
    if is_bounded or os.environ.get(UNLIMITED, "0") not in ("", "0"):
        yield _OwnSession(model_bytes, origin)
        return
    process = _borrow(origin)
    try:
        yield _ChildSession(process, model_bytes, origin)
    finally:
        _give_back(process)


class _OwnSession:
    """A session in this process."""

    def __init__(self, model_bytes: bytes, origin: str) -> None:
        self._session, self._origin = create_session(model_bytes, origin), origin
        self.inputs: Sequence[ValueType] = [
            ValueType(v.name, v.type, v.shape) for v in self._session.get_inputs()
        ]
        self.outputs: Sequence[ValueType] = [
            ValueType(v.name, v.type, v.shape) for v in self._session.get_outputs()
        ]

    def run(self, names: Sequence[str] | None, feeds: Feeds) -> list[NDArray[Any] | None]:
        return [
            value if isinstance(value, np.ndarray) and value.dtype.kind != "O" else None
            for value in self._run(names, feeds, "onnxruntime cannot run it")
        ]

    def shapes(self, names: Sequence[str], feeds: Feeds) -> list[tuple[int, ...]]:
        found = [
            tuple(value.shape) if isinstance(value, np.ndarray) else None
            for value in self._run(names, feeds, _ON_ZEROS)
        ]
        return _only_tensors(self._origin, names, found)

    def _run(self, names: Sequence[str] | None, feeds: Feeds, failure: str) -> Sequence[object]:
        with ort_errors(self._origin, failure):
            found: Sequence[object] = self._session.run(
                names, {name: np.ascontiguousarray(array) for name, array in feeds.items()}
            )
        return found


class _ChildSession:
    """A session in a child process."""

    def __init__(self, process: _Worker, model_bytes: bytes, origin: str) -> None:
        self._process, self._origin = process, origin
        self._limits = {
            "seconds": _SECONDS + len(model_bytes) / _MIB,
            "memory": _MEMORY + _BYTES_PER_BYTE * len(model_bytes),
        }
        try:
            opened = self._open(model_bytes)
            copied = float32_copy(model_bytes) if "bfloat16" in str(opened) else None
        except LimitError:
            raise
        except ModelError:
            copied = float32_copy(model_bytes)
            if copied is None:
                raise
        opened = opened if copied is None else self._open(copied)
        self.inputs: Sequence[ValueType] = [ValueType(*value) for value in opened["inputs"]]
        self.outputs: Sequence[ValueType] = [ValueType(*value) for value in opened["outputs"]]

    def _open(self, model_bytes: bytes) -> dict[str, Any]:
        header = {"do": "open", "threads": available_cores()}
        return self._ask(header, [model_bytes], "onnxruntime cannot load it")[0]

    def run(self, names: Sequence[str] | None, feeds: Feeds) -> list[NDArray[Any] | None]:
        answer, buffers = self._run(names, feeds, only_shapes=False)
        return [
            None if dtype is None else np.frombuffer(buffer, dtype).reshape(shape)
            for (dtype, shape), buffer in zip(answer["outputs"], buffers, strict=True)
        ]

    def shapes(self, names: Sequence[str], feeds: Feeds) -> list[tuple[int, ...]]:
        answer, _ = self._run(names, feeds, only_shapes=True)
        found = [None if shape is None else tuple(shape) for _, shape in answer["outputs"]]
        return _only_tensors(self._origin, names, found)

    def _run(self, names: Sequence[str] | None, feeds: Feeds, *, only_shapes: bool) -> worker.Message:
        described, buffers = [], []
        for name, array in feeds.items():
            is_constant = not any(array.strides) and array.size > 1  # as from np.broadcast_to
            described.append((name, array.dtype.str, array.shape))
            buffers.append((array.flat[0] if is_constant else array).tobytes())
        header = {"do": "run", "names": names, "feeds": described, "only_shapes": only_shapes}
        return self._ask(header, buffers, _ON_ZEROS if only_shapes else "onnxruntime cannot run it")

    def _ask(self, header: dict[str, Any], buffers: Sequence[bytes], failure: str) -> worker.Message:
        answer = self._process.ask({**header, **self._limits}, buffers, self._origin)
        if "error" in answer[0]:
            raise ort_failure(self._origin, failure, answer[0]["error"])
        return answer


def _only_tensors(
    origin: str, names: Sequence[str], shapes: Sequence[tuple[int, ...] | None]
) -> list[tuple[int, ...]]:
    for name, shape in zip(names, shapes, strict=True):
        if shape is None:
            raise ModelError(
                f"{origin}: expected a tensor as value {name}, got a sequence or map",
                "export the model without it",
            )
    return [shape for shape in shapes if shape is not None]


class _Worker:
    """A child process that answers one message after the other."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(worker.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, header: dict[str, Any], buffers: Sequence[bytes], origin: str) -> worker.Message:
        """The answer to a message; LimitError, naming `origin`, where the process ends instead."""
        assert self._process.stdin is not None and self._process.stdout is not None
        stopped = threading.Event()
        timer = threading.Timer(worker.wall_seconds(header["seconds"]), self._stop, [stopped])
        timer.daemon = True
        timer.start()
        try:
            worker.send(self._process.stdin, header, buffers)
            return worker.receive(self._process.stdout)
        except (EOFError, BrokenPipeError):
            self.end()
            raise self._failure(header["seconds"], origin, timed_out=stopped.is_set()) from None
        except BaseException:
            self.end()
            raise
        finally:
            timer.cancel()

    def _stop(self, stopped: threading.Event) -> None:
        stopped.set()
        self._process.kill()

    def _failure(self, seconds: float, origin: str, *, timed_out: bool) -> LimitError:
        code = self._process.returncode
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if timed_out or name in _TIMED_OUT:
            what = f"onnxruntime did not finish within {seconds:.0f} s"
            remedy = "remove loops without end, or give smaller inputs with --input-shape"
        else:
            what, remedy = f"onnxruntime crashed while it loaded or ran it ({name})", "export the model again"
        return LimitError(
            f"{origin}: {what}", f"{remedy}; {UNLIMITED}=1 runs a model that you trust without limits"
        )

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._process.wait()


_idle: list[_Worker] = []  # at most one, so that the next session need not start it
_lock = threading.Lock()


def _borrow(origin: str) -> _Worker:
    with _lock:
        while _idle:
            found = _idle.pop()
            if found.is_alive:
                return found
    try:
        return _Worker()
    except OSError as fault:
        raise LimitError(
            f"{origin}: no process can be started to run it with limits ({fault.strerror})",
            f"end other programs, or set {UNLIMITED}=1 if you trust the model",
        ) from None


def _give_back(process: _Worker) -> None:
    with _lock:
        if process.is_alive and not _idle:
            _idle.append(process)
            return
    process.end()


def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


atexit.register(_end_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # a fork must not talk to the parent's child
