"""Image files in class folders, whether these lie on disk or in an archive."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.config.image_shape import ImageShape
from tightc.data.images import Images, Split
from tightc.errors import DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

# Where several folders serve a split, the first one named here does.
_SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}
SPLIT_FOLDERS = frozenset(folder for folders in _SPLIT_FOLDERS.values() for folder in folders)
_MODES = {1: "L", 3: "RGB"}
# Pillow goes by content, whatever the suffix says, and for some formats it starts other programs (EPS)
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


@dataclass(frozen=True)
class Picture:
    """An image file: its path below the source, its bytes or where they lie; None where it was not read."""

    path: str
    content: bytes | Path | None

    @property
    def name(self) -> str:
        """What to call it in an error: a path that can be opened, or one inside an archive."""
        return str(self.content) if isinstance(self.content, Path) else self.path


@dataclass(frozen=True)
class _Placed:
    split: str
    folders: tuple[str, ...]
    picture: Picture


def is_picture(path: str) -> bool:
    """Whether a path names an image file that counts: by its suffix, with nothing hidden on the way."""
    parts = PurePosixPath(path).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and PurePosixPath(path).suffix.lower() in SUFFIXES


def serves(path: str, split: Split) -> bool:
    """Whether the picture at `path` can belong to `split`: it lies in a folder of that split, or of none."""
    folder = _place(path)[0]
    return not folder or folder in _SPLIT_FOLDERS[split]


def images_of(pictures: Iterable[Picture], split: Split, shape: ImageShape, source: str) -> Images:
    """Decodes the pictures of `split` in the order of their paths; a label is the rank of its class folder.

    Classes are counted over all splits, so that a class without test images does not shift the labels.
    Pixels are (images, channels, height, width) uint8. DataError names the file that cannot be taken.
    """
    if shape.channels not in _MODES:
        raise DataError(
            f"{source}: image files have 1 or 3 channels, the network wants {shape.channels}",
            "give the images as a .npz",
        )
    placed = [_Placed(*_place(picture.path), picture) for picture in pictures]
    if not placed:
        raise DataError(f"{source}: no images in it", f"permitted are {', '.join(sorted(SUFFIXES))} files")
    if any(one.split for one in placed):
        placed = [one for one in placed if one.split]
    labeled = _with_classes(placed, source)
    classes = sorted({name for _, name in labeled})
    folder = _split_folder(placed, split, source)
    chosen = [pair for pair in labeled if pair[0].split == folder]
    chosen.sort(key=lambda pair: PurePosixPath(pair[0].picture.path).parts)
    rank = {name: label for label, name in enumerate(classes)}
    labels = np.array([rank[name] for _, name in chosen], np.int64)
    return Images(_decode([one.picture for one, _ in chosen], shape), labels, tuple(classes))


def _place(path: str) -> tuple[str, tuple[str, ...]]:
    """The split folder of a path ("" for none) and the folders below it.

    A split folder holds class folders, and may itself lie in one folder, as archives often have it.
    """
    folders = PurePosixPath(path).parts[:-1]
    for depth in range(min(2, len(folders) - 1)):
        if folders[depth].lower() in SPLIT_FOLDERS:
            return folders[depth].lower(), folders[depth + 1 :]
    return "", folders


def _split_folder(placed: Sequence[_Placed], split: Split, source: str) -> str:
    found = {one.split for one in placed}
    if found == {""}:
        return ""
    for folder in _SPLIT_FOLDERS[split]:
        if folder in found:
            return folder
    raise DataError(
        f"{source}: no {split} images; the split folders with images are {', '.join(sorted(found))}",
        f"name a folder of class folders {' or '.join(_SPLIT_FOLDERS[split])}",
    )


def _with_classes(placed: Sequence[_Placed], source: str) -> list[tuple[_Placed, str]]:
    """Each picture with its class: the first folder in which they differ, or the last that all share."""
    in_folders = [one for one in placed if one.folders]
    if not in_folders:
        raise DataError(
            f"{source}: its images lie in no class folder",
            "put the images of each class in a folder of its own",
        )
    paths = [one.folders for one in in_folders]
    depth = 0
    while all(len(path) > depth + 1 for path in paths) and len({path[depth] for path in paths}) == 1:
        depth += 1
    return [(one, one.folders[depth]) for one in in_folders]


def _decode(pictures: Sequence[Picture], shape: ImageShape) -> NDArray[np.uint8]:
    """(pictures, channels, height, width) uint8; what `shape` leaves open, the first picture sets."""
    first = _open(pictures[0])
    width, height = shape.width or first.width, shape.height or first.height
    pixels = np.empty((len(pictures), shape.channels, height, width), np.uint8)
    for index, picture in enumerate(pictures):
        image = _open(picture)
        if image.size != (width, height):
            fixed = shape.width and shape.height
            wanting = "the network wants" if fixed else f"{pictures[0].name}, the first, has"
            raise DataError(
                f"{picture.name}: it is {image.width}x{image.height} pixels (width x height), "
                f"{wanting} {width}x{height}",
                f"resize the images to {width}x{height}",
            )
        values = _values(image, picture, _MODES[shape.channels])
        pixels[index] = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    return pixels


def _open(picture: Picture) -> Any:
    from PIL import Image

    content = picture.content.read_bytes() if isinstance(picture.content, Path) else picture.content
    try:
        return Image.open(io.BytesIO(content or b""), formats=_FORMATS)
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"{picture.name}: more than {limit:,} pixels", "give it in the network's size"
        ) from None
    except (OSError, SyntaxError, ValueError):
        raise _unreadable(picture) from None


def _values(image: Any, picture: Picture, mode: str) -> NDArray[np.uint8]:
    """(height, width) or (height, width, 3) uint8."""
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{picture.name}: more than 8 bits a value ({image.mode})",
            "convert it to 8 bits, or give a .npz",
        )
    try:
        return np.asarray(image if image.mode == mode else image.convert(mode))
    except (OSError, SyntaxError, ValueError):
        raise _unreadable(picture) from None


def _unreadable(picture: Picture) -> DataError:
    return DataError(f"{picture.name}: not a readable image", "replace or remove the file")
