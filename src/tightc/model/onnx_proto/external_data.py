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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
from onnx import external_data_helper

from tightc.errors import ModelError, OutputError, first_line
from tightc.files import (
    Chunk,
    check_target,
    is_same_file,
    is_special,
    lock,
    locked_temporary,
    write_file_atomically,
)
from tightc.input_file import open_regular
from tightc.model.onnx_proto.naming import tensors_of, walk_graphs
from tightc.model.onnx_proto.stored_tensors import (
    TensorStorage,
    byte_count,
    embed,
    fits,
    is_stored,
    refer,
    stays_in_file,
    tensor_chunks,
)

_FROM_BYTES = 1024  # smaller tensors stay in the .onnx
_DIGITS = 16
# attempts at a data file that another process has locked, and seconds between them
_TRIES, _PAUSE = 20, 0.01


class ExternalDataError(ModelError):
    """The external data of a model cannot be read."""


def is_large(tensor: onnx.TensorProto) -> bool:
    """Whether `tensor` is large enough to be stored as external data."""
    return is_stored(tensor) or (tensor.HasField("raw_data") and byte_count(tensor) >= _FROM_BYTES)


def find_external_data(
    proto: onnx.ModelProto, origin: str, folder: Path | None, storage: TensorStorage
) -> list[onnx.TensorProto]:
    """Make the external data of `proto` available: large initializers in `storage`, others in their protos.

    Returns the tensors that had some. `folder` is that of the model `origin`, None where the model came through a pipe.
    ExternalDataError where the data cannot be read.
    """
    tensors = [
        tensor for graph in walk_graphs(proto.graph) for tensor in tensors_of(graph) if _is_external(tensor)
    ]
    if not tensors:
        return []
    names = sorted({external_data_helper.ExternalDataInfo(tensor).location for tensor in tensors})
    if folder is None:
        raise ExternalDataError(
            f"{origin}: the weights are in a second file ({names[0]}), which a pipe does not carry",
            "give the path of the model instead of piping it",
        )
    for name in names:
        if not os.path.isfile(folder / name):  # Path.is_file raises on names that are too long
            raise ExternalDataError(
                f"{origin}: expected the weights in {folder / name}, got no such file",
                f"copy {name} into {folder}",
            )
    name = names[0]
    may_stay = sum(map(_is_external, proto.graph.initializer))  # the first of them
    try:
        sources = {name: _open_source(folder, name, storage) for name in names}
        for place, tensor in enumerate(tensors):
            info = external_data_helper.ExternalDataInfo(tensor)
            name = info.location
            _refer_to_source(tensor, info, storage, *sources[name])
            if place >= may_stay or not stays_in_file(byte_count(tensor)) or not fits(tensor):
                embed(tensor)
    except (OSError, ValueError) as fault:
        raise ExternalDataError(
            f"{origin}: the weights in {name} cannot be read ({first_line(fault)})",
            "export the model again, or check that the file was copied whole",
        ) from None
    return tensors


def _is_external(tensor: onnx.TensorProto) -> bool:
    return external_data_helper.uses_external_data(tensor) and not is_stored(tensor)


def _open_source(folder: Path, name: str, storage: TensorStorage) -> tuple[int, int]:
    """(the number of the source in `storage`, the bytes) of the data file `name` in `folder`.

    ValueError where it is not a file of its own below `folder`: a model of a stranger must not read other files.
    """
    path = folder / name
    real = Path(os.path.realpath(path))
    if Path(name).is_absolute() or not real.is_relative_to(os.path.realpath(folder)):
        raise ValueError("it is outside of the folder of the model")
    if path.is_symlink() or real != Path(os.path.realpath(folder), os.path.normpath(name)):
        raise ValueError("it is a link")
    stream = open_regular(path, ExternalDataError)
    found = os.fstat(stream.fileno())
    if found.st_nlink > 1:
        raise ValueError("it has several hard links")
    return storage.add(stream), found.st_size


def _refer_to_source(
    tensor: onnx.TensorProto,
    info: external_data_helper.ExternalDataInfo,
    storage: TensorStorage,
    source: int,
    size: int,
) -> None:
    """Make `tensor` refer to its part, which `info` says, of a `source` of `size` bytes."""
    offset = info.offset or 0
    length = size - offset if info.length is None else info.length
    if offset + max(0, length) > size or length < 0:
        raise ValueError(
            f"tensor {tensor.name}: expected {max(0, length)} bytes from {offset}, got a file of {size}"
        )
    refer(tensor, storage, source, offset, length)


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
    large = [_copy(tensor) for tensor in proto.graph.initializer if is_large(tensor)]
    data = _Data(large)
    digits = data.add_to(hashlib.sha256()).hexdigest()
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
            _refer_to_file(proto, data_file.name)
            content = bytes(proto.SerializeToString(deterministic=True))
            write_file_atomically(path, content)
            return str(data.add_to(hashlib.sha256(content)).hexdigest())
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


class _Data:
    """The content of a data file: the values of `tensors`, one after the other."""

    def __init__(self, tensors: list[onnx.TensorProto]) -> None:
        self._tensors = tensors
        self.size = sum(map(byte_count, tensors))

    def __iter__(self) -> Iterator[Chunk]:
        for tensor in self._tensors:
            yield from tensor_chunks(tensor)

    def add_to(self, digest: Any) -> Any:
        """The `digest` with this content added."""
        for chunk in self:
            digest.update(chunk)
        return digest


def _copy(tensor: onnx.TensorProto) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    return copy


def _refer_to_file(proto: onnx.ModelProto, name: str) -> None:
    """Make the large tensors of `proto` refer to the file `name`, which holds their bytes one after the other."""
    offset = 0
    for tensor in proto.graph.initializer:
        if is_large(tensor):
            length = byte_count(tensor)
            tensor.raw_data = b""
            external_data_helper.set_external_data(tensor, name, offset=offset, length=length)
            tensor.ClearField("raw_data")
            offset += length


def _open_locked(data_file: Path, data: _Data) -> int | None:
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


def _has_content(descriptor: int, data: _Data) -> bool:
    """Whether a file contains `data` and has a single hard link: onnx refuses external data with several."""
    found = os.fstat(descriptor)
    if (found.st_size, found.st_nlink) != (data.size, 1):
        return False
    with open(descriptor, "rb", closefd=False) as stream:
        return all(stream.read(len(chunk)) == bytes(chunk) for chunk in data)


def _write_data_file(data_file: Path, data: _Data, *, overwrite: bool = False) -> None:
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
