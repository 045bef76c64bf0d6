"""Files of weight streams."""

from __future__ import annotations

from os import PathLike

from tightc.errors import StreamError
from tightc.input_file import read_regular
from tightc.stream.image import AGAIN

_MOST_BYTES = 2**31


def read_stream_file(path: str | PathLike[str]) -> bytes:
    """The content of the file at `path`; StreamError where it cannot be read."""
    try:
        return read_regular(str(path), _MOST_BYTES, StreamError)
    except OSError as fault:
        raise StreamError(f"{path}: cannot be read ({fault.strerror})", AGAIN) from None
