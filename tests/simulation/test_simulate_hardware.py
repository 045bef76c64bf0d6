"""Simulate on hardware with buffers and DRAM: metrics that add up, and errors where something does not fit."""

from __future__ import annotations

import pytest

import oracle
from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import HARDWARE, SMALL, hardware, product
from tightc.accelerator.energy_table import default_table
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.packings.metadata import read_packings
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape


def refused(model: Model, **options: object) -> str:
    with pytest.raises(OptionError) as caught:
        simulate(model, SimulateOptions(**options))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_hardware_of_less_fan_in_than_the_tiles_need_is_refused() -> None:
    permuted, _ = permute(loaded(models.cnn()), SMALL)
    assert max(tile.fan_in for packing in read_packings(permuted).values() for tile in packing.tiles) == 3
    simulate(permuted, SimulateOptions(hardware=hardware()))
    assert refused(permuted, hardware=hardware(fan_in=2)) == (
        "--hardware small: expected a fan-in of at least 3, which the model's tiles need, got 2; run "
        "tightc permute with this --hardware first"
    )
    narrow = hardware(fan_in=2, array="8x4")
    assert refused(permuted, array=ArrayShape(8, 4), hardware=narrow).endswith(
        "; run tightc permute with this --hardware and --array 8x4 first"
    )
    assert refused(permuted, hardware=hardware(fan_in=2, array="4x4")) == (
        "--hardware small: expected 8x4, the array that the model was permuted for, got 4x4; run tightc permute with "
        "this --hardware first"
    )
    simulate(permute(permuted, PermuteOptions.of({"hardware": narrow}))[0], SimulateOptions(hardware=narrow))
    dense, _ = permute(loaded(models.cnn()), SMALL.model_copy(update={"method": "dense"}))
    simulate(dense, SimulateOptions(hardware=hardware(fan_in=1)))


def test_hardware_of_another_array_is_refused() -> None:
    permuted, _ = permute(loaded(models.cnn()), SMALL)
    assert refused(permuted, hardware=hardware(array="4x4")) == (
        "--hardware small: expected 8x4, the array that the model was permuted for, got 4x4; "
        "use --array 8x4, or run tightc permute with this --hardware first"
    )
    assert refused(permuted, array=ArrayShape(8, 8), hardware=hardware()) == (
        "--array: expected 8x4, the array that the model was permuted for, got 8x8; use --array 8x4, or "
        "run tightc permute with this --hardware and --array 8x8 first"
    )
    # the flag overrules the file, so that both together can fit
    totals = simulate(
        permuted, SimulateOptions(array=ArrayShape(8, 4), hardware=hardware(array="4x4"))
    ).totals
    assert (totals["array"], totals["hardware"], totals["arrays"]) == ("8x4", "small", 2)


def test_an_array_that_the_hardwares_buffers_do_not_feed_is_refused() -> None:
    assert refused(loaded(models.cnn()), array=ArrayShape(32, 4), hardware=hardware()) == (
        "--array 32x4 on small: weight_buffer.size: expected room for one tile (32x4 int8 weights), got "
        "half of 128 B; give at least 256 B"
    )


def test_a_buffer_too_small_for_the_sums_of_one_vector_is_refused() -> None:
    matrix = models.sparse(12, 30, density=0.5)
    permuted, _ = permute(product(matrix, 3), SMALL.model_copy(update={"method": "first-fit"}))
    filters = [tile["filters"] for tile in oracle.plain(read_packings(permuted)["w"])]
    live_bytes = 4 * oracle.live_sums(filters, [range(1)], 1)
    assert live_bytes > 4 * 4  # so many that a file with this buffer is accepted
    # the dense layer of 12 x 30 has 4 live sums on one array, and any number of arrays leaves one schedule that fits
    for count in (1, 2, 5):
        sums = {"size": f"{live_bytes} B", "bandwidth": "1 words/cycle", "double_buffered": False}
        simulate(permuted, SimulateOptions(hardware=hardware(partial_sum_buffer=sums, arrays=count)))
        sums["size"] = f"{live_bytes - 1} B"
        assert refused(permuted, hardware=hardware(partial_sum_buffer=sums, arrays=count)) == (
            f"--hardware: expected a partial-sum buffer for the {live_bytes} bytes of live partial sums that one "
            f"vector has in mm, got {live_bytes - 1}; give a larger partial_sum_buffer"
        )
    simulate(product(matrix, 3), SimulateOptions(hardware=hardware(partial_sum_buffer=sums)))


def test_flags_say_more_than_the_hardware_file() -> None:
    model = loaded(models.cnn())
    flags = {"arrays": 1, "prefetch_weights": True}
    one = simulate(model, SimulateOptions(hardware=hardware(), **flags))
    other = simulate(model, SimulateOptions(hardware=hardware(**flags)))
    assert (one.totals, one.layers) == (other.totals, other.layers)
    assert one.totals["cycles"] != simulate(model, SimulateOptions(hardware=hardware())).totals["cycles"]


def test_flags_for_how_arrays_work_say_more_than_the_hardware_file() -> None:
    model = loaded(models.cnn())
    flags = {
        "prefetch_weights": True,
        "columns_per_lane_register": 3,
        "overlap_drain": True,
        "accumulator_bypass": True,
    }
    before = simulate(model, SimulateOptions(hardware=hardware())).totals
    one = simulate(model, SimulateOptions(hardware=hardware(), **flags)).totals
    other = simulate(model, SimulateOptions(hardware=hardware(**flags))).totals
    assert one == other
    off = {"columns_per_lane_register": 1, "overlap_drain": False, "accumulator_bypass": False}
    again = simulate(model, SimulateOptions(hardware=hardware(**flags), prefetch_weights=False, **off)).totals
    assert again == before
    for totals, given in ((one, flags), (before, {**off, "prefetch_weights": False})):
        assert {name: totals[name] for name in flags} == given
        assert {name: totals["hardware_file"][name] for name in flags} == given
    assert one["cycles"] < before["cycles"] and one["dense_cycles"] < before["dense_cycles"]
    assert one["energy_parts_pj"]["partial_sum_buffer"] < before["energy_parts_pj"]["partial_sum_buffer"]
    assert one["energy_parts_pj"]["registers"] < before["energy_parts_pj"]["registers"]


NOT_LOADED = (
    "--overlap-drain: expected --prefetch-weights beside it, got none; "
    "add --prefetch-weights, or give --no-overlap-drain"
)


def test_a_tile_that_starts_early_is_loaded_early() -> None:
    model = loaded(models.cnn())
    early = hardware(prefetch_weights=True, overlap_drain=True)
    assert refused(model, overlap_drain=True) == NOT_LOADED
    assert refused(model, overlap_drain=True, hardware=hardware()) == NOT_LOADED
    assert refused(model, prefetch_weights=False, hardware=early) == NOT_LOADED
    for given in ({"hardware": early}, {"overlap_drain": True, "prefetch_weights": True}):
        simulate(model, SimulateOptions(**given))
        assert refused(model, dataflow="os", **given) == (
            "--overlap-drain: expected --dataflow ws or is beside it, which load tiles, got os; "
            "use --dataflow ws or is, or give --no-overlap-drain"
        )
    simulate(model, SimulateOptions(hardware=early, dataflow="os", overlap_drain=False))
    simulate(model, SimulateOptions(hardware=early, prefetch_weights=False, overlap_drain=False))


@pytest.mark.parametrize("form", models.FORMS)
@pytest.mark.parametrize("operands", ["int8", "fp32"])
def test_the_figures_of_a_layer_on_hardware_add_up(form: str, operands: str) -> None:
    buffers = {name: {**HARDWARE[name], "size": "1 KiB"} for name in ("activation_buffer", "weight_buffer")}
    permuted, _ = permute(loaded(models.FORMS[form]()), SMALL)
    report = simulate(permuted, SimulateOptions(hardware=hardware(operands=operands, **buffers)))
    for row in (*report.layers, report.totals):
        stalls = sum(row[f"{kind}_stall_cycles"] for kind in ("activation", "weight", "sum", "dram"))
        assert row["stall_cycles"] == stalls
        assert row["cycles"] == row["compute_cycles"] + stalls
        assert row["time_ms"] == pytest.approx(row["cycles"] / 1e5)
        assert row["dense_time_ms"] == pytest.approx(row["dense_cycles"] / 1e5)
        moved = sum(row[f"dram_{kind}_bytes"] for kind in ("activation", "weight", "output"))
        assert row["dram_bytes"] == moved
        assert row["energy_parts_pj"]["dram"] == pytest.approx(162.5 * moved)
        assert row["energy_pj"] == pytest.approx(sum(row["energy_parts_pj"].values()))
        assert row["cycles"] * 2 >= moved  # 2 bytes a cycle
        roof = min(8 * 4 * 2, row["macs_per_dram_byte"] * 2) if moved else 8 * 4 * 2
        assert row["roof_macs_per_cycle"] == pytest.approx(roof)
        assert row["roof"] == ("array" if roof == 8 * 4 * 2 else "dram")
        if row["cycles"]:
            assert row["macs_per_cycle"] <= row["roof_macs_per_cycle"] * (1 + 1e-9)
        else:
            assert (moved, row["macs_per_cycle"], row["passes"]) == (0, None, 0)
    for name in ("cycles", "dram_bytes", "dense_dram_bytes", "stall_cycles", "dense_stall_cycles"):
        assert report.totals[name] == sum(row[name] for row in report.layers)


def test_maps_stay_in_buffers_between_layers_but_not_at_the_ends() -> None:
    model = loaded(models.cnn())
    large = {name: {**HARDWARE[name], "size": "1 MiB"} for name in ("activation_buffer", "weight_buffer")}
    first, *middle, last = simulate(model, SimulateOptions(hardware=hardware(**large))).layers
    assert first["dram_activation_bytes"] > 0 and last["dram_output_bytes"] > 0
    assert first["dram_output_bytes"] == last["dram_activation_bytes"] == 0
    assert all(row["dram_activation_bytes"] == row["dram_output_bytes"] == 0 for row in middle)
    away = hardware(dram={**HARDWARE["dram"], "keep_feature_maps": False}, **large)
    for row in simulate(model, SimulateOptions(hardware=away)).layers:
        assert min(row["dram_activation_bytes"], row["dram_output_bytes"]) > 0


def test_the_first_and_the_last_layer_meet_the_outside_also_behind_other_operators() -> None:
    text = """net (float[4, 6] x) => (float[4, 3] y) {
        before = Relu(x)  one = MatMul(before, v)  two = MatMul(one, w)  y = Softmax(two)
    }"""
    model = loaded(models.build(text, v=models.sparse(6, 5), w=models.sparse(5, 3)))
    first, last = simulate(model, SimulateOptions(hardware=hardware())).layers
    assert (first["dram_activation_bytes"], first["dram_output_bytes"]) == (4 * 6, 0)
    assert (last["dram_activation_bytes"], last["dram_output_bytes"]) == (0, 4 * 3)


def test_the_table_scales_with_the_buffers_of_the_hardware() -> None:
    model = loaded(models.cnn())
    every = {"dram": {**HARDWARE["dram"], "keep_feature_maps": False}}
    four = {"activation_buffer": {**HARDWARE["activation_buffer"], "size": "256 B"}, **every}
    small, larger = (
        simulate(model, SimulateOptions(hardware=own)).layers for own in (hardware(**every), hardware(**four))
    )
    table = default_table()
    for one, other in zip(small, larger, strict=True):
        assert one["energy_parts_pj"]["mac"] == other["energy_parts_pj"]["mac"]
    assert table.sram_pj_per_byte(256) == pytest.approx(2 * table.sram_pj_per_byte(64))
    one, other = small[-1], larger[-1]  # a Gemm, whose map of few bytes is fetched once on either
    for name in ("passes", "dram_bytes"):
        assert one[name] == other[name]
    parts = [row["energy_parts_pj"]["activation_buffer"] for row in (one, other)]
    assert parts[1] == pytest.approx(2 * parts[0])


def test_weights_come_as_a_stream_where_told() -> None:
    permuted, _ = permute(loaded(models.cnn()), SMALL)
    packed = simulate(permuted, SimulateOptions(hardware=hardware()))
    streamed = simulate(permuted, SimulateOptions(hardware=hardware(), weights="stream"))
    assert (packed.totals["weights_from_dram"], streamed.totals["weights_from_dram"]) == ("packed", "stream")
    assert packed.totals["stream_bits"] == streamed.totals["stream_bits"]
    for before, after in zip(packed.layers, streamed.layers, strict=True):
        assert after["dram_weight_bytes"] % (after["stream_bits"] // 8) == 0
        assert after["dram_activation_bytes"] == before["dram_activation_bytes"]
        assert after["passes"] >= before["passes"] / before["temporal_tiles"]
    slow = simulate(
        permuted, SimulateOptions(hardware=hardware(), weights="stream", decoder="0.01 words/cycle")
    )
    assert slow.totals["decoder"] == 0.01
    assert slow.totals["dram_stall_cycles"] > streamed.totals["dram_stall_cycles"]
    assert slow.totals["dram_bytes"] >= streamed.totals["dram_bytes"]


def test_a_model_without_tiles_says_that_it_has_no_stream() -> None:
    plain, dense = (
        loaded(models.cnn()),
        permute(loaded(models.cnn()), SMALL.model_copy(update={"method": "dense"}))[0],
    )
    expected = (
        "no layer has tiles for a weight stream, so all weights come as they are: run tightc permute first"
    )
    for model in (plain, dense):
        streamed = simulate(model, SimulateOptions(hardware=hardware(), weights="stream"))
        packed = simulate(model, SimulateOptions(hardware=hardware()))
        assert expected in streamed.notes
        assert expected not in packed.notes
        assert streamed.totals["dram_bytes"] == packed.totals["dram_bytes"]
    tiled = simulate(permute(plain, SMALL)[0], SimulateOptions(hardware=hardware(), weights="stream"))
    assert expected not in tiled.notes


def test_a_stream_without_dram_and_a_decoder_without_stream_are_refused() -> None:
    permuted, _ = permute(loaded(models.cnn()), SMALL)
    assert refused(permuted, weights="stream") == (
        "--weights stream: expected hardware with DRAM, got ideal; add --hardware such as tight-32x32, or "
        "leave --weights out"
    )
    assert refused(permuted, hardware=hardware(), decoder="1 words/cycle") == (
        "--decoder: expected --weights stream too, got packed; add --weights stream"
    )
