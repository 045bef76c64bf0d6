"""Tar archives, read in one pass and never unpacked to disk."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from tightc.config.image_shape import ImageShape
from tightc.data.image_files import ImageFile, decode_images, is_image_file, may_belong_to
from tightc.data.images import Images, Split
from tightc.errors import DataError


def read_archive(archive: Path, split: Split, shape: ImageShape, *, labeled: bool = True) -> Images:
    """The images of `split` in a tar `archive` of class folders, or of split folders of these; or of images only.

    They fit a network with input `shape`; see `decode_images`.
    """
    entries = members(archive, lambda path: is_image_file(path) and may_belong_to(path, split))
    files = (ImageFile(path, content) for path, content in entries if is_image_file(path))
    return decode_images(files, split, shape, str(archive), labeled=labeled)


def members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    """The path of every file in a tar (also .gz), with its bytes where `wanted` is true of the path.

    DataError where the archive is corrupt.
    """
    try:
        # As a stream: seeking back in a .gz would decompress it again.
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                path = PurePosixPath(member.name).as_posix()
                content = tar.extractfile(member) if wanted(path) else None
                yield path, content.read() if content else None
    except (tarfile.TarError, EOFError, zlib.error) as fault:
        raise DataError(
            f"{archive}: expected a tar archive, got another or a corrupt file ({fault})", "download it again"
        ) from None
