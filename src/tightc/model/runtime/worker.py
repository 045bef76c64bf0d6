"""The child process of `limited`: runs models in onnxruntime with limits of time and memory.

It is started as a script, so that it loads numpy and onnxruntime only. A message is the length of its JSON header as
eight bytes, the header, and then the buffers that the header lists the lengths of.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING or __name__ == "__main__":  # the parent needs the messages only
    import numpy as np
    import onnxruntime

_LENGTH = struct.Struct("<Q")
_HEADROOM = 5  # seconds; by then the parent has ended this process, unless it is gone
_WALL = 4  # seconds by the clock for each of computing

Message = tuple[dict[str, Any], list[bytes]]


def send(stream: IO[bytes], header: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:
    """Write a message to `stream`."""
    text = json.dumps({**header, "lengths": [len(buffer) for buffer in buffers]}).encode()
    stream.write(_LENGTH.pack(len(text)))
    stream.write(text)
    for buffer in buffers:
        stream.write(buffer)
    stream.flush()


def receive(stream: IO[bytes]) -> Message:
    """Read a message from `stream`; EOFError where it ends before."""
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    header = json.loads(_read(stream, length))
    return header, [_read(stream, own) for own in header["lengths"]]


def _read(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def wall_seconds(seconds: float) -> float:
    """The time by the clock that may pass while `seconds` are computed: other processes need the cores too."""
    return _WALL * seconds


def _limit(seconds: float, memory: int) -> None:
    """From now on, `seconds` of computing and `memory` bytes more, where the system has such limits."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, wall_seconds(seconds) + _HEADROOM)
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm", encoding="ascii") as stream:
            used = int(stream.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = used + memory if hard == resource.RLIM_INFINITY else min(used + memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _unlimit() -> None:
    """No limit of time while nothing is computed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _open(header: dict[str, Any], content: bytes) -> tuple[Any, dict[str, Any]]:
    """A session for the model in `content`, and what the parent is told of it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = header["threads"]
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting is not computing
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    described = {
        key: [[value.name, value.type, [_size(size) for size in value.shape]] for value in values]
        for key, values in (("inputs", session.get_inputs()), ("outputs", session.get_outputs()))
    }
    return session, described


def _size(size: object) -> int | str | None:
    return size if isinstance(size, int | str) else None


def _run(session: Any, header: dict[str, Any], buffers: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """The outputs of one run: shapes alone, or with dtypes and values; None for those that are no arrays of numbers."""
    feeds = {}
    for (name, dtype, shape), buffer in zip(header["feeds"], buffers, strict=True):
        flat = np.frombuffer(buffer, dtype)
        feeds[name] = np.full(shape, flat[0]) if len(flat) == 1 else flat.reshape(shape)
    outputs, values = [], []
    for found in session.run(header["names"], feeds):
        is_array = isinstance(found, np.ndarray)
        is_sent = is_array and found.dtype.kind in "fiub" and not header["only_shapes"]
        outputs.append([found.dtype.str if is_sent else None, list(found.shape) if is_array else None])
        values.append(found.tobytes() if is_sent else b"")
    return {"outputs": outputs}, values


def _answer(state: dict[str, Any], message: Message) -> Message:
    """Do what a message asks for; `state` keeps the session."""
    header, buffers = message
    _limit(header["seconds"], header["memory"])
    try:
        if header["do"] == "open":
            state.clear()
            state["session"], described = _open(header, buffers[0])
            return described, []
        return _run(state["session"], header, buffers)
    except MemoryError:
        return {"error": "it needs more memory than it may take"}, []
    except Exception as fault:  # noqa: BLE001 - the parent turns it into a sentence
        return {"error": str(fault) or type(fault).__name__}, []
    finally:
        _unlimit()


def serve() -> None:
    """Answer the messages on stdin until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what onnxruntime prints is no answer
    state: dict[str, Any] = {}
    while True:
        try:
            message = receive(source)
        except EOFError:
            return
        send(target, *_answer(state, message))


if __name__ == "__main__":
    serve()
