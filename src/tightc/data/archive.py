"""Tar archives, read in one pass and never unpacked to disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tightc.config.image_shape import ImageShape
from tightc.data.file_pixels import MOST_BYTES, ImageFile
from tightc.data.framing import Framing
from tightc.data.image_files import decode_images, is_image_file, may_belong_to
from tightc.data.images import Images, Split
from tightc.errors import DataError
from tightc.input_file import Readable, check_expansion, file_size, foreign_errors, open_regular
from tightc.memory import memory_text, require_memory

_CHUNK = 2**20
_LARGEST_HEADER = 2**20  # bytes, with the names and attributes in front of a member
_COMPRESSIONS: dict[bytes, Callable[[BinaryIO], Readable]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZ": bz2.BZ2File,
    b"\xfd7": lzma.LZMAFile,
}


def read_archive(
    archive: Path,
    split: Split,
    shape: ImageShape,
    *,
    framing: Framing | None = None,
    labeled: bool = True,
) -> Images:
    """The images of `split` in a tar `archive` of class folders, or of split folders of these; or of images only.

    They fit a network with input `shape`, to which a `framing` brings photos; see `decode_images`. The encoded images
    are held in memory.
    """
    entries = members(archive, lambda path: is_image_file(path) and may_belong_to(path, split))
    files = (
        ImageFile(path, content, f"{archive}: {path}") for path, content in entries if is_image_file(path)
    )
    return decode_images(files, split, shape, str(archive), framing=framing, labeled=labeled)


def members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    """The path of every file in a tar (also .gz), with its bytes where `wanted` is true of the path.

    Paths are only names: nothing is read or written there. DataError where the archive is corrupt or expands too far,
    MemoryLimitError where what is wanted does not fit into memory.
    """
    with open_regular(archive) as file:
        size = file_size(file)
        stream = _Forward(_decompressed(file))
        held = 0
        with _errors(archive):
            tar = tarfile.TarFile(fileobj=stream, mode="r")  # type: ignore[arg-type]
        while (member := _next(tar, stream, archive)) is not None:
            check_expansion(tar.offset, size, str(archive))
            if not member.isreg():
                continue
            path = PurePosixPath(member.name.lstrip("/")).as_posix()
            content = None
            if wanted(path):
                held += member.size  # of a sparse member more than it takes in the archive
                _require_small(member.size, f"{archive}: {path}")
                check_expansion(held, size, str(archive))
                require_memory(held, str(archive))
                content = _content(tar, member, stream, archive)
            yield path, content


def _next(tar: tarfile.TarFile, stream: _Forward, archive: Path) -> tarfile.TarInfo | None:
    with _errors(archive):
        stream.allow(_LARGEST_HEADER)
        member = tar.next()
        # tarfile keeps all of them, for random access
        tar.members.clear()  # type: ignore[attr-defined]
        if member is not None and member.size < 0:
            raise tarfile.ReadError("a member of negative size")
        # where a later header is corrupt, tarfile takes it for the end, which is a block of zeros
        if member is None and stream.last.strip(b"\0"):
            raise tarfile.ReadError("a corrupt header")
        return member


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, stream: _Forward, archive: Path) -> bytes:
    with _errors(archive):
        stream.allow(member.size)
        content = tar.extractfile(member)
        assert content is not None  # which it is only for folders and links
        return b"".join(iter(lambda: content.read(_CHUNK), b""))


def _require_small(size: int, name: str) -> None:
    if size > MOST_BYTES:
        raise DataError(
            f"{name}: expected at most {memory_text(MOST_BYTES)}, got {memory_text(size)}",
            "remove it from the archive",
        )


@contextmanager
def _errors(archive: Path) -> Iterator[None]:
    with foreign_errors(
        f"{archive}: expected a tar archive, got another or a corrupt file", "download it again"
    ):
        yield


def _decompressed(file: BinaryIO) -> Readable:
    start = file.read(2)
    file.seek(0)
    decompressor = _COMPRESSIONS.get(start)
    return decompressor(file) if decompressor else file


class _Forward:
    """What tarfile reads an archive from: forward only, and no more at a time than was allowed.

    Headers say how long names and attributes are, and tarfile would read them whole.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._at = 0
        self.last = b""  # what was read last
        self.allow(_LARGEST_HEADER)

    def allow(self, size: int) -> None:
        """Permits that so many bytes are read from now on, and as many more as fill a block."""
        self._left = size + tarfile.RECORDSIZE

    def tell(self) -> int:
        """The number of bytes that were read or skipped."""
        return self._at

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        if not 0 <= size <= self._left:
            raise tarfile.ReadError(f"a header of more than {memory_text(_LARGEST_HEADER)}")
        content = self._stream.read(size)
        self._left -= len(content)
        self._at += len(content)
        self.last = content
        return content

    def seekable(self) -> bool:
        """Forward, as far as a member is read."""
        return True

    def seek(self, position: int) -> None:
        """Skips to `position`, or to the end where that comes before."""
        if position < self._at:
            raise tarfile.ReadError("members that overlap")
        while self._at < position:
            chunk = self._stream.read(min(_CHUNK, position - self._at))
            if not chunk:
                return
            self._at += len(chunk)
