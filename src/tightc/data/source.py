"""Images or samples from the source that `--data` names: its format is detected, then its reader is called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tightc.config.image_shape import ImageShape
from tightc.config.input_spec import InputSpec, image_shape
from tightc.data.archive import read_archive
from tightc.data.cifar import (
    archive_of_batches,
    folder_of_batches,
    read_batches_in_archive,
    read_batches_in_folder,
)
from tightc.data.folder import read_folder
from tightc.data.formats import FORMATS
from tightc.data.function import call_function, images_from, names_function
from tightc.data.idx import is_idx, read_idx_file, read_idx_folder
from tightc.data.images import Images, Split, check_images, require_labels
from tightc.data.npz import read_npz, read_npz_for
from tightc.data.samples import Samples, samples_of
from tightc.errors import DataError
from tightc.input_file import not_enough_memory, refuse_url

__all__ = ["ImageShape", "Images", "Samples", "Split", "open_data", "open_images"]


def open_images(source: str, split: Split, shape: ImageShape) -> Images:
    """The labeled images of one split of `source`, always in the same order; one without splits serves all for either.

    Pixels are (images, channels, height, width) and fit `shape`: uint8, or float32 from a source of floats.
    DataError names the file, the problem and what is permitted.
    """
    with _readable(source):
        if names_function(source):
            images = images_from(call_function(source, split), shape, source)
        else:
            path = _existing(source)
            images = read_npz(path, split, shape) if _is_npz(path) else _read_images(path, split, shape)
    check_images(images, shape, source)
    return images


def open_data(
    source: str, split: Split, inputs: tuple[InputSpec, ...], *, labeled: bool = True
) -> Images | Samples:
    """One split of `source` for a network with `inputs`: images, or samples with an array for each input.

    Unless they must be `labeled`, images may have no labels. DataError names the file, the problem and what is
    permitted.
    """
    shape = image_shape(inputs)
    with _readable(source):
        found: Any = None
        if names_function(source):
            found = call_function(source, split)
            if isinstance(found, Mapping):
                return samples_of(found, inputs, source)
        else:
            path = _existing(source)
            if _is_npz(path):
                found = read_npz_for(path, split, inputs)
        if isinstance(found, Samples):
            return found
        if shape is None:
            names = ", ".join(spec.name for spec in inputs)
            raise DataError(
                f"{source}: expected an array for each input of the network ({names}), got images",
                "give a .npz file with an array for each input, by name",
            )
        if names_function(source):
            images = images_from(found, shape, source)
        else:
            images = found or _read_images(path, split, shape, labeled=labeled)
    if labeled:
        require_labels(images, source)
    check_images(images, shape, source)
    return images


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """DataError in place of the errors of the file system, MemoryLimitError where memory does not suffice."""
    try:
        yield
    except MemoryError:
        raise not_enough_memory(source) from None
    except OSError as fault:
        raise DataError(
            f"{fault.filename or source}: cannot be read ({fault.strerror or fault})", "check its permissions"
        ) from None


def _existing(source: str) -> Path:
    path = Path(os.path.expanduser(source))
    if not path.exists():
        refuse_url(source, DataError)
        raise DataError(
            f"{source}: expected a file or folder, got none of that name",
            f"check the path; permitted are {FORMATS}",
        )
    return path


def _is_npz(path: Path) -> bool:
    return path.name.lower().endswith(".npz") and not path.is_dir()


def _read_images(path: Path, split: Split, shape: ImageShape, *, labeled: bool = True) -> Images:
    """The images of `split` in the file or folder at `path`; unless they must be `labeled`, also of a plain folder."""
    if path.is_dir():
        batches = folder_of_batches(path)
        if batches:
            return read_batches_in_folder(batches, split)
        if any(is_idx(file.name) for file in path.iterdir()):
            return read_idx_folder(path, split)
        return read_folder(path, split, shape, labeled=labeled)
    name = path.name.lower()
    if name.endswith((".tar", ".tar.gz", ".tgz")):
        if archive_of_batches(path):
            return read_batches_in_archive(path, split)
        return read_archive(path, split, shape, labeled=labeled)
    if is_idx(name):
        return read_idx_file(path)
    raise DataError(f"{path}: expected a known data format, got another file", f"permitted are {FORMATS}")
