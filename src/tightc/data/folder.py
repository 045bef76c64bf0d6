"""A folder of class folders of images, or of split folders of these."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tightc.config.image_shape import ImageShape
from tightc.data.image_files import SPLIT_FOLDERS, ImageFile, decode_images, is_image_file
from tightc.data.images import Images, Split
from tightc.errors import DataError


def read_folder(folder: Path, split: Split, shape: ImageShape, *, labeled: bool = True) -> Images:
    """The images of `split` in `folder`, for a network with input `shape`; without class folders if not `labeled`.

    DataError names the file or class folder that is not permitted.
    """
    images = decode_images(_image_files(folder), split, shape, str(folder), labeled=labeled)
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
    for parent, _, names in os.walk(folder, onerror=_raise, followlinks=True):
        for name in names:
            path = Path(parent, name)
            below = path.relative_to(folder).as_posix()
            if is_image_file(below):
                yield ImageFile(below, path)


def _empty_folders(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        empty = not folders and not any(is_image_file(name) for name in names)
        if empty and Path(parent).name.lower() not in SPLIT_FOLDERS:
            yield Path(parent)


def _raise(fault: OSError) -> None:
    raise fault
