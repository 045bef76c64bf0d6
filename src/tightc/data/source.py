"""Labeled images from the source that `--data` names: its format is detected, then its reader is called."""

from __future__ import annotations

from pathlib import Path

from tightc.config.image_shape import ImageShape
from tightc.data.archive import read_archive
from tightc.data.cifar import (
    archive_of_batches,
    folder_of_batches,
    read_batches_in_archive,
    read_batches_in_folder,
)
from tightc.data.folder import read_folder
from tightc.data.formats import FORMATS
from tightc.data.function import call_function, names_function
from tightc.data.idx import is_idx, read_idx_file, read_idx_folder
from tightc.data.images import Images, Split, check_images
from tightc.data.npz import read_npz
from tightc.errors import DataError

__all__ = ["ImageShape", "Images", "Split", "open_images"]


def open_images(source: str, split: Split, shape: ImageShape) -> Images:
    """The images of one split of `source`, always in the same order; a source without splits serves all for either.

    Pixels are (images, channels, height, width) and fit `shape`: uint8, or float32 from a source of floats.
    DataError names the file, the problem and what is permitted.
    """
    try:
        images = _read(source, split, shape)
    except OSError as fault:
        raise DataError(
            f"{fault.filename or source}: cannot be read ({fault.strerror or fault})", "check its permissions"
        ) from None
    check_images(images, shape, source)
    return images


def _read(source: str, split: Split, shape: ImageShape) -> Images:
    if names_function(source):
        return call_function(source, split, shape)
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(
            f"{source}: expected a file or folder, got none of that name",
            f"check the path; permitted are {FORMATS}",
        )
    if path.is_dir():
        batches = folder_of_batches(path)
        if batches:
            return read_batches_in_folder(batches, split)
        if any(is_idx(file.name) for file in path.iterdir()):
            return read_idx_folder(path, split)
        return read_folder(path, split, shape)
    name = path.name.lower()
    if name.endswith((".tar", ".tar.gz", ".tgz")):
        if archive_of_batches(path):
            return read_batches_in_archive(path, split)
        return read_archive(path, split, shape)
    if name.endswith(".npz"):
        return read_npz(path, split, shape)
    if is_idx(name):
        return read_idx_file(path)
    raise DataError(f"{source}: expected a known data format, got another file", f"permitted are {FORMATS}")
