"""Every packing of every method, held to the slow verifier and to the bound."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import oracle
from helpers.packings import arrays, matrices, packed_layer
from tightc.tile.array import ArrayShape
from tightc.tile.bounds import dense_passes, passes_lower_bound
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import measure, packed_bits
from tightc.tile.packing import EMPTY, Packing, Tile, cut_into_tiles, tile_of_slots
from tightc.tile.store import Section, from_stream, to_stream
from tightc.tile.validity import packing_error

METHODS = ("dense", "structured", "first-fit", "tight")
FULL = LayerMatrix(np.arange(1, 25, dtype=np.float32).reshape(4, 6))
GENEROUS = 4000


def random_matrix(filters: int, inputs: int, density: float = 0.5, groups: int = 1) -> LayerMatrix:
    rng = np.random.default_rng([filters, inputs])
    return LayerMatrix((rng.random((filters, inputs)) < density).astype(np.float32), groups)


@settings(max_examples=150)
@given(matrices(), arrays(), st.sampled_from([1, 2, 3, 16]), st.sampled_from(METHODS))
@example(LayerMatrix(np.zeros((3, 4), np.float32)), ArrayShape(2, 2), 1, "tight")
@example(LayerMatrix(np.ones((1, 1), np.float32)), ArrayShape(1, 1), 1, "tight")
@example(LayerMatrix(np.ones((6, 1), np.float32), 6), ArrayShape(1, 3), 2, "tight")
def test_every_method_is_lossless_within_array_and_fan_in(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, method: str
) -> None:
    packing = packed_layer(matrix, method, array, fan_in)
    tiles = oracle.plain(packing)
    assert oracle.packing_faults(tiles, matrix.values, matrix.groups, tuple(array), packing.fan_in) == []
    assert packing_error(packing, matrix) == ""
    # tight may find that an ordinary array does as well, or column combining with its usual alpha
    usual = min(8, fan_in)
    assert packing.fan_in in {"tight": (1, usual, fan_in), "first-fit": (fan_in,)}.get(method, (1,))
    assert len(tiles) >= oracle.lower_bound(matrix.values, tuple(array))


@settings(max_examples=60)
@given(matrices(), arrays())
def test_tight_meets_the_bound_where_fan_in_is_no_limit(matrix: LayerMatrix, array: ArrayShape) -> None:
    packing = packed_layer(matrix, "tight", array, GENEROUS)
    assert len(packing.tiles) == oracle.lower_bound(matrix.values, tuple(array))


@settings(max_examples=40)
@given(matrices(), arrays(), st.sampled_from([1, 2]))
def test_tight_never_takes_more_passes_than_structured_nor_that_more_than_dense(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    passes = [
        len(packed_layer(matrix, method, array, fan_in).tiles) for method in ("tight", "structured", "dense")
    ]
    assert passes == sorted(passes)


@settings(max_examples=60)
@given(matrices(), arrays())
def test_dense_fills_every_slot_in_the_passes_of_the_dense_layer(
    matrix: LayerMatrix, array: ArrayShape
) -> None:
    packing = packed_layer(matrix, "dense", array)
    expected = oracle.dense_tiles(matrix.filters_per_group, matrix.inputs, tuple(array), matrix.groups)
    assert oracle.plain(packing) == expected
    assert len(packing.slots()[0]) == matrix.values.size
    assert dense_passes(matrix.filters, matrix.inputs, matrix.groups, array) == len(expected)


@settings(max_examples=60)
@given(matrices(), arrays())
def test_bound_is_that_of_the_oracle(matrix: LayerMatrix, array: ArrayShape) -> None:
    expected = oracle.lower_bound(matrix.values, tuple(array))
    assert passes_lower_bound(matrix.filter_sizes(), array) == expected


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2)]), st.sampled_from([1, 2, 5]))
def test_no_packing_at_all_beats_the_bound(seed: int, array: tuple[int, int], fan_in: int) -> None:
    values = np.zeros((3, 3), np.float32)
    rng = np.random.default_rng(seed)
    values.flat[rng.choice(9, rng.integers(0, 6), replace=False)] = 1
    optimum = oracle.fewest_passes(values, 1, array, fan_in)
    matrix = LayerMatrix(values)
    assert passes_lower_bound(matrix.filter_sizes(), ArrayShape(*array)) <= optimum
    assert optimum <= len(packed_layer(matrix, "tight", ArrayShape(*array), fan_in).tiles)


@settings(max_examples=80)
@given(matrices(), arrays(), st.sampled_from([1, 2, 4, 16, 17, 300]), st.sampled_from(METHODS))
@example(LayerMatrix(np.zeros((3, 4), np.float32)), ArrayShape(2, 2), 1, "tight")
def test_stored_tiles_come_back(matrix: LayerMatrix, array: ArrayShape, fan_in: int, method: str) -> None:
    packing = packed_layer(matrix, method, array, fan_in)
    back = from_stream(to_stream(packing))
    assert len(back) == len(packing.tiles)
    for found, tile in zip(back, packing.tiles, strict=True):
        for name in ("filters", "lane_starts", "inputs", "select"):
            one, other = getattr(found, name), getattr(tile, name)
            assert one.dtype == other.dtype and one.tolist() == other.tolist(), name


def bit(content: np.ndarray, place: int) -> int:
    return int(content[place // 8]) >> place % 8 & 1


@given(matrices(), arrays(), st.sampled_from([1, 2, 5, 16]))
def test_the_stream_holds_numbers_bit_by_bit(matrix: LayerMatrix, array: ArrayShape, fan_in: int) -> None:
    packing = packed_layer(matrix, "tight", array, fan_in)
    further = np.arange(11) % 8
    stream = to_stream(packing, [Section(further, 3)])
    wanted = [
        [tile.select[tile.select != EMPTY].tolist() for tile in packing.tiles],
        [tile.inputs.tolist() for tile in packing.tiles],
        [further.tolist()],
    ]
    for number, parts in zip((1, 3, 5), wanted, strict=True):
        start, count, width = stream.sections[number]
        flat = [value for part in parts for value in part]
        found = [
            sum(bit(stream.content, 8 * start + i * width + place) << place for place in range(width))
            for i in range(count)
        ]
        assert found == flat == stream.section(number).tolist()
        if number != 5:
            assert width == max(1, max(flat, default=0).bit_length()), "no wider than the largest needs"
    assert len(stream.content) == sum(-(-count * width // 8) for _, count, width in stream.sections)


def test_slots_are_marked_only_where_some_are_empty() -> None:
    full = packed_layer(LayerMatrix(np.ones((5, 6), np.float32)), "tight", ArrayShape(4, 4), 3)
    gaps = packed_layer(LayerMatrix(np.tril(np.ones((5, 6), np.float32))), "tight", ArrayShape(4, 4), 3)
    for packing, marks in ((full, 1), (gaps, None)):
        stream = to_stream(packing)
        area = stream.grid[0] * stream.grid[1] * stream.grid[2]
        assert stream.sections[0][1] == (marks or area)
        assert from_stream(stream)[0].select.tolist() == packing.tiles[0].select.tolist()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"content": np.zeros(3, np.uint8)}, "the stream ends within a section"),
        ({"sections": ((0, 9, 0),) * 5}, "a section without sense"),
        ({"sections": ((-8, 9, 1),) * 5}, "a section without sense"),
        ({"grid": (1, 1, 1)}, "the sections are not those of 1 tiles of 1x1"),
    ],
)
def test_streams_that_contradict_themselves_are_refused(change: dict[str, Any], sentence: str) -> None:
    stream = to_stream(packed_layer(LayerMatrix(np.ones((4, 6), np.float32)), "tight", ArrayShape(4, 4), 3))
    with pytest.raises(ValueError, match=sentence):
        from_stream(replace(stream, **change))


@pytest.mark.parametrize(
    ("section", "sentence"),
    [(1, "as many selects as occupied slots"), (3, "as many inputs as the lanes carry")],
)
def test_sections_of_another_length_are_refused(section: int, sentence: str) -> None:
    stream = to_stream(packed_layer(LayerMatrix(np.ones((4, 6), np.float32)), "tight", ArrayShape(4, 4), 3))
    sections = list(stream.sections)
    start, count, width = sections[section]
    sections[section] = (start, count - 1, width)
    with pytest.raises(ValueError, match=sentence):
        from_stream(replace(stream, sections=tuple(sections)))


@settings(max_examples=200)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9), st.floats(0, 1), st.integers(0, 999))
def test_a_tile_holds_what_its_slots_multiply(
    lanes: int, columns: int, inputs: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    slots = rng.integers(0, inputs, (lanes, columns)).astype(np.int32)
    slots[rng.random((lanes, columns)) >= share] = EMPTY
    filters = rng.permutation(columns).astype(np.int32)
    tile = tile_of_slots(filters, slots)
    rows = [row for row in slots.tolist() if max(row, default=EMPTY) != EMPTY]
    used = [j for j in range(columns) if any(row[j] != EMPTY for row in rows)]
    carried = [sorted({item for item in row if item != EMPTY}) for row in rows]
    assert tile.filters.tolist() == filters[used].tolist()
    assert [tile.inputs[a:b].tolist() for a, b in itertools.pairwise(tile.lane_starts.tolist())] == carried
    assert tile.select.tolist() == [
        [have.index(row[j]) if row[j] != EMPTY else EMPTY for j in used]
        for row, have in zip(rows, carried, strict=True)
    ]


@settings(max_examples=60)
@given(matrices(), arrays(), st.sampled_from([1, 3, 16]), st.sampled_from(METHODS))
def test_measures_are_those_of_the_oracle(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, method: str
) -> None:
    packing = packed_layer(matrix, method, array, fan_in)
    tiles = oracle.plain(packing)
    figures = measure(packing, matrix).figures()
    expected = oracle.measures(tiles, matrix.values, matrix.groups, tuple(array))
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    bound = oracle.passes_bound(matrix.values != 0, matrix.groups, tuple(array), packing.fan_in)
    assert (figures["passes_lower_bound"], figures["gap"]) == (bound, len(tiles) - bound)
    inputs = matrix.inputs * matrix.groups
    bits = oracle.packed_bits(tiles, 32, packing.fan_in, inputs, matrix.filters, method == "dense")
    assert figures["packed_bits"] == packed_bits(packing, 32) == bits
    assert figures["bit_compression"] == (pytest.approx(32 * matrix.values.size / bits) if bits else None)


def test_weights_without_a_slot_are_measured_as_dropped() -> None:
    whole = packed_layer(FULL, "dense")
    partial = replace(whole, tiles=whole.tiles[1:])
    figures = measure(partial, FULL).figures()
    expected = oracle.measures(oracle.plain(partial), FULL.values, 1, (4, 4))
    assert figures["dropped_weights"] == expected["dropped_weights"] == whole.tiles[0].area
    assert figures["dropped_magnitude"] == pytest.approx(expected["dropped_magnitude"])
    assert 0 < figures["dropped_magnitude"] < 1
    assert figures["tightness"] == 1.0


def test_measures_add_up_over_layers() -> None:
    one, two = measure(packed_layer(FULL), FULL), measure(packed_layer(FULL, "dense"), FULL)
    both = (one + two).figures()
    assert both["passes"] == len(packed_layer(FULL).tiles) + len(packed_layer(FULL, "dense").tiles)
    assert both["fan_in_max"] == max(one.fan_in_max, two.fan_in_max)
    assert both["matrix_compression_rate"] == pytest.approx(48 / (one.area + two.area))


# --- verify.fault finds damage of every kind


def with_tile(packing: Packing, **changes: np.ndarray) -> Packing:
    return replace(packing, tiles=(replace(packing.tiles[0], **changes), *packing.tiles[1:]))


def changed(array: np.ndarray, at: tuple[int, ...] | int, value: int) -> np.ndarray:
    copy = array.copy()
    copy[at] = value
    return copy


DAMAGE: dict[str, tuple[Callable[[Packing, Tile], Packing], str]] = {
    "another number of filters": (lambda p, t: replace(p, filters=5), "it was made for a 5x6 layer"),
    "another number of inputs": (lambda p, t: replace(p, inputs=7), "it was made for a 4x7 layer"),
    "another number of groups": (lambda p, t: replace(p, groups=2), "layer of 2 groups"),
    "too few columns": (lambda p, t: replace(p, array=ArrayShape(4, 3)), "tile 0 takes 4x4, beyond the 4x3"),
    "too few rows": (lambda p, t: replace(p, array=ArrayShape(3, 4)), "tile 0 takes 4x4, beyond the 3x4"),
    "less fan-in": (lambda p, t: replace(p, fan_in=t.fan_in - 1), f"beyond the fan-in {0}"),
    "a tile gone": (lambda p, t: replace(p, tiles=p.tiles[1:]), "non-zero weights have no slot"),
    "a tile twice": (lambda p, t: replace(p, tiles=(*p.tiles, t)), "a weight sits in two slots"),
    "a slot emptied": (lambda p, t: with_tile(p, select=changed(t.select, (0, 0), EMPTY)), "1 non-zero"),
    "a select too large": (lambda p, t: with_tile(p, select=changed(t.select, (0, 0), 99)), "not carry"),
    "a select below empty": (lambda p, t: with_tile(p, select=changed(t.select, (0, 0), -2)), "not carry"),
    "an input changed": (lambda p, t: with_tile(p, inputs=changed(t.inputs, 0, 5)), ""),
    "an input too large": (lambda p, t: with_tile(p, inputs=changed(t.inputs, 0, 6)), "does not have"),
    "an input negative": (lambda p, t: with_tile(p, inputs=changed(t.inputs, 0, -1)), "does not have"),
    "a filter too large": (lambda p, t: with_tile(p, filters=changed(t.filters, 0, 4)), "does not have"),
    "a filter negative": (lambda p, t: with_tile(p, filters=changed(t.filters, 0, -1)), "does not have"),
    "a filter of another column": (
        lambda p, t: with_tile(p, filters=changed(t.filters, 0, int(t.filters[1]))),
        "two slots",
    ),
    "lists too short": (lambda p, t: with_tile(p, inputs=t.inputs[:-1]), ""),
    "a lane more than lists": (lambda p, t: with_tile(p, lane_starts=t.lane_starts[:-1]), ""),
    "lists of negative length": (lambda p, t: with_tile(p, lane_starts=t.lane_starts[::-1].copy()), ""),
    "a column more than filters": (lambda p, t: with_tile(p, filters=t.filters[:-1]), ""),
}


def test_a_weight_has_no_more_slots_than_subwords() -> None:
    """A subword that became zero since leaves a slot empty, which is no fault; more slots than subwords are."""
    matrix = LayerMatrix(np.array([[17, 3]], np.int8), scale=np.array([1.0]), subword_bits=4)
    packing = packed_layer(matrix, "tight", ArrayShape(4, 4), 2)
    assert packing_error(packing, matrix) == ""
    assert packing_error(packing, replace(matrix, values=np.array([[1, 0]], np.int8))) == ""
    assert (
        packing_error(packing, replace(matrix, values=np.array([[17, 17]], np.int8)))
        == "1 non-zero subwords have no slot"
    )
    twice = replace(packing, tiles=(*packing.tiles, *packing.tiles))
    assert packing_error(twice, matrix) == "a weight sits in too many slots"


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_damage_is_found(kind: str) -> None:
    damage, words = DAMAGE[kind]
    packing = packed_layer(FULL, "dense")
    broken = damage(packing, packing.tiles[0])
    assert packing_error(packing, FULL) == ""
    found = packing_error(broken, FULL)
    assert found and words in found


@settings(max_examples=60)
@given(st.integers(0, 2**20))
def test_random_damage_to_the_tiles_is_found_whenever_the_oracle_finds_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = random_matrix(6, 10)
    packing = packed_layer(matrix, "tight", ArrayShape(4, 4), 3)
    name = rng.choice(["filters", "inputs", "select"])
    number = int(rng.integers(len(packing.tiles)))
    array = getattr(packing.tiles[number], name).copy()
    array.flat[rng.integers(array.size)] = rng.integers(-1, 12)
    tiles = list(packing.tiles)
    tiles[number] = replace(tiles[number], **{name: array})
    broken = replace(packing, tiles=tuple(tiles))
    faults = [
        text
        for text in oracle.packing_faults(oracle.plain(broken), matrix.values, 1, (4, 4), 3)
        if "twice" not in text
    ]
    assert bool(packing_error(broken, matrix)) == bool(faults)


def test_group_boundaries_are_kept() -> None:
    matrix = random_matrix(4, 3, density=1.0, groups=2)
    packing = packed_layer(matrix, "dense")
    broken = with_tile(packing, filters=changed(packing.tiles[0].filters, 0, 2))
    assert packing_error(broken, matrix) == "a slot holds a weight that the layer does not have"


def test_an_input_carried_twice_by_one_lane_is_no_lost_weight() -> None:
    tile = Tile(
        np.array([0, 1], np.int32),
        np.array([0, 2], np.int32),
        np.array([0, 0], np.int32),
        np.array([[0, 1]], np.int16),
    )
    packing = Packing("tight", ArrayShape(2, 2), 2, 2, 1, 1, (tile,))
    assert packing_error(packing, LayerMatrix(np.ones((2, 1), np.float32))) == ""


@pytest.mark.parametrize(
    "text", ["0x32", "32x0", "32", "axb", "x", "32x", "-1x4", "4097x1", "3.5x4", "4x4x4", ""]
)
def test_wrong_arrays_are_refused(text: str) -> None:
    from tightc.errors import OptionError

    with pytest.raises(OptionError, match=f"got '{text}'; give two integers from 1 to 4096"):
        ArrayShape.parse(text)


@pytest.mark.parametrize(("text", "shape"), [("32x16", (32, 16)), (" 1X4096 ", (1, 4096))])
def test_rows_come_first(text: str, shape: tuple[int, int]) -> None:
    assert ArrayShape.parse(text) == shape


def test_a_select_beyond_its_lane_is_refused() -> None:
    stream = to_stream(packed_layer(LayerMatrix(np.ones((4, 6), np.float32)), "tight", ArrayShape(4, 4), 3))
    start, count, width = stream.sections[1]
    content = stream.content.copy()
    content[start : start + -(-count * width // 8)] = 255
    with pytest.raises(ValueError, match="tile 0 selects an input that its lane does not carry"):
        from_stream(replace(stream, content=content))


@pytest.mark.parametrize(("lanes", "columns"), [(1, 9), (9, 1), (5, 3), (3, 5)])
def test_slots_are_cut_row_after_row(lanes: int, columns: int) -> None:
    slots = np.arange(lanes * columns, dtype=np.int32).reshape(lanes, columns)
    filters = np.arange(10, 10 + columns, dtype=np.int32)
    found = [
        (tile.filters.tolist(), tile.inputs[tile.lane_starts[:-1, None] + tile.select].tolist())
        for tile in cut_into_tiles(filters, slots, ArrayShape(2, 4))
    ]
    assert found == [
        (filters[column : column + 4].tolist(), slots[lane : lane + 2, column : column + 4].tolist())
        for lane in range(0, lanes, 2)
        for column in range(0, columns, 4)
    ]
