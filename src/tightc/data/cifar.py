"""CIFAR-10 in its Python version: pickled batches of 10,000 images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.data.archive import members
from tightc.data.image_files import is_image_file
from tightc.data.images import Images, Split
from tightc.data.pickled_arrays import ForbiddenError, read_pickled_arrays
from tightc.errors import DataError
from tightc.input_file import foreign_errors, read_regular

_BATCHES: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}
_ALL_BATCHES = frozenset(name for names in _BATCHES.values() for name in names)
_NAMES = "batches.meta"
_SHAPE = (3, 32, 32)
_LARGEST_LABEL = 2**31 - 1
_MOST_BYTES = 2**29  # a batch has 2**25
_DOWNLOAD = "download cifar-10-python.tar.gz again"


def folder_of_batches(folder: Path) -> Path | None:
    """The folder with the batches: `folder`, or the one that the archive unpacks to; None where there is neither."""
    for place in (folder, folder / "cifar-10-batches-py"):
        if any((place / name).is_file() for name in _ALL_BATCHES):
            return place
    return None


def archive_of_batches(archive: Path) -> bool:
    """Whether a tar holds batches or image files; the first such file decides."""
    for path, _ in members(archive, lambda _: False):
        if PurePosixPath(path).name in _ALL_BATCHES:
            return True
        if is_image_file(path):
            return False
    return False


def read_batches_in_folder(folder: Path, split: Split) -> Images:
    """The images of `split` in `folder`, (images, 3, 32, 32) uint8; DataError where a batch is missing or corrupt."""
    names = (*_BATCHES[split], _NAMES)
    found = {name: read_regular(folder / name, _MOST_BYTES) for name in names if (folder / name).is_file()}
    return _images(found, split, str(folder))


def read_batches_in_archive(archive: Path, split: Split) -> Images:
    """The images of `split` as `read_batches_in_folder` reads them, from a tar `archive` of that folder."""
    names = {*_BATCHES[split], _NAMES}
    files = members(archive, lambda path: PurePosixPath(path).name in names)
    found = {PurePosixPath(path).name: content for path, content in files if content is not None}
    return _images(found, split, str(archive))


def _images(contents: Mapping[str, bytes], split: Split, source: str) -> Images:
    missing = [name for name in _BATCHES[split] if name not in contents]
    if missing:
        raise DataError(
            f"{source}: expected all CIFAR-10 batches of the split, got none of {', '.join(missing)}",
            _DOWNLOAD,
        )
    batches = [_batch(contents[name], f"{source}: {name}") for name in _BATCHES[split]]
    classes: tuple[str, ...] = ()
    if _NAMES in contents:
        names = _entries(contents[_NAMES], f"{source}: {_NAMES}").get("label_names", [])
        if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
            raise DataError(
                f"{source}: {_NAMES}: expected label_names as a list of texts, got others", _DOWNLOAD
            )
        classes = tuple(map(_text, names))
    return Images(
        np.concatenate([pixels for pixels, _ in batches]),
        np.concatenate([labels for _, labels in batches]),
        classes,
    )


def _batch(content: bytes, origin: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(images, 3, 32, 32) uint8 and (images,) int64."""
    entries = _entries(content, origin)
    pixels, labels = entries.get("data"), entries.get("labels")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or not isinstance(labels, list):
        raise DataError(
            f"{origin}: expected data (uint8) and labels (list), got {', '.join(sorted(entries)) or 'nothing'}",
            _DOWNLOAD,
        )
    numbers = all(isinstance(label, int) and abs(label) <= _LARGEST_LABEL for label in labels)
    if pixels.shape != (len(labels), np.prod(_SHAPE)) or not numbers:
        raise DataError(
            f"{origin}: expected {np.prod(_SHAPE)} values per integer label, "
            f"got {' x '.join(map(str, pixels.shape))} for {len(labels)} labels",
            _DOWNLOAD,
        )
    return pixels.reshape(-1, *_SHAPE), np.array(labels, np.int64)


def _entries(content: bytes, origin: str) -> dict[str, Any]:
    with foreign_errors(f"{origin}: expected a pickle, got a corrupt one", _DOWNLOAD):
        try:
            entries = read_pickled_arrays(content)
        except ForbiddenError as fault:
            raise DataError(
                f"{origin}: expected a pickle of plain arrays, got one that {fault}",
                f"do not trust this file; {_DOWNLOAD}",
            ) from None
    if not isinstance(entries, dict):
        raise DataError(f"{origin}: expected a dictionary, got a {type(entries).__name__}", _DOWNLOAD)
    return {_text(key): value for key, value in entries.items()}


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
