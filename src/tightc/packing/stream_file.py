"""Files of weight streams."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from tightc.errors import StreamError
from tightc.files import check_writable, write_file_atomically
from tightc.input_file import read_regular
from tightc.model.file import Model
from tightc.packing.options import PackOptions
from tightc.packing.pack import pack_with_stream
from tightc.report import Result
from tightc.stream.image import AGAIN

_MOST_BYTES = 2**31


def pack_to_file(model: Model, options: PackOptions, path: str | PathLike[str]) -> Result:
    """As `pack_with_stream`, with the memory image in the file at `path`; OutputError where it cannot be written."""
    check_writable(Path(path))
    result, image = pack_with_stream(model, options)
    write_file_atomically(Path(path), image)
    return result


def read_stream_file(path: str | PathLike[str]) -> bytes:
    """The content of the file at `path`; StreamError where it cannot be read."""
    try:
        return read_regular(str(path), _MOST_BYTES, StreamError)
    except OSError as fault:
        raise StreamError(f"{path}: cannot be read ({fault.strerror})", AGAIN) from None
