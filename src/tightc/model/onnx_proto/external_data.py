"""External data (weights in a second file), replaced so that a reader sees the old model or the new, never a mix.

The second file is named after its content, NAME.onnx.<16 digits of its SHA-256>.data. It is written before the .onnx
that refers to it is renamed into place, and its writer holds a shared lock on it until then. To remove such a file, a
process takes an exclusive lock and reads the .onnx again. No process waits for a lock: its owner may be suspended.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
from onnx import external_data_helper

from tightc.errors import ModelError, OutputError, first_line
from tightc.files import check_target, is_same_file, is_special, lock, locked_temporary, write_file_atomically
from tightc.model.onnx_proto.naming import tensors_of, walk_graphs

_FROM_BYTES = 1024  # smaller tensors stay in the .onnx
_DIGITS = 16
# attempts at a data file that another process has locked, and seconds between them
_TRIES, _PAUSE = 20, 0.01


class ExternalDataError(ModelError):
    """The external data of a model cannot be read."""


def is_large(tensor: onnx.TensorProto) -> bool:
    """Whether `tensor` is large enough to be stored as external data."""
    return tensor.HasField("raw_data") and len(tensor.raw_data) >= _FROM_BYTES


def embed_external_data(
    proto: onnx.ModelProto, origin: str, folder: Path | None, digest: Callable[[], Any]
) -> bool:
    """Read the external data of `proto` into it and add it to the `digest`; whether there is any.

    `folder` is that of the model `origin`, None where the model came through a pipe. ExternalDataError where the data
    cannot be read.
    """
    tensors = [
        tensor
        for graph in walk_graphs(proto.graph)
        for tensor in tensors_of(graph)
        if external_data_helper.uses_external_data(tensor)
    ]
    if not tensors:
        return False
    names = sorted({external_data_helper.ExternalDataInfo(tensor).location for tensor in tensors})
    if folder is None:
        raise ExternalDataError(
            f"{origin}: the weights are in a second file ({names[0]}), which a pipe does not carry",
            "give the path of the model instead of piping it",
        )
    for name in names:
        if not (folder / name).is_file():
            raise ExternalDataError(
                f"{origin}: expected the weights in {folder / name}, got no such file",
                f"copy {name} into {folder}",
            )
    try:
        onnx.load_external_data_for_model(proto, str(folder))
    except (onnx.checker.ValidationError, OSError, RuntimeError, ValueError) as fault:
        raise ExternalDataError(
            f"{origin}: the weights in {names[0]} cannot be read ({first_line(fault)})",
            "export the model again, or check that the file was copied whole",
        ) from None
    for tensor in tensors:
        digest().update(tensor.raw_data)
        tensor.ClearField("data_location")  # as in a model without external data
    return True


def supports_external_data(path: Path) -> bool:
    """Whether a second file can be written beside `path`: not for a pipe, a device or a link into another folder.

    With such a link, the data would be in one of two folders, and a reader may look in the other.
    """
    real = Path(os.path.realpath(path))
    return not is_special(path) and real.parent == Path(os.path.realpath(path.parent))


def write_with_external_data(proto: onnx.ModelProto, path: Path) -> str:
    """Write `proto` to `path` and its large tensors to a second file in the same folder.

    Changes `proto`. Returns the SHA-256 of both files, one after the other. OutputError if writing fails.
    """
    check_target(path, path)
    _check_name(path)
    large = [tensor for tensor in proto.graph.initializer if is_large(tensor)]
    data = b"".join(tensor.raw_data for tensor in large)
    digits, lengths = hashlib.sha256(data).hexdigest(), [len(tensor.raw_data) for tensor in large]
    # the other names serve where a suspended process holds the exclusive lock on the first file
    for start in range(0, len(digits), _DIGITS):
        data_file = path.with_name(f"{path.name}.{digits[start : start + _DIGITS]}.data")
        try:
            descriptor = _open_locked(data_file, data)
        except OSError as fault:
            raise OutputError(
                f"{path}: cannot be written ({fault.strerror})", "free some space, or write elsewhere"
            ) from None
        if descriptor is None:
            continue
        try:
            _refer_to(large, lengths, data_file.name)
            content = bytes(proto.SerializeToString(deterministic=True))
            write_file_atomically(path, content)
            return hashlib.sha256(content + data).hexdigest()
        finally:
            os.close(descriptor)
    raise OutputError(
        f"{path}: other processes keep its files of weights locked", "end them, or write elsewhere"
    )


def remove_stale_files(path: Path) -> None:
    """Remove the data files that the model at `path` does not refer to, and temporary files of writers that died.

    Files that another process may still need stay.
    """
    if is_special(path):
        return
    name = re.escape(path.name)
    weights = re.compile(rf"{name}\.[0-9a-f]{{{_DIGITS}}}\.data")
    temporary = re.compile(rf"\.{name}(\.[0-9a-f]{{{_DIGITS}}}\.data)?\.\d+\.[0-9a-f]{{8}}")
    with suppress(OSError):
        for found in os.listdir(path.parent):
            if weights.fullmatch(found) and not _contains_name(path, found):
                _remove_if_unlocked(path.with_name(found), path)
            elif temporary.fullmatch(found):
                _remove_if_unlocked(path.with_name(found), None)


def _check_name(path: Path) -> None:
    """OutputError where the name of the data file cannot be stored in the .onnx."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise OutputError(
            f"{path.name!a}: not a name in UTF-8, as the .onnx needs it to refer to its weights",
            "give another name",
        ) from None


def _refer_to(large: Sequence[onnx.TensorProto], lengths: Sequence[int], name: str) -> None:
    """Make tensors refer to the file `name`, which holds their bytes one after the other."""
    offset = 0
    for tensor, length in zip(large, lengths, strict=True):
        tensor.raw_data = b""
        external_data_helper.set_external_data(tensor, name, offset=offset, length=length)
        tensor.ClearField("raw_data")
        offset += length


def _open_locked(data_file: Path, data: bytes) -> int | None:
    """A descriptor of `data_file` with a shared lock, so that no process removes it until it is closed.

    The file is created with content `data`, or replaced where its content is another. None where another process
    holds the exclusive lock.
    """
    for _ in range(_TRIES):
        usable = False
        try:
            found = os.open(data_file, os.O_RDONLY)
        except FileNotFoundError:
            _write_data_file(data_file, data)
            continue
        try:
            granted = lock(found, exclusive=False) is not False
            # another process may have replaced the file between opening and locking it
            if granted and is_same_file(found, data_file):
                usable = _has_content(found, data)
                if not usable and lock(found, exclusive=True) is not False and is_same_file(found, data_file):
                    _write_data_file(data_file, data, overwrite=True)
            if usable:
                return found
        finally:
            if not usable:
                os.close(found)
        if not granted:
            time.sleep(_PAUSE)
    return None


def _has_content(descriptor: int, data: bytes) -> bool:
    """Whether a file contains `data` and has a single hard link: onnx refuses external data with several."""
    found = os.fstat(descriptor)
    if (found.st_size, found.st_nlink) != (len(data), 1):
        return False
    with open(descriptor, "rb", closefd=False) as stream:
        return stream.read() == data


def _write_data_file(data_file: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `data_file`; without `overwrite`, a file that another process created meanwhile stays."""
    with locked_temporary(data_file, data_file, data) as temporary:
        if overwrite:
            os.replace(temporary, data_file)
            return
        try:
            os.link(temporary, data_file)  # a rename would replace a file that another process has locked
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            os.replace(temporary, data_file)


def _remove_if_unlocked(file: Path, model: Path | None) -> None:
    """Remove `file` unless a process has it locked or the `model` refers to it; None for a temporary file."""
    with suppress(OSError):
        descriptor = _open_to_lock(file)
        try:
            granted = lock(descriptor, exclusive=True)
            # without file locks, a temporary file may be in use
            needed = granted is None if model is None else _contains_name(model, file.name)
            if granted is not False and is_same_file(descriptor, file) and not needed:
                os.unlink(file)
        finally:
            os.close(descriptor)


def _open_to_lock(file: Path) -> int:
    """A descriptor to lock a file by; on some file systems an exclusive lock needs one open for writing."""
    try:
        return os.open(file, os.O_RDWR)
    except PermissionError:
        return os.open(file, os.O_RDONLY)


def _contains_name(path: Path, name: str) -> bool:
    """Whether the file at `path` contains the file name `name`; True where it cannot be read."""
    try:
        return os.fsencode(name) in path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True
