"""Weights in a file of their own (external data), replaced so that a reader sees the old model or the new, never a mix.

The file's name says its content, NAME.onnx.<16 digits of its SHA-256>.data, and it is there before the .onnx that
refers to it is renamed into place. Until then its writer has a shared lock on it. Whoever removes such a file locks
it for itself alone and then reads the .onnx again. Nobody waits for a lock: its owner may have been stopped.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
from onnx import external_data_helper

from tightc.errors import ModelError, OutputError, first_line
from tightc.files import check_place, is_at, is_special, lock, staged, write_file_atomically
from tightc.model.onnx_proto.graph import constant_slots

_FROM_BYTES = 1024
_DIGITS = 16
# how often, and after how many seconds, a file of weights that another process has locked is looked at again
_TRIES, _PAUSE = 20, 0.01


class WeightsError(ModelError):
    """The weights that a model has in another file cannot be read."""


def is_large(tensor: onnx.TensorProto) -> bool:
    """Whether a model in two files has `tensor` in the second."""
    return tensor.HasField("raw_data") and len(tensor.raw_data) >= _FROM_BYTES


def embed_weights(proto: onnx.ModelProto, origin: str, folder: Path | None, digest: Any) -> bool:
    """Reads the tensors that `proto` has in other files of `folder` into it, and into `digest`; whether it has any.

    WeightsError where they cannot be read; without a folder the model came through a pipe.
    """
    tensors = [
        tensor for _, tensor in constant_slots(proto) if external_data_helper.uses_external_data(tensor)
    ]
    if not tensors:
        return False
    names = sorted({external_data_helper.ExternalDataInfo(tensor).location for tensor in tensors})
    if folder is None:
        raise WeightsError(
            f"{origin}: the weights are in a second file ({names[0]}), which a pipe does not carry",
            "give the path of the model instead of piping it",
        )
    for name in names:
        if not (folder / name).is_file():
            raise WeightsError(
                f"{origin}: the weights are in {name}, which is not beside it", f"copy {name} into {folder}"
            )
    try:
        onnx.load_external_data_for_model(proto, str(folder))
    except (onnx.checker.ValidationError, OSError, RuntimeError, ValueError) as fault:
        raise WeightsError(
            f"{origin}: the weights in {names[0]} cannot be read ({first_line(fault)})",
            "export the model again, or check that the file was copied whole",
        ) from None
    for tensor in tensors:
        digest.update(tensor.raw_data)
        tensor.ClearField("data_location")  # as in a model that was never in two files
    return True


def takes_two(path: Path) -> bool:
    """Whether two files can be written for `path`: not to a pipe or a device, nor by a link from another folder.

    The weights would be in one of the two folders, and a reader may look in the other.
    """
    real = Path(os.path.realpath(path))
    return not is_special(path) and real.parent == Path(os.path.realpath(path.parent))


def write_in_two(proto: onnx.ModelProto, path: Path) -> str:
    """Writes `proto`, which is changed, to `path` and its large tensors to a file in the same folder.

    Gives the SHA-256 of the two, one after the other. OutputError where they cannot be written.
    """
    check_place(path, path)
    _check_name(path)
    large = [tensor for tensor in proto.graph.initializer if is_large(tensor)]
    data = b"".join(tensor.raw_data for tensor in large)
    digits, lengths = hashlib.sha256(data).hexdigest(), [len(tensor.raw_data) for tensor in large]
    # the further names are for content whose file is about to be removed by a process that was stopped
    for start in range(0, len(digits), _DIGITS):
        sidecar = path.with_name(f"{path.name}.{digits[start : start + _DIGITS]}.data")
        try:
            descriptor = _locked(sidecar, data)
        except OSError as fault:
            raise OutputError(
                f"{path}: cannot be written ({fault.strerror})", "free some space, or write elsewhere"
            ) from None
        if descriptor is None:
            continue
        try:
            _refer(large, lengths, sidecar.name)
            content = bytes(proto.SerializeToString(deterministic=True))
            write_file_atomically(path, content)
            return hashlib.sha256(content + data).hexdigest()
        finally:
            os.close(descriptor)
    raise OutputError(
        f"{path}: other processes keep its files of weights locked", "end them, or write elsewhere"
    )


def sweep(path: Path) -> None:
    """Removes what earlier writers of `path` left: weights that it does not refer to, files of writers that died.

    What another process still needs, or may need, stays.
    """
    if is_special(path):
        return
    name = re.escape(path.name)
    weights = re.compile(rf"{name}\.[0-9a-f]{{{_DIGITS}}}\.data")
    temporary = re.compile(rf"\.{name}(\.[0-9a-f]{{{_DIGITS}}}\.data)?\.\d+\.[0-9a-f]{{8}}")
    with suppress(OSError):
        for found in os.listdir(path.parent):
            if weights.fullmatch(found) and not _refers(path, found):
                _remove(path.with_name(found), path)
            elif temporary.fullmatch(found):
                _remove(path.with_name(found), None)


def _check_name(path: Path) -> None:
    """OutputError where the .onnx cannot contain the name of its weights."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise OutputError(
            f"{path.name!a}: not a name in UTF-8, as the .onnx needs it to refer to its weights",
            "give another name",
        ) from None


def _refer(large: Sequence[onnx.TensorProto], lengths: Sequence[int], name: str) -> None:
    """Makes tensors refer to their bytes in the file `name`, where they lie one after the other."""
    offset = 0
    for tensor, length in zip(large, lengths, strict=True):
        tensor.raw_data = b""
        external_data_helper.set_external_data(tensor, name, offset=offset, length=length)
        tensor.ClearField("raw_data")
        offset += length


def _locked(sidecar: Path, data: bytes) -> int | None:
    """A descriptor of the file `sidecar`, which contains `data` and which nobody removes until it is closed.

    The file is made if need be. None where another process has it locked to remove or replace it.
    """
    for _ in range(_TRIES):
        right = False
        try:
            found = os.open(sidecar, os.O_RDONLY)
        except FileNotFoundError:
            _make(sidecar, data)
            continue
        try:
            granted = lock(found, alone=False) is not False
            # the lock is of use only if what it locks is still what has that name
            if granted and is_at(found, sidecar):
                right = _has(found, data)
                if not right and lock(found, alone=True) is not False and is_at(found, sidecar):
                    _make(sidecar, data, anew=False)
            if right:
                return found
        finally:
            if not right:
                os.close(found)
        if not granted:
            time.sleep(_PAUSE)
    return None


def _has(descriptor: int, data: bytes) -> bool:
    """Whether a file contains `data` and has one name: onnx reads no weights from a file that has two."""
    found = os.fstat(descriptor)
    if (found.st_size, found.st_nlink) != (len(data), 1):
        return False
    with open(descriptor, "rb", closefd=False) as stream:
        return stream.read() == data


def _make(sidecar: Path, data: bytes, *, anew: bool = True) -> None:
    """Writes `data` to the file `sidecar`; `anew` leaves one that another process made meanwhile."""
    with staged(sidecar, sidecar, data) as temporary:
        if not anew:
            os.replace(temporary, sidecar)
            return
        try:
            os.link(temporary, sidecar)  # a rename would take the name from a file that is locked by now
        except FileExistsError:
            return
        except OSError:  # a file system without links
            os.replace(temporary, sidecar)


def _remove(file: Path, referring: Path | None) -> None:
    """Removes a file that no process has locked: weights that `referring` does not refer to, or a temporary file."""
    with suppress(OSError):
        descriptor = _open_to_lock(file)
        try:
            granted = lock(descriptor, alone=True)
            # where there are no locks, a temporary file may be in use
            needed = granted is None if referring is None else _refers(referring, file.name)
            if granted is not False and is_at(descriptor, file) and not needed:
                os.unlink(file)
        finally:
            os.close(descriptor)


def _open_to_lock(file: Path) -> int:
    """A descriptor to lock a file by; a lock for one process alone needs one to write to on some file systems."""
    try:
        return os.open(file, os.O_RDWR)
    except PermissionError:
        return os.open(file, os.O_RDONLY)


def _refers(path: Path, name: str) -> bool:
    """Whether the file at `path` has the file name `name` in it, or cannot be read."""
    try:
        return os.fsencode(name) in path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True
