"""MNIST's IDX files, also compressed by gzip."""

from __future__ import annotations

import gzip
import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.data.images import Images, Split
from tightc.errors import DataError
from tightc.input_file import Readable, check_expansion, file_size, foreign_errors, open_regular
from tightc.memory import require_memory

_IMAGES = re.compile(r"images[-.]idx3-ubyte(\.gz)?$")
_TEST = re.compile(r"(t10k|test)[-_]images")
_UNSIGNED_BYTES = 0x08


def is_idx(name: str) -> bool:
    """Whether a file of that name holds images in IDX format."""
    return bool(_IMAGES.search(name.lower()))


def read_idx_folder(folder: Path, split: Split) -> Images:
    """The images of `split` in a folder with MNIST's file names; a single file of images serves either split."""
    files = sorted(path for path in folder.iterdir() if is_idx(path.name))
    stems = {re.sub(r"\.gz$", "", path.name) for path in files}
    if len(stems) > 1:
        files = [path for path in files if bool(_TEST.search(path.name.lower())) == (split == "test")]
    if not files or len({re.sub(r"\.gz$", "", path.name) for path in files}) > 1:
        found = ", ".join(path.name for path in files) or "none"
        raise DataError(
            f"{folder}: expected one file of images for the {split} split, got {found}",
            "name the files as MNIST does: train-images-idx3-ubyte, t10k-images-idx3-ubyte",
        )
    return read_idx_file(files[0])


def read_idx_file(images: Path) -> Images:
    """Images, (images, 1, height, width) uint8, with the labels from the file next to it.

    That file has labels and idx1 in its name. DataError where either file is missing or corrupt.
    """
    labels_file = labels_path(images)
    if labels_file is None:
        name = _labels_name(images)
        raise DataError(
            f"{images}: expected labels in {name} or {name}.gz, got neither", "put them in the same folder"
        )
    pixels = _read(images, dimensions=3)
    labels = _read(labels_file, dimensions=1)
    return Images(pixels[:, None], labels.astype(np.int64))


def labels_path(images: Path) -> Path | None:
    """The labels file that belongs to a file of images, None where there is none."""
    name = _labels_name(images)
    candidates = (images.with_name(name), images.with_name(f"{name}.gz"))
    return next((path for path in candidates if path.is_file()), None)


def _labels_name(images: Path) -> str:
    return re.sub(r"\.gz$", "", images.name).replace("images", "labels").replace("idx3", "idx1")


def _read(path: Path, dimensions: int) -> NDArray[Any]:
    """The array of unsigned bytes in an IDX file: two zeros, type, rank, sizes as big-endian uint32, values."""
    header = 4 + 4 * dimensions
    with open_regular(path) as file:
        if not path.name.lower().endswith(".gz"):
            return _values(file, path, dimensions, file_size(file) - header)
        with (
            foreign_errors(f"{path}: expected a .gz file, got a corrupt one", "download it again"),
            gzip.GzipFile(fileobj=file) as content,
        ):
            return _values(content, path, dimensions, None)


def _values(stream: Readable, path: Path, dimensions: int, count: int | None) -> NDArray[Any]:
    """The values that follow the header in `stream`: `count` bytes, None where only reading them will tell."""
    start = stream.read(4 + 4 * dimensions)
    if start[:4] != bytes((0, 0, _UNSIGNED_BYTES, dimensions)) or len(start) < 4 + 4 * dimensions:
        raise DataError(
            f"{path}: expected an IDX file of unsigned bytes in {dimensions} dimensions, got another file",
            "download it again",
        )
    sizes = struct.unpack(f">{dimensions}I", start[4:])
    needed = math.prod(sizes)
    content = b""
    if count in (None, needed):
        check_expansion(needed, path.stat().st_size, str(path))
        require_memory(needed, str(path))
        content = stream.read(needed)
        count = len(content) + len(stream.read(1))
    if count != needed:
        got = f"{count} or more" if count == needed + 1 else f"{count}"
        raise DataError(
            f"{path}: expected {' x '.join(map(str, sizes))} values, got {got}", "download it again"
        )
    return np.frombuffer(content, np.uint8).reshape(sizes)
