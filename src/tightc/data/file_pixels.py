"""Image files, and their pixels: decoded one by one, or only when they are asked for."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.config.image_shape import ImageShape
from tightc.data.framing import Framing
from tightc.errors import DataError
from tightc.input_file import foreign_errors, open_regular
from tightc.memory import memory_text, require_memory
from tightc.parallel import ordered_map

MOST_BYTES = 2**29  # of an encoded image, as large as Pillow's limit of pixels without compression
MODES = {1: "L", 3: "RGB"}  # by the number of channels

_UNREADABLE = "expected a readable image, got another or a corrupt file"
# Pillow detects the format by content, and starts other programs for some formats (EPS)
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


@dataclass(frozen=True)
class ImageFile:
    """An image file: its path within the source, its bytes or its path on disk, and its name in errors.

    The content is None where it was not read.
    """

    path: str
    content: bytes | Path | None
    name: str

    @property
    def size(self) -> int:
        """Bytes of the encoded image."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content or b"")


class FilePixels:
    """Pixels that are decoded when they are asked for: an index gives (images, channels, height, width) uint8.

    `framing` brings each of `files` to the height and width of `shape`, which has both.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, files: Sequence[ImageFile], framing: Framing, shape: ImageShape) -> None:
        assert shape.height is not None and shape.width is not None
        self._files, self._framing, self._shape = files, framing, shape
        self.shape = (len(files), shape.channels, shape.height, shape.width)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels, decoded."""
        return self.size

    def __getitem__(self, which: slice | int | np.integer[Any] | NDArray[Any]) -> NDArray[np.uint8]:
        if isinstance(which, int | np.integer):
            return self._decoded(self._files[int(which)])
        files = self.chosen(which)._files
        pixels = np.empty((len(files), *self.shape[1:]), np.uint8)
        for index, values in enumerate(ordered_map(self._decoded, files)):
            pixels[index] = values
        return pixels

    def chosen(self, which: slice | NDArray[Any]) -> FilePixels:
        """The pixels of the images at `which`, a slice, bools or numbers, not yet decoded."""
        if isinstance(which, slice):
            return FilePixels(self._files[which], self._framing, self._shape)
        numbers = np.arange(len(self._files))[which]
        return FilePixels([self._files[number] for number in numbers], self._framing, self._shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        require_memory(self.nbytes, f"{len(self)} images")
        return self[:].astype(dtype or np.uint8, copy=False)

    def digest(self) -> bytes:
        """A digest of what the pixels depend on: the framing, and each file's name, size and time, or its content."""
        digest = hashlib.sha256(repr((self._framing, self._shape)).encode())
        for file in self._files:
            digest.update(file.path.encode(errors="surrogatepass"))
            if isinstance(file.content, Path):
                found = file.content.stat()
                digest.update(f"{found.st_size} {found.st_mtime_ns}".encode())
            else:
                digest.update(file.content or b"")
        return digest.digest()

    def _decoded(self, file: ImageFile) -> NDArray[np.uint8]:
        """(channels, height, width)."""
        with open_image(file) as image:
            upright = converted(image, file, MODES[self._shape.channels])
            with decoding(file):
                return as_array(self._framing.applied(upright, self._shape, file.name))


def as_array(image: Any) -> NDArray[np.uint8]:
    """The values of a Pillow image of mode L or RGB, (channels, height, width)."""
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


@contextmanager
def open_image(file: ImageFile) -> Iterator[Any]:
    """The Pillow image with its size and mode, its pixels not yet decoded; DataError names the file."""
    from PIL import Image, UnidentifiedImageError

    stream = open_regular(file.content) if isinstance(file.content, Path) else io.BytesIO(file.content or b"")
    with stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images, and of odd ones that can be read
        if file.size > MOST_BYTES:
            raise _too_large(file, memory_text(MOST_BYTES), memory_text(file.size))
        with decoding(file):
            try:
                image = Image.open(stream, formats=_FORMATS)
            except Image.DecompressionBombError:
                most = f"{2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
                raise _too_large(file, most, "more") from None
            except UnidentifiedImageError:  # whose text names an object of Python
                raise DataError(f"{file.name}: {_UNREADABLE}", "replace or remove it") from None
        yield image


def converted(image: Any, file: ImageFile, mode: str) -> Any:
    """The Pillow `image` of `file`, decoded, upright as its EXIF data say, in `mode` L or RGB without transparency."""
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{file.name}: expected 8 bits per value, got mode {image.mode}",
            "convert it to 8 bits, or give a .npz",
        )
    from PIL import ImageOps

    with decoding(file):
        image.load()
        upright = image
        with suppress(Exception):  # EXIF data that cannot be read leave a photo as it is stored
            upright = ImageOps.exif_transpose(image)
        return upright if upright.mode == mode else upright.convert(mode)


def decoding(file: ImageFile) -> AbstractContextManager[None]:
    """DataError, naming the file, in place of what Pillow raises on a corrupt one."""
    return foreign_errors(f"{file.name}: {_UNREADABLE}", "replace or remove it")


def _too_large(file: ImageFile, most: str, found: str) -> DataError:
    return DataError(f"{file.name}: expected at most {most}, got {found}", "resize it to the network's input")
