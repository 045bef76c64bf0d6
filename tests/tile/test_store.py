"""The stream of bits: what it refuses, and numbers of every width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightc.tile.array import ArrayShape
from tightc.tile.packing import Packing, Tile
from tightc.tile.store import SECTIONS, BitStream, Section, check_sections, from_stream, to_stream

TILE = Tile(
    np.array([0, 1], np.int32),
    np.array([0, 2, 3], np.int32),
    np.array([0, 1, 2], np.int32),
    np.array([[0, 1], [-1, 0]], np.int16),
)
PACKING = Packing("tight", ArrayShape(2, 2), 2, 2, 3, 1, (TILE,))
EMPTY_PACKING = replace(PACKING, tiles=())


def stream_of(start: int, count: int, width: int, content: int = 64) -> BitStream:
    return BitStream(np.zeros(content, np.uint8), (0, 0, 0), ((start, count, width),))


@pytest.mark.parametrize(
    ("start", "count", "width"), [(-1, 1, 1), (0, -1, 1), (0, 1, 0), (0, 1, -1), (0, 1, 32)]
)
def test_a_section_without_sense_is_refused(start: int, count: int, width: int) -> None:
    with pytest.raises(ValueError, match="a section without sense"):
        stream_of(start, count, width).section(0)


@pytest.mark.parametrize(("start", "count", "width"), [(0, 1, 1), (0, 0, 1), (0, 16, 31), (63, 8, 1)])
def test_sections_at_the_limits_are_read(start: int, count: int, width: int) -> None:
    assert stream_of(start, count, width).section(0).tolist() == [0] * count


@pytest.mark.parametrize(("start", "count", "width"), [(63, 9, 1), (64, 1, 1), (0, 17, 31)])
def test_a_section_beyond_the_end_is_refused(start: int, count: int, width: int) -> None:
    with pytest.raises(ValueError, match="the stream ends within a section"):
        stream_of(start, count, width).section(0)


@given(st.integers(1, 31), st.lists(st.integers(0, 2**31 - 1), max_size=20))
def test_numbers_of_every_width_come_back(width: int, numbers: list[int]) -> None:
    cut = np.array([number % 2**width for number in numbers], np.int64)
    stream = to_stream(EMPTY_PACKING, [Section(cut, width)])
    assert stream.section(len(SECTIONS)).tolist() == cut.tolist()
    start, count, own = stream.sections[-1]
    assert (count, own) == (len(numbers), width)
    assert len(stream.content) - start == -(-len(numbers) * width // 8)


def test_the_sections_of_a_small_tile_by_hand() -> None:
    stream = to_stream(PACKING)
    assert stream.grid == (1, 2, 2)
    read = {name: stream.section(i).tolist() for i, name in enumerate(SECTIONS)}
    assert read == {
        "occupied": [1, 1, 0, 1],
        "select": [0, 1, 0],
        "lengths": [2, 1],
        "inputs": [0, 1, 2],
        "filters": [1, 2],
    }
    # the least bits that hold the largest number, but at least one
    assert [width for _, _, width in stream.sections] == [1, 1, 2, 2, 2]


def with_section(name: str, numbers: list[int], width: int) -> BitStream:
    """The stream of PACKING with other numbers in one section, added at the end."""
    more = Section(np.array(numbers, np.int64), width)
    stream = to_stream(PACKING, [more])
    *sections, added = stream.sections
    sections[SECTIONS.index(name)] = added
    return replace(stream, sections=tuple(sections))


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("select", [0, 1], "as many selects as occupied slots are needed"),
        ("select", [0, 1, 0, 0], "as many selects as occupied slots are needed"),
        ("occupied", [1], "as many selects as occupied slots are needed"),
        ("inputs", [0, 1], "as many inputs as the lanes carry are needed"),
        ("inputs", [0, 1, 2, 0], "as many inputs as the lanes carry are needed"),
    ],
)
def test_sections_that_contradict_each_other(name: str, numbers: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_stream(with_section(name, numbers, 2))


def test_a_stream_may_have_as_many_slots_and_inputs_as_permitted() -> None:
    column = Tile(
        np.array([0], np.int32),
        np.array([0, 2, 4], np.int32),
        np.array([0, 1, 0, 2], np.int32),
        np.array([[0], [1]], np.int16),
    )
    stream = to_stream(replace(PACKING, tiles=(column,)))  # 2 slots, 4 inputs
    check_sections(stream, 4)
    with pytest.raises(ValueError, match="expected at most 2 selects and 3 inputs, got 2 and 4"):
        check_sections(stream, 3)
    four = to_stream(PACKING)  # 4 slots, 3 inputs
    check_sections(four, 4)
    with pytest.raises(ValueError, match="expected at most 3 slots, got 1 tiles of 2x2"):
        check_sections(four, 3)
