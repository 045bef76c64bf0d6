"""The memory image: a header and one record for each layer, every one with a check sum. docs/stream.md, "The image"."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from zlib import crc32

import numpy as np

from tightc.errors import StreamError
from tightc.stream.contents import Contents
from tightc.stream.decode import decode_layer
from tightc.stream.encode import encode_layer
from tightc.stream.layer import Lanes, StoredLayer
from tightc.tile.array import LARGEST

MAGIC = b"TCWS"
VERSION = 1
_HEADER = Struct("<4sHHHHHHI")
_CHECK = Struct("<I")
_RECORD = Struct("<II")
_WORD = 4
HEADER_BYTES = _HEADER.size + _CHECK.size
AGAIN = "write it again by tightc pack --stream"


def record_bytes(layer: StoredLayer, contents: Contents, usual: Lanes) -> bytes:
    """The record of a layer: bytes of its bits, check sum, bits, and zeros up to a whole word."""
    bits = encode_layer(layer, contents, usual).tobytes()
    length = _CHECK.pack(len(bits))
    return length + _CHECK.pack(crc32(bits, crc32(length))) + bits + bytes(-len(bits) % _WORD)


def write_image(layers: Sequence[tuple[StoredLayer, Contents]]) -> bytes:
    """The memory image of `layers`, in their order, at least one."""
    usual = layers[0][0].lanes
    records = [record_bytes(layer, contents, usual) for layer, contents in layers]
    size = HEADER_BYTES + sum(map(len, records))
    header = _HEADER.pack(MAGIC, VERSION, len(records), *usual, 0, size)
    return header + _CHECK.pack(crc32(header)) + b"".join(records)


def read_image(content: bytes, origin: str) -> list[tuple[StoredLayer, Contents]]:
    """The layers of a memory image; StreamError where it is damaged or of another version.

    `origin` names the image in errors.
    """
    usual, count = _read_header(content, origin)
    layers, start = [], HEADER_BYTES
    for number in range(count):
        named = f"{origin}: layer {number} of the stream"
        if start + _RECORD.size > len(content):
            raise StreamError(f"{named} is missing", AGAIN)
        length, check = _RECORD.unpack_from(content, start)
        first = start + _RECORD.size
        start = first + length + -length % _WORD
        bits = content[first : first + length]
        if start > len(content) or crc32(bits, crc32(_CHECK.pack(length))) != check:
            raise StreamError(f"{named} is damaged: its check sum is another", AGAIN)
        if any(content[first + length : start]):
            raise StreamError(f"{named} is damaged: expected zeros up to a whole word", AGAIN)
        try:
            layers.append(decode_layer(np.frombuffer(bits, np.uint8), usual))
        except (ValueError, IndexError, OverflowError) as fault:
            raise StreamError(f"{named} is damaged: {fault}", AGAIN) from None
    if start != len(content):
        raise StreamError(f"{origin}: expected {start} bytes of layers, got {len(content)}", AGAIN)
    return layers


def _read_header(content: bytes, origin: str) -> tuple[Lanes, int]:
    """(the lanes that the header of an image names, its number of layers)."""
    if content[: len(MAGIC)] != MAGIC:
        raise StreamError(f"{origin}: expected a stream, got a file that does not begin with TCWS", AGAIN)
    if len(content) < HEADER_BYTES:
        raise StreamError(f"{origin}: the stream ends within its header", AGAIN)
    _, version, count, rows, columns, fan_in, reserved, size = _HEADER.unpack_from(content)
    if _CHECK.unpack_from(content, _HEADER.size)[0] != crc32(content[: _HEADER.size]):
        raise StreamError(f"{origin}: the header of the stream is damaged", AGAIN)
    if version != VERSION:
        raise StreamError(f"{origin}: expected a stream of version {VERSION}, got {version}", AGAIN)
    if size != len(content):
        raise StreamError(f"{origin}: expected {size} bytes, got {len(content)}", AGAIN)
    if not (0 < rows <= LARGEST and 0 < columns <= LARGEST and 0 < fan_in < 2**15) or reserved:
        raise StreamError(f"{origin}: expected lanes of an array, got {rows}x{columns} with {fan_in}", AGAIN)
    return Lanes(rows, columns, fan_in), count
