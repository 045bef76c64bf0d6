"""The arrays of a .npz file, each checked against the file before memory is allocated for it."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tightc.errors import DataError
from tightc.input_file import check_expansion, file_size, foreign_errors, open_regular
from tightc.memory import require_memory

_REMEDY = "save arrays of numbers with numpy.savez"
_ENDING = ".npy"
_LARGEST_HEADER = 2**16  # numpy would read any length that the header gives before it checks it


class NpzArrays(Mapping[str, NDArray[Any]]):
    """The arrays of an open .npz file by name, each read when it is asked for.

    DataError where an array is corrupt, larger than the file says, or of Python objects; MemoryLimitError where it does
    not fit into memory.
    """

    def __init__(self, archive: zipfile.ZipFile, path: str | Path, size: int) -> None:
        self._archive, self._path, self._size = archive, path, size
        self._members = {
            member.filename.removesuffix(_ENDING): member
            for member in archive.infolist()
            if member.filename.endswith(_ENDING)
        }

    def __getitem__(self, name: str) -> NDArray[Any]:
        member = self._members[name]
        with _errors(self._path), self._archive.open(member) as stream:
            dtype, shape, start = _header(io.BytesIO(stream.read(_LARGEST_HEADER)))
            size = math.prod(shape) * dtype.itemsize
            if size != member.file_size - start:
                raise ValueError(f"{name} has {member.file_size - start} bytes for {_sizes(shape)} {dtype}")
            if member.compress_size > self._size:
                raise ValueError(f"{name} is larger than the file")
            check_expansion(size, member.compress_size, f"{self._path}: {name}")
            require_memory(size, f"{self._path}: {name}")
        with _errors(self._path), self._archive.open(member) as stream:
            array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
            return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


@contextmanager
def open_npz(path: str | Path) -> Iterator[NpzArrays]:
    """The arrays of the .npz file at `path` while the context lasts; DataError where it is none."""
    with open_regular(path) as stream:
        with _errors(path):
            archive = zipfile.ZipFile(stream)
        with archive:
            yield NpzArrays(archive, path, file_size(stream))


def _errors(path: str | Path) -> Any:
    return foreign_errors(
        f"{path}: expected a .npz file of plain arrays, got another or a corrupt file", _REMEDY, DataError
    )


def _header(stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """The dtype and the shape that an array's header claims, and the length of the header."""
    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"arrays in version {version[0]}.{version[1]} of the format")
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    if any(side < 0 for side in shape):
        raise ValueError(f"an array of {_sizes(shape)}")
    return dtype, shape, stream.tell()


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one"
