"""A folder of class folders of images, or of split folders of these."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tightc.config.image_shape import ImageShape
from tightc.data.file_pixels import ImageFile
from tightc.data.framing import Framing
from tightc.data.image_files import SPLIT_FOLDERS, decode_images, is_image_file
from tightc.data.images import Images, Split
from tightc.errors import DataError

_MOST_VISITS = 100  # of one folder, by different links


def read_folder(
    folder: Path,
    split: Split,
    shape: ImageShape,
    *,
    framing: Framing | None = None,
    labeled: bool = True,
) -> Images:
    """The images of `split` in `folder`, for a network with input `shape`; without class folders if not `labeled`.

    A `framing` brings photos to that size. DataError names the file or class folder that is not permitted.
    """
    images = decode_images(_image_files(folder), split, shape, str(folder), framing=framing, labeled=labeled)
    if images.labels is None:
        return images
    for empty in _empty_folders(folder):
        if empty.name not in images.classes:
            raise DataError(
                f"{empty}: expected images in the class folder, got none",
                "add images of that class, or remove it",
            )
    return images


def _image_files(folder: Path) -> Iterator[ImageFile]:
    for parent, _, names in _walk(folder):
        for name in names:
            path = Path(parent, name)
            below = path.relative_to(folder).as_posix()
            if is_image_file(below):
                yield ImageFile(below, path, str(path))


def _empty_folders(folder: Path) -> Iterator[Path]:
    for parent, folders, names in _walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        empty = not folders and not any(is_image_file(name) for name in names)
        if empty and Path(parent).name.lower() not in SPLIT_FOLDERS:
            yield Path(parent)


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk, into linked folders too, but not into one that contains the link.

    DataError where links lead to the same folder too often: links to links would multiply without end.
    """
    above: dict[
        str, tuple[tuple[int, int], ...]
    ] = {}  # the folders that contain a folder, and the folder itself
    visits: Counter[tuple[int, int]] = Counter()
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        own = _identity(parent)
        ancestors = above.pop(parent, ())
        if own in ancestors:
            folders.clear()
            continue
        visits[own] += 1
        if visits[own] > _MOST_VISITS:
            raise DataError(
                f"{parent}: expected at most {_MOST_VISITS} links to a folder, got more", "remove some links"
            )
        yield parent, folders, names
        above.update((os.path.join(parent, name), (*ancestors, own)) for name in folders)


def _identity(folder: str) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _raise(fault: OSError) -> None:
    raise fault
