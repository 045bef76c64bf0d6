"""`simulate --why`: each cause on a network that has it, with numbers that are counted here once more."""

from __future__ import annotations

import re
from math import ceil
from typing import Any

import numpy as np
import pytest

from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import HARDWARE, QUICK, SMALL, hardware, product
from tightc.accelerator.hardware import Hardware
from tightc.model.file import Model
from tightc.model.packings.metadata import read_packings
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.simulation.why import why
from tightc.tile.array import ArrayShape

ROWS, COLUMNS = 8, 4  # of SMALL
FREE = {"size": "1 MiB", "bandwidth": "1000 words/cycle", "double_buffered": True}
FAST: dict[str, Any] = {
    "arrays": 1,
    "activation_buffer": FREE,
    "weight_buffer": FREE,
    "partial_sum_buffer": FREE,
    "dram": {"bandwidth": "100 GB/s", "keep_feature_maps": True},
}


def row_of(model: Model, **options: Any) -> dict[str, Any]:
    """The first layer, simulated with --why on the array of SMALL or on hardware."""
    if "hardware" not in options:
        options = {"array": SMALL.array, **options}
    return dict(simulate(model, SimulateOptions(why=True, **options)).layers[0])


def pack(model: Model, **options: Any) -> Model:
    return permute(model, SMALL.model_copy(update=options))[0]


def fast(**changes: Any) -> Hardware:
    return hardware(**{**FAST, **changes})


def filled(filters: int, inputs: int, *blocks: tuple[slice, slice]) -> np.ndarray:
    """A matrix of zeros but for `blocks`."""
    matrix = np.zeros((filters, inputs), np.float32)
    for block in blocks:
        matrix[block] = 1
    return matrix


def cycles(tiles: int, vectors: int) -> int:
    return tiles * (ROWS + vectors + ROWS + COLUMNS - 2)


def tiles_by_slots(matrix: np.ndarray) -> int:
    return ceil(sum(1 for value in matrix.flat if value) / (ROWS * COLUMNS))


def tiles_by_filters(matrix: np.ndarray) -> int:
    return ceil(sum(ceil(sum(1 for v in row if v) / ROWS) for row in matrix) / COLUMNS)


# two squares of 4 filters x 8 inputs, each of which fills a tile: 2 of 4 dense tiles
SQUARES = filled(8, 16, np.s_[:4, :8], np.s_[4:, 8:])
# the same with 9 inputs, which take two columns a filter; 8 dense tiles
LONG = filled(8, 32, np.s_[:4, :9], np.s_[4:, 9:18])
VECTORS = 100


def test_a_layer_that_one_tile_holds_in_dense_form_gains_nothing() -> None:
    model = product(filled(4, 8, np.s_[:2, :3]), VECTORS)
    assert row_of(pack(model))["why"].startswith(
        "1.00x: one tile holds it in dense form too, and no layer takes fewer"
    )
    assert row_of(model)["why"] == (
        "1.00x: not packed, but one tile holds it in dense form, and no layer takes fewer."
    )


def test_a_single_tile_is_the_least() -> None:
    row = row_of(pack(product(filled(8, 16, np.s_[::3, ::5]), VECTORS)))
    assert row["why"].startswith("4.00x: 1 tile in place of 4, and no layer takes fewer")


def test_the_number_of_slots_bounds_a_full_packing() -> None:
    assert tiles_by_slots(SQUARES) == tiles_by_filters(SQUARES) == 2
    row = row_of(pack(product(SQUARES, VECTORS)))
    assert (row["passes_by_slots"], row["passes_by_filters"]) == (2, 2)
    assert row["why"] == (
        "2.00x: 2 tiles in place of 4; its 64 non-zeros (density 0.5) need at least 2 of 8x4 slots."
    )


def test_filters_longer_than_the_rows_waste_columns() -> None:
    assert (tiles_by_slots(LONG), tiles_by_filters(LONG)) == (3, 4)
    row = row_of(pack(product(LONG, VECTORS)))
    assert row["why"].startswith(
        "2.00x: 4 tiles in place of 8; filters take whole columns of 8 slots, which needs 4, while the number of slots "
        "alone allows 3"
    )


def test_a_scarce_fan_in_takes_more_tiles_than_the_filters() -> None:
    # every input has one reader, so that a lane of fan-in 1 holds one weight: 32 weights on 8 lanes
    matrix = np.eye(32, dtype=np.float32)
    assert (tiles_by_slots(matrix), tiles_by_filters(matrix)) == (1, 8)
    matrix = filled(4, 32)
    for f in range(4):
        matrix[f, f::4] = 1
    assert (tiles_by_slots(matrix), tiles_by_filters(matrix)) == (1, 1)
    model = product(np.concatenate([matrix, matrix[:0]]), VECTORS)
    row = row_of(pack(model, fan_in=2))
    assert row["why"].startswith(
        "2.00x: 2 tiles in place of 4; the fan-in of 2 needs 2, while the filters alone allow 1"
    )


def test_the_groups_of_a_depthwise_convolution_leave_lanes_with_few_readers() -> None:
    proto = models.build(
        "net (float[1, 8, 9, 9] x) => (float[1, 8, 7, 7] y) { [dw] y = Conv<group = 8>(x, w) }",
        w=np.ones((8, 1, 3, 3), np.float32),
    )
    # 72 weights with an input each: 8 lanes of fan-in 2 hold 16 of them; the last rows of 4 groups share a dense pass
    least, by_filters, dense = ceil(72 / 16), ceil(8 * ceil(9 / ROWS) / COLUMNS), 8 + 8 // 4
    row = row_of(pack(loaded(proto), fan_in=2))
    assert row["why"].startswith(
        f"{dense / least:.2f}x: {least} tiles in place of {dense}; an input of its 8 groups has 1 filter, so a lane of "
        f"fan-in 2 fills at most 2 of 4 columns, which needs {least}, while the filters alone allow {by_filters}"
    )


def test_a_search_above_the_bound_says_by_how_much() -> None:
    rng = np.random.default_rng(5)
    matrix = (rng.random((16, 64)) < 0.3).astype(np.float32)
    model = pack(product(matrix, VECTORS), method="first-fit", fan_in=3)
    tiles = len(read_packings(model)["w"].tiles)
    row = row_of(model)
    least = row["passes_lower_bound"]
    assert tiles > least
    assert f"; the search stayed {tiles - least} above the bound of {least} at fan-in 3" in row["why"]


def test_another_method_misses_what_a_lossless_packing_may_take() -> None:
    matrix = filled(8, 32, np.s_[0, :], np.s_[1:, 0:1])  # no empty filter, no empty input
    least = ceil(
        (31 + ceil(8 / COLUMNS)) / ROWS
    )  # 31 inputs take a lane each, and the one with 8 readers two
    model = pack(product(matrix, VECTORS), method="structured")
    assert row_of(model)["why"].startswith(
        f"1.00x: 8 tiles, as many as in dense form; at fan-in 1 the bound is {least}, which method structured did not "
        "reach"
    )


def test_a_layer_that_is_not_packed_multiplies_its_zeros() -> None:
    assert row_of(product(SQUARES, VECTORS))["why"] == (
        "1.00x: not packed, so all 4 dense tiles run, zeros included (density 0.5); a packing needs at least 2."
    )
    full = filled(8, 16, np.s_[:, :])
    assert row_of(product(full, VECTORS))["why"] == (
        "1.00x: not packed, but a lossless packing needs at least 4 tiles too."
    )
    assert row_of(product(full, VECTORS), dataflow="os")["why"] == "1.00x: not packed, dense in dataflow os."


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_layers_that_share_a_weight_without_tiles_are_not_packed(dataflow: str) -> None:
    twice = "net (float[5, 8] x) => (float[5, 8] y) { h = MatMul(x, w) \n y = MatMul(h, w) }"
    model = loaded(models.build(twice, w=filled(8, 8, np.s_[:4, :4], np.s_[4:, 4:])))
    options = SimulateOptions(why=True, array=SMALL.array, dataflow=dataflow)
    first, second = (row["why"] for row in simulate(model, options).layers)
    assert first.startswith("1.00x: not packed, ") and second == first
    if dataflow == "ws":
        first, second = (row["why"] for row in simulate(pack(model), options).layers)
        assert second == first and "not packed" not in first


def test_a_layer_that_stays_dense_says_so() -> None:
    row = row_of(pack(product(filled(8, 16, np.s_[:, :]), VECTORS)))
    assert row["why"].startswith(
        "1.00x: 4 tiles, as many as in dense form; its 128 non-zeros (density 1) need at least 4 of 8x4 slots"
    )


def test_a_layer_without_weights_takes_nothing() -> None:
    assert row_of(pack(product(filled(8, 16), VECTORS)))["why"] == (
        "It has no weights left, so it takes no cycles."
    )


@pytest.mark.parametrize(
    ("name", "buffer", "changes"),
    [
        ("dram", "DRAM", {"dram": {"bandwidth": "10 MB/s", "keep_feature_maps": False}}),
        (
            "activation",
            "the activation buffer",
            {"activation_buffer": {**FREE, "bandwidth": "4 words/cycle"}},
        ),
        ("weight", "the weight buffer", {"weight_buffer": {**FREE, "bandwidth": "0.1 words/cycle"}}),
        ("sum", "the partial-sum buffer", {"partial_sum_buffer": {**FREE, "bandwidth": "1 words/cycle"}}),
        (
            "bank",
            "the banks of the activation buffer",
            {"activation_buffer": {**FREE, "banks": 2, "lane_reach": 2}},
        ),
    ],
)
def test_stalls_are_named_with_the_gain_that_they_take(
    name: str, buffer: str, changes: dict[str, Any]
) -> None:
    # one filter of 24 weights: dense it writes a sum in each of 8 passes, packed in 3 columns of one
    matrix = filled(1, 64, np.s_[:, ::3])
    row = row_of(pack(product(matrix, VECTORS)), hardware=fast(**changes))
    stalls = row["cycles"] - cycles(row["passes"], VECTORS)
    most = row[f"{name}_stall_cycles"]
    assert most > stalls / 2
    assert (
        f"; stalls take {stalls:,} of {row['cycles']:,} cycles, most of them of {buffer} ({most:,}); without any, it "
        f"would gain {cycles(8, VECTORS) / cycles(1, VECTORS):.2f}x"
    ) in row["why"]


def test_a_dense_form_that_stalls_more_raises_the_gain() -> None:
    # 4 filters that read 2 inputs: a dense pass reads 8 words a step, the packed one 2
    matrix = filled(4, 64, np.s_[:, ::32])
    slow = fast(activation_buffer={**FREE, "bandwidth": "2 words/cycle"})
    row = row_of(pack(product(matrix, VECTORS)), hardware=slow)
    dense = 8 * (ROWS + 4 * VECTORS + ROWS + COLUMNS - 2)
    assert row["dense_cycles"] == dense
    assert row["why"].startswith(f"{dense / cycles(1, VECTORS):.2f}x: 1 tile in place of 8")
    assert (
        f"; the dense form stalls {dense - cycles(8, VECTORS):,} of its {dense:,} cycles; without any stalls, it would "
        "gain 8.00x"
    ) in row["why"]


def test_temporal_tiles_load_all_tiles_again() -> None:
    # dense, the sums of 4 filters stay live for a second tile, which 512 B hold for 32 vectors; packed, none do
    little = fast(
        partial_sum_buffer={"size": "512 B", "bandwidth": "1000 words/cycle", "double_buffered": False}
    )
    row = row_of(pack(product(SQUARES, VECTORS)), hardware=little)
    dense = ceil(VECTORS / 32)
    free = (4 * dense * (2 * ROWS + COLUMNS - 2) + 4 * VECTORS) / cycles(2, VECTORS)
    assert (
        f"; each temporal tile of the vectors loads all tiles, and there are 1 of them in place of {dense}, so that "
        f"tiles by 2.00x make {free:.2f}x of cycles without stalls"
    ) in row["why"]


def test_arrays_in_parallel_leave_some_of_the_gain() -> None:
    row = row_of(pack(product(SQUARES, VECTORS)), arrays=4)
    # 4 dense tiles on 4 arrays; 2 packed ones, each for two halves of the vectors
    free = cycles(1, VECTORS) / cycles(1, VECTORS // 2)
    assert row["speedup"] == pytest.approx(free)
    assert (
        f"; 4 arrays take the passes in turn, 1 in place of 1 each, so that tiles by 2.00x make {free:.2f}x of cycles "
        "without stalls"
    ) in row["why"]


def test_prefetching_does_not_hide_the_first_load() -> None:
    row = row_of(pack(product(SQUARES, 1)), prefetch_weights=True)
    body = 1 + ROWS + COLUMNS - 2
    free = (ROWS + 4 * body) / (ROWS + 2 * body)
    assert (
        f"; the first tile loads before anything streams, so that tiles by 2.00x make {free:.2f}x"
        in row["why"]
    )


def test_an_array_of_subwords_drains_longer_than_that_of_whole_words() -> None:
    # each weight of 17 = 16 + 1 takes two slots of 4 bits, on 8 columns where whole words have 4
    proto = models.build(
        """net (float[4, 16] x) => (float[4, 8] y) {
            w = DequantizeLinear(q, scale)
            [mm] y = MatMul(x, w)
        }""",
        q=(17 * SQUARES.T).astype(np.int8),
        scale=np.asarray(0.1, np.float32),
    )
    array = ArrayShape(ROWS, 2 * COLUMNS)
    model = pack(loaded(proto), array=array, subword_bits=4)
    packed, dense = (2 * ROWS + columns - 2 + 4 for columns in (2 * COLUMNS, COLUMNS))
    gain = f"{4 * dense / (2 * packed):.2f}x"
    assert row_of(model, array=array)["why"].startswith(
        f"{gain}: 2 tiles in place of 4; its 128 subwords (density 0.5) need at least 2 of 8x8 "
        "slots; an array of whole words, not subwords, has fewer columns, and its passes are shorter, so that tiles by "
        f"2.00x make {gain} of cycles without stalls"
    )


def test_the_last_drain_is_not_hidden_where_draining_overlaps() -> None:
    row = row_of(pack(product(SQUARES, 20)), prefetch_weights=True, overlap_drain=True)
    free = (ROWS + 3 * 20 + 20 + ROWS + COLUMNS - 2) / (ROWS + 20 + 20 + ROWS + COLUMNS - 2)
    assert (
        "; the first tile loads before anything streams, and the last one drains after that, so that tiles by "
        f"2.00x make {free:.2f}x of cycles without stalls"
    ) in row["why"]


def test_replicated_tiles_gain_more_than_their_number() -> None:
    row = row_of(pack(product(filled(8, 16, np.s_[:2, :4]), VECTORS)), replicate_tiles=True)
    assert row["speedup"] > 1.05 * 4
    assert (
        f"; tiles are replicated where the array has room, so that tiles by 4.00x make {row['speedup']:.2f}x of cycles"
    ) in row["why"]


@pytest.mark.parametrize(("vectors", "words"), [(1, "1 vector"), (5, "5 vectors")])
def test_few_vectors_leave_loading_and_draining(vectors: int, words: str) -> None:
    row = row_of(pack(product(SQUARES, vectors)))
    other = 1 - vectors / cycles(1, vectors)
    assert (
        f"; a tile streams {words}, so that loading and draining take {other:.0%} of the cycles without stalls"
    ) in row["why"]
    assert "loading and draining" not in row_of(pack(product(SQUARES, VECTORS)))["why"]


def test_partial_sums_may_take_the_energy() -> None:
    # two filters of 16 weights on the same 16 inputs: 8 dense passes of 2 columns, one packed pass of 4
    matrix, vectors = filled(2, 64, np.s_[:, ::4]), 10_000
    row = row_of(pack(product(matrix, vectors)))
    written = {"packed": 4 * vectors, "dense": 8 * 2 * vectors}
    picojoule = {name: 2 * 4 * 1.25 * count for name, count in written.items()}  # written and read, 4 bytes
    total, dense_total = row["energy_pj"], row["dense_energy_pj"]
    wanted = dense_total / (total - picojoule["packed"] + picojoule["dense"] / 8)
    assert row["why"] == (
        f"8.00x: 1 tile in place of 8, and no layer takes fewer; energy gains {dense_total / total:.2f}x, as partial "
        f"sums take {picojoule['packed'] / total:.0%} of it, 4.00x less than in dense form ({wanted:.2f}x if that fell "
        "by the speedup)."
    )


@pytest.mark.parametrize(
    ("part", "dense", "compared"),
    [
        ("index", 0.0, "as the index takes 60% of it, none in dense form"),
        ("dram", 50.0, "as DRAM takes 60% of it, 1.20x that of the dense form"),
        ("lanes", 70.0, "as lanes take 60% of it, 1.17x less than in dense form"),
    ],
)
def test_the_part_of_the_energy_is_set_compared_that_of_the_dense_form(
    part: str, dense: float, compared: str
) -> None:
    model = pack(product(SQUARES, VECTORS))
    report = simulate(model, SimulateOptions(array=SMALL.array))
    # all but the part falls by the speedup of 2, so that if it did too, the energy would as well
    row = {
        **report.layers[0],
        "energy_pj": 100.0,
        "dense_energy_pj": 80 + dense,
        "energy_gain": (80 + dense) / 100,
        "energy_parts_pj": {"mac": 40.0, part: 60.0},
        "dense_energy_parts_pj": {"mac": 80.0, part: dense},
    }
    assert why(row, report.totals).endswith(
        f"; energy gains {(80 + dense) / 100:.2f}x, {compared} (2.00x if that fell by the speedup)."
    )


@pytest.mark.parametrize("form", sorted(models.FORMS))
def test_every_form_of_layer_has_a_sentence(form: str) -> None:
    model = loaded(models.FORMS[form]())
    for given in (
        model,
        permute(model, PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=QUICK))[0],
    ):
        for hardware_file in (None, hardware()):
            options = {"hardware": hardware_file} if hardware_file else {"array": ArrayShape(8, 4)}
            plain = simulate(given, SimulateOptions(**options))
            report = simulate(given, SimulateOptions(why=True, **options))
            for row, bare in zip(report.layers, plain.layers, strict=True):
                assert {name: row[name] for name in bare} == bare
                assert row.keys() - bare.keys() == {"why"}
                assert re.fullmatch(r"[^.\n]([^\n]*[^.\n])?\.", row["why"])
                assert "None" not in row["why"]


def test_the_hardware_of_these_tests_is_a_small_one() -> None:
    assert HARDWARE["array"] == f"{ROWS}x{COLUMNS}" == str(SMALL.array)


def test_a_part_of_the_same_energy_is_called_that() -> None:
    """Parts that differ by less than their two digits: not "1.00x less"."""
    model = loaded(models.cnn())
    packed = pack(model)
    report = simulate(packed, SimulateOptions(hardware=hardware()))
    row = dict(report.layers[0])
    row |= {
        "method": "tight",
        "speedup": 4.0,
        "energy_gain": 1.1,
        "energy_pj": 100.0,
        "dense_energy_pj": 110.0,
        "energy_parts_pj": {"mac": 20.0, "activation_buffer": 80.0},
        "dense_energy_parts_pj": {"mac": 29.9, "activation_buffer": 80.1},
    }
    text = why(row, report.totals)
    assert "the activation buffer takes 80% of it, as much as in dense form (2.75x if" in text
