"""MNIST's IDX files, also compressed by gzip."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.data.images import Images, Split
from tightc.errors import DataError

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
    content = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, EOFError, zlib.error) as fault:
            raise DataError(
                f"{path}: expected a .gz file, got a corrupt one ({fault})", "download it again"
            ) from None
    header = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, _UNSIGNED_BYTES, dimensions)) or len(content) < header:
        raise DataError(
            f"{path}: expected an IDX file of unsigned bytes in {dimensions} dimensions, got another file",
            "download it again",
        )
    sizes = np.frombuffer(content, ">u4", dimensions, 4).astype(int)
    if len(content) != header + sizes.prod():
        raise DataError(
            f"{path}: expected {' x '.join(map(str, sizes))} values, got {len(content) - header}",
            "download it again",
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)
