"""Streams whose check sums are right and whose bits are not: each gives an error with words, none a crash."""

from __future__ import annotations

from contextlib import suppress
from struct import pack, unpack_from
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.packings import packed_layer
from tightc.errors import StreamError
from tightc.stream.bits import put_bits, put_choice, put_gamma
from tightc.stream.contents import slot_contents
from tightc.stream.image import HEADER_BYTES, read_image, write_image
from tightc.stream.layer import in_stored_order, stored_layer
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

MATRIX = LayerMatrix((np.arange(48).reshape(6, 8) % 5 - 2).astype(np.int8))
PACKING = packed_layer(MATRIX, "tight", ArrayShape(4, 4), 3)


def image() -> bytes:
    stored = stored_layer(PACKING)
    return write_image([(stored, slot_contents(stored, in_stored_order(PACKING, stored), MATRIX))])


def with_header(content: bytes, at: int, kind: str, value: int) -> bytes:
    header = bytearray(content[: HEADER_BYTES - 4])
    header[at : at + len(pack(kind, value))] = pack(kind, value)
    return bytes(header) + pack("<I", crc32(header)) + content[HEADER_BYTES:]


def with_bits(bits: bytes) -> bytes:
    """The image of one layer of these bits on a 4x4 array with a fan-in of 3."""
    length = pack("<I", len(bits))
    record = length + pack("<I", crc32(length + bits)) + bits + bytes(-len(bits) % 4)
    return with_header(image()[:HEADER_BYTES] + record, 16, "<I", HEADER_BYTES + len(record))


def written(*fields: tuple[str, int, int]) -> bytes:
    """A layer of these fields: (`gamma`, number, 0), (`bits`, number, count) or (`choice`, number, options)."""
    buffer, position = np.zeros(256, np.uint8), 0
    for kind, number, size in fields:
        if kind == "gamma":
            position = put_gamma(buffer, position, number)
        else:
            position = (put_bits if kind == "bits" else put_choice)(buffer, position, number, size)
    return buffer[: -(-position // 8)].tobytes()


def gammas(*numbers: int) -> list[tuple[str, int, int]]:
    return [("gamma", number, 0) for number in numbers]


def table(base: int, raw: int, *lengths: int) -> list[tuple[str, int, int]]:
    first = [*gammas(base), ("bits", raw, 6), ("bits", max(0, len(lengths) - 1), 8)]
    if not lengths:
        return first
    return [*first, ("bits", lengths[0], 4), *(("bits", 0b110000 | length, 6) for length in lengths[1:])]


SIZES = [
    *gammas(5, 7, 0, 1),
    ("bits", 0, 1),
    ("bits", 0, 1),
    ("bits", 7, 6),
]  # 6 filters, 8 inputs, a tile of int8
TABLES = [*table(1, 0), *table(1, 0)]  # one slot for each input, each weight 1 or -1
TWO_COLUMNS = [("choice", 2, 5), *gammas(0, 0), ("choice", 0, 15)]  # filters 0 and 1

ONE_INPUT = [*TWO_COLUMNS, ("choice", 1, 9), *gammas(0), ("choice", 0, 8)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (gammas(5), "it ends too early"),
        ([("bits", 0, 40)], "a number has too many bits"),
        (gammas(5, 7, 3, 1), "expected a layer, got 6 filters and 8 inputs in 4 groups"),
        (gammas(2**24, 7, 0, 1), "expected a layer, got 16777217 filters"),
        (gammas(5, 2**31, 0, 1), "and 2147483649 inputs in 1 groups"),
        ([*gammas(5, 7, 0, 1), ("bits", 1, 1), *gammas(4096, 3, 2)], "got 4097x4 with a fan-in of 3"),
        ([*gammas(5, 7, 0, 1), ("bits", 1, 1), *gammas(3, 3, 32767)], "got 4x4 with a fan-in of 32768"),
        ([*gammas(5, 7, 0, 0), ("bits", 0, 1), ("bits", 0, 9)], "bits are left over"),
        ([*gammas(5, 7, 0, 0), ("bits", 1, 2)], "bits are left over"),
        ([*SIZES, *table(1, 56)], "a table has 56 raw bits"),
        ([*SIZES, *table(1, 0, 1, 2)], "the codes of a table are not complete"),
        ([*SIZES, *table(1, 0, 0, 0)], "the codes of a table are not complete"),
        ([*SIZES, *TABLES, ("choice", 2, 5), *gammas(2, 0)], "a tile has more filters than there are"),
        ([*SIZES, *TABLES, ("choice", 2, 5), *gammas(0, 1)], "a tile has more filters than there are"),
        (
            [*SIZES, *TABLES, *TWO_COLUMNS, ("choice", 2, 9), *gammas(2)],
            "a tile has more inputs than there are",
        ),
        ([*SIZES, *TABLES, *TWO_COLUMNS, ("choice", 8, 9)], "it ends too early"),
        (
            [*SIZES, *table(5, 0), *table(1, 0), *ONE_INPUT, ("bits", 0, 30)],
            "an input has more slots than columns",
        ),
        ([*SIZES, *table(1, 0), *table(300, 0), *ONE_INPUT, ("bits", 0, 3)], "a slot holds more than 8 bits"),
    ],
)
def test_bits_without_sense_are_named(fields: list[tuple[str, int, int]], words: str) -> None:
    with pytest.raises(StreamError, match=r"^x: layer 0 of the stream is damaged: ") as caught:
        read_image(with_bits(written(*fields)), "x")
    assert words in str(caught.value)


def test_inputs_without_a_lane_are_named() -> None:
    # two inputs in the first of two columns, on an array of one lane with a fan-in of 2
    head = [*gammas(5, 7, 0, 1), ("bits", 1, 1), *gammas(0, 3, 1), ("bits", 0, 1), ("bits", 7, 6), *TABLES]
    inputs = [("choice", 2, 3), *gammas(0), ("choice", 0, 28), ("choice", 0, 2), ("choice", 0, 2)]
    with pytest.raises(StreamError, match="no lane has room for an input"):
        read_image(with_bits(written(*head, *TWO_COLUMNS, *inputs, ("bits", 0, 20))), "x")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\3\4" + bytes(40), "expected a stream, got a file that does not begin with TCWS"),
        (image()[:20], "the stream ends within its header"),
        (image()[:20] + bytes(4) + image()[24:], "the header of the stream is damaged"),
        (with_header(image(), 4, "<H", 2), "expected a stream of version 1, got 2"),
        (image() + b"\0", f"expected {len(image())} bytes, got {len(image()) + 1}"),
        (with_header(image(), 8, "<H", 0), "expected lanes of an array, got 0x4 with 3"),
        (with_header(image(), 6, "<H", 2), "layer 1 of the stream is missing"),
        (with_header(image(), 6, "<H", 0), "expected 24 bytes of layers"),
    ],
)
def test_headers_without_sense_are_named(content: bytes, words: str) -> None:
    with pytest.raises(StreamError) as caught:
        read_image(content, "x")
    assert words in str(caught.value)


def test_fillers_other_than_zero_are_named() -> None:
    whole = bytearray(image())
    (length,) = unpack_from("<I", whole, HEADER_BYTES)
    assert length % 4, "this layer needs fillers"
    whole[-1] = 1
    with pytest.raises(StreamError, match="expected zeros up to a whole word"):
        read_image(bytes(whole), "x")


@settings(max_examples=400)
@given(st.data())
def test_other_bits_under_a_right_check_sum_never_crash(data: st.DataObject) -> None:
    whole = image()
    (length,) = unpack_from("<I", whole, HEADER_BYTES)
    bits = bytearray(whole[HEADER_BYTES + 8 : HEADER_BYTES + 8 + length])
    for _ in range(data.draw(st.integers(1, 4))):
        bit = data.draw(st.integers(0, 8 * length - 1))
        bits[bit // 8] ^= 1 << bit % 8
    with suppress(StreamError):
        read_image(with_bits(bytes(bits)), "x")
