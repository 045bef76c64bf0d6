"""Image files in class folders, on disk or in an archive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tightc.config.image_shape import ImageShape
from tightc.data.file_pixels import MODES, FilePixels, ImageFile, as_array, converted, open_image
from tightc.data.framing import Framing
from tightc.data.images import Images, Split
from tightc.errors import DataError
from tightc.input_file import check_expansion
from tightc.memory import require_memory

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_MOST_HELD = 2**28  # bytes of resized pixels that are decoded at once and kept

# Of several folders for a split, the first in this order is taken.
_SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}
SPLIT_FOLDERS = frozenset(folder for folders in _SPLIT_FOLDERS.values() for folder in folders)


@dataclass(frozen=True)
class _PlacedFile:
    split: str
    folders: tuple[str, ...]
    file: ImageFile


def is_image_file(path: str) -> bool:
    """Whether `path` has the suffix of an image file and no hidden part."""
    parts = PurePosixPath(path).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and PurePosixPath(path).suffix.lower() in SUFFIXES


def may_belong_to(path: str, split: Split) -> bool:
    """Whether the file at `path` can belong to `split`: its split folder is one of that split, or it has none."""
    folder = _place(path)[0]
    return not folder or folder in _SPLIT_FOLDERS[split]


def decode_images(
    files: Iterable[ImageFile],
    split: Split,
    shape: ImageShape,
    source: str,
    *,
    framing: Framing | None = None,
    labeled: bool = True,
) -> Images:
    """Decodes the files of `split` in the order of their paths; a label is the rank of its class folder.

    Classes are numbered over all splits, so that a class without test images does not shift the labels. Where images
    need not be `labeled`, files outside of class folders are taken too, if there are no others.
    Pixels are (images, channels, height, width) uint8, as `shape` has it. A `framing` brings photos to that size; with
    it, large sets are decoded when they are needed. DataError names `source` or the file that is
    not permitted.
    """
    if shape.channels not in MODES:
        raise DataError(
            f"{source}: expected a network with 1 or 3 input channels for image files, got {shape.channels}",
            "give the images as a .npz",
        )
    placed = [_PlacedFile(*_place(file.path), file) for file in files]
    if not placed:
        raise DataError(
            f"{source}: expected image files, got none", f"permitted are {', '.join(sorted(SUFFIXES))} files"
        )
    if any(one.split for one in placed):
        placed = [one for one in placed if one.split]
    if not labeled:
        placed = _in_split_folders(placed)
        if not any(one.folders for one in placed):
            folder = _split_folder(placed, split, source)
            unlabeled = [one.file for one in placed if one.split == folder]
            unlabeled.sort(key=lambda file: PurePosixPath(file.path).parts)
            return Images(_decode(unlabeled, shape, source, framing), None)
    in_classes = _with_classes(placed, source)
    classes = sorted({name for _, name in in_classes})
    folder = _split_folder(placed, split, source)
    chosen = [pair for pair in in_classes if pair[0].split == folder]
    chosen.sort(key=lambda pair: PurePosixPath(pair[0].file.path).parts)
    rank = {name: label for label, name in enumerate(classes)}
    labels = np.array([rank[name] for _, name in chosen], np.int64)
    return Images(_decode([one.file for one, _ in chosen], shape, source, framing), labels, tuple(classes))


def _place(path: str) -> tuple[str, tuple[str, ...]]:
    """The split folder of a path ("" for none) and the folders below it.

    A split folder holds class folders, and may itself lie in one folder, as archives often have it.
    """
    folders = PurePosixPath(path).parts[:-1]
    for depth in range(min(2, len(folders) - 1)):
        if folders[depth].lower() in SPLIT_FOLDERS:
            return folders[depth].lower(), folders[depth + 1 :]
    return "", folders


def _in_split_folders(placed: list[_PlacedFile]) -> list[_PlacedFile]:
    """The files with their folder as the split folder, where all lie directly in folders of such names."""
    folders = [one.folders[0].lower() if len(one.folders) == 1 else "" for one in placed]
    if not SPLIT_FOLDERS.issuperset(folders):
        return placed
    return [_PlacedFile(folder, (), one.file) for folder, one in zip(folders, placed, strict=True)]


def _split_folder(placed: Sequence[_PlacedFile], split: Split, source: str) -> str:
    found = {one.split for one in placed}
    if found == {""}:
        return ""
    for folder in _SPLIT_FOLDERS[split]:
        if folder in found:
            return folder
    raise DataError(
        f"{source}: expected {split} images, got only the split folders {', '.join(sorted(found))}",
        f"add a split folder named {' or '.join(_SPLIT_FOLDERS[split])}",
    )


def _with_classes(placed: Sequence[_PlacedFile], source: str) -> list[tuple[_PlacedFile, str]]:
    """Each file with its class: the first folder in which they differ, or the last that all share."""
    in_folders = [one for one in placed if one.folders]
    if not in_folders:
        raise DataError(
            f"{source}: expected images in class folders, got none there",
            "put the images of each class in their own folder",
        )
    paths = [one.folders for one in in_folders]
    depth = 0
    while all(len(path) > depth + 1 for path in paths) and len({path[depth] for path in paths}) == 1:
        depth += 1
    return [(one, one.folders[depth]) for one in in_folders]


def _decode(
    files: Sequence[ImageFile], shape: ImageShape, source: str, framing: Framing | None
) -> NDArray[np.uint8] | FilePixels:
    """Pixels, (files, channels, height, width) uint8; with a `framing` only decoded when needed where they are many."""
    if framing is None:
        return _decode_alike(files, shape, source)
    pixels = FilePixels(files, framing, framing.shape(shape))
    return np.asarray(pixels) if pixels.nbytes <= _MOST_HELD else pixels


def _decode_alike(files: Sequence[ImageFile], shape: ImageShape, source: str) -> NDArray[np.uint8]:
    """Pixels of files of one size; the first file sets the sides that `shape` leaves open."""
    with open_image(files[0]) as image:
        width, height = shape.width or image.width, shape.height or image.height
        size = len(files) * shape.channels * height * width
        # before the first is decoded; a photo that is turned has as many pixels
        check_expansion(size, sum(file.size for file in files), f"{source}: images of {width}x{height}")
        require_memory(size, f"{source}: images of {width}x{height}")
        if not (shape.width and shape.height):  # of an upright photo
            first = converted(image, files[0], MODES[shape.channels])
            width, height = shape.width or first.width, shape.height or first.height
    pixels = np.empty((len(files), shape.channels, height, width), np.uint8)
    for index, file in enumerate(files):
        with open_image(file) as image:
            found = image
            if {image.width, image.height} == {width, height}:
                found = converted(image, file, MODES[shape.channels])
            if found.size != (width, height):
                fixed = shape.width and shape.height
                reason = "the network takes" if fixed else f"{files[0].name}, the first, has"
                raise DataError(
                    f"{file.name}: expected {width}x{height} pixels (width x height), which {reason}, "
                    f"got {found.width}x{found.height}",
                    f"add {_flags(width, height, fixed=bool(fixed))}, or resize the images to {width}x{height}",
                )
            pixels[index] = as_array(found)
    return pixels


def _flags(width: int, height: int, *, fixed: bool) -> str:
    """The flags that bring photos to that size; a network of a fixed size needs no crop."""
    return f"--resize {max(width, height)}" + ("" if fixed else f" --crop {min(width, height)}")
