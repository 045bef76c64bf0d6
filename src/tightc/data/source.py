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
from tightc.data.framing import Framing
from tightc.data.function import call_function, images_from, names_function
from tightc.data.idx import is_idx, read_idx_file, read_idx_folder
from tightc.data.images import Images, Split, check_images, require_labels
from tightc.data.npz import read_npz, read_npz_for
from tightc.data.samples import Samples, samples_of
from tightc.errors import DataError, OptionError
from tightc.input_file import not_enough_memory, refuse_url

__all__ = ["ImageShape", "Images", "Samples", "Split", "open_data", "open_images"]


def open_images(source: str, split: Split, shape: ImageShape, *, framing: Framing | None = None) -> Images:
    """The labeled images of one split of `source`, always in the same order; one without splits serves all for either.

    Pixels are (images, channels, height, width) and fit `shape`: uint8, or float32 from a source of floats. A `framing`
    brings image files to that size; OptionError for other sources.
    DataError names the file, the problem and what is permitted.
    """
    with _readable(source):
        if names_function(source):
            _require_files(framing, source, "a function")
            images = images_from(call_function(source, split), shape, source)
        else:
            path = _existing(source)
            if _is_npz(path):
                _require_files(framing, source, "arrays")
                images = read_npz(path, split, shape)
            else:
                images = _read_images(path, split, shape, framing=framing)
    check_images(images, shape, source)
    return images


def open_data(
    source: str,
    split: Split,
    inputs: tuple[InputSpec, ...],
    *,
    framing: Framing | None = None,
    labeled: bool = True,
) -> Images | Samples:
    """One split of `source` for a network with `inputs`: images, or samples with an array for each input.

    Unless they must be `labeled`, images may have no labels. `framing` as in open_images. DataError names the file, the
    problem and what is permitted.
    """
    shape = image_shape(inputs)
    with _readable(source):
        found: Any = None
        if names_function(source):
            _require_files(framing, source, "a function")
            found = call_function(source, split)
            if isinstance(found, Mapping):
                return samples_of(found, inputs, source)
        else:
            path = _existing(source)
            if _is_npz(path):
                _require_files(framing, source, "arrays")
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
            images = found or _read_images(path, split, shape, framing=framing, labeled=labeled)
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


def _require_files(framing: Framing | None, source: str, found: str) -> None:
    """OptionError where a `framing` is given for what is no image files."""
    if framing is not None:
        flag = "--crop" if framing.resize is None else "--resize"
        raise OptionError(
            f"{flag}: expected image files, in a folder or a .tar, got {found} ({source})",
            f"leave {flag} out, and store images of the network's size",
        )


def _read_images(
    path: Path,
    split: Split,
    shape: ImageShape,
    *,
    framing: Framing | None = None,
    labeled: bool = True,
) -> Images:
    """The images of `split` in the file or folder at `path`; unless they must be `labeled`, also of a plain folder."""
    if path.is_dir():
        batches = folder_of_batches(path)
        if batches:
            _require_files(framing, str(path), "CIFAR-10 batches")
            return read_batches_in_folder(batches, split)
        if any(is_idx(file.name) for file in path.iterdir()):
            _require_files(framing, str(path), "IDX files")
            return read_idx_folder(path, split)
        return read_folder(path, split, shape, framing=framing, labeled=labeled)
    name = path.name.lower()
    if name.endswith((".tar", ".tar.gz", ".tgz")):
        if archive_of_batches(path):
            _require_files(framing, str(path), "CIFAR-10 batches")
            return read_batches_in_archive(path, split)
        return read_archive(path, split, shape, framing=framing, labeled=labeled)
    if is_idx(name):
        _require_files(framing, str(path), "IDX files")
        return read_idx_file(path)
    raise DataError(f"{path}: expected a known data format, got another file", f"permitted are {FORMATS}")
