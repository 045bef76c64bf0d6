"""Simulate as a whole: its metrics against the stepped array and by hand, and its errors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers import models
from helpers.loading import loaded
from helpers.packings import arrays, matrices
from helpers.small_accelerator import HARDWARE, QUICK, SMALL, TIGHT, hardware, product
from tightc.errors import ModelError, OptionError
from tightc.model.file import load_model
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.packing.pack import pack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.simulation.workload import read_workload
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

# horowitz-45nm, once more by hand: pJ per event
PJ = {
    "macs": 0.1,
    "multiplied_words": 0.2,
    "idle_pe_cycles": 0,
    "multiplexer_bytes": 0.005,
    "register_bytes": 0.03,
    "lane_bytes": 0.1,
    "activation_buffer_bytes": 1.25,
    "weight_buffer_bytes": 1.25,
    "partial_sum_buffer_bytes": 1.25,
    "index_bits": 1.25 / 8,
    "dram_bytes": 162.5,
}


def energy(events: dict[str, int]) -> float:
    return sum(count * PJ[name] for name, count in events.items())


# --- ground truth


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
def test_the_nine_figures_of_scale_sim_on_the_shared_resnet20(resnet20, dataflow: str) -> None:
    report = simulate(load_model(resnet20), SimulateOptions(array=ArrayShape(32, 32), dataflow=dataflow))
    seen = set()
    for row in report.layers:
        side = round(row["vectors"] ** 0.5) + 2
        key = (side, 3, row["inputs"] // 9, row["filters"])
        if key in oracle.SCALE_SIM:
            seen.add(key)
            assert row["cycles"] == row["dense_cycles"] == oracle.SCALE_SIM[key][dataflow]
    assert seen == set(oracle.SCALE_SIM)


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("layer", oracle.SCALE_SIM)
def test_the_oracle_gives_the_nine_figures_too(layer: tuple[int, int, int, int], dataflow: str) -> None:
    side, kernel, channels, filters = layer
    vectors = (side - kernel + 1) ** 2
    found = oracle.dense_cycles(dataflow, 32, 32, filters, channels * kernel**2, vectors)
    assert found == oracle.SCALE_SIM[layer][dataflow]


@settings(max_examples=25)
@given(matrices(8), arrays(4), st.integers(1, 5), st.integers(1, 3), st.booleans(), st.booleans())
def test_simulate_gives_what_the_stepped_array_does(
    matrix: LayerMatrix, array: ArrayShape, vectors: int, arrays: int, prefetch: bool, replicate: bool
) -> None:
    matrix = LayerMatrix(matrix.values)
    array = ArrayShape(min(array.rows, 7), min(array.columns, 7))
    model = product(matrix.values, vectors)
    options = SimulateOptions(
        array=array, arrays=arrays, prefetch_weights=prefetch, replicate_tiles=replicate
    )
    machine = oracle.Machine(tuple(array), arrays=arrays, prefetch=prefetch, replicate_tiles=replicate)
    x = np.ones((vectors, matrix.inputs))
    dense = oracle.dense_tiles(matrix.filters, matrix.inputs, tuple(array))
    for packed in (False, True):
        subject = permute(model, SMALL.model_copy(update={"array": array}))[0] if packed else model
        packing = read_packings(subject).get("w")
        tiles = oracle.plain(packing) if packing else dense
        if packing:
            tiles = oracle.with_index(tiles, packing.fan_in, matrix.inputs, matrix.filters)
        (row,) = simulate(subject, options).layers
        if not tiles:
            assert (row["cycles"], row["utilisation"], row["speedup"], row["passes"]) == (0, None, None, 0)
            continue
        temporal_tiles = row["passes"] // len(tiles)
        assert row["passes"] == temporal_tiles * len(tiles)
        levels = max(1, packing.fan_in if packing else 1)
        result = oracle.run_packing(
            tiles, matrix.values, 1, x, machine, temporal_tiles, (levels - 1).bit_length()
        )
        np.testing.assert_array_equal(result.outputs, x @ matrix.values.T)
        assert row["cycles"] == row["compute_cycles"] == result.cycles
        # there is no better number of temporal tiles
        for other in range(1, vectors + 1):
            assert result.cycles <= oracle.run_packing(tiles, matrix.values, 1, x, machine, other).cycles
        useful = np.count_nonzero(matrix.values) * vectors
        slots = array.rows * array.columns * arrays
        assert row["utilisation"] == pytest.approx(useful / (slots * result.cycles))
        events = oracle.events("ws", result, matrix.filters * vectors, 1, (0, 0, 0), slots * result.cycles)
        assert row["energy_pj"] == pytest.approx(energy(events))
        if not packed:
            assert (row["dense_cycles"], row["dense_passes"]) == (row["cycles"], row["passes"])
            before = row
        else:
            for name in ("dense_cycles", "dense_passes", "dense_energy_pj"):
                assert row[name] == before[name]
            assert row["speedup"] == pytest.approx(row["dense_cycles"] / row["cycles"])


CONVOLUTIONS = {
    "grouped": (models.grouped, 4, {"strides": (2, 2), "pads": (1, 1, 1, 1)}),
    "depthwise": (models.depthwise, 6, {"dilations": (2, 1)}),
    "shared weight": (models.shared_weight, 1, {"pads": (1, 1, 1, 1)}),
}


@pytest.mark.parametrize("form", CONVOLUTIONS)
def test_tiles_of_a_convolution_give_what_the_convolution_gives(form: str) -> None:
    make, groups, geometry = CONVOLUTIONS[form]
    proto = make()
    permuted, _ = permute(loaded(proto), SMALL)
    packing = read_packings(permuted)["w"]
    weight = read_network(permuted).weights["w"].astype(np.float64)
    x = models.feeds(proto, batch=1)["x"].astype(np.float64)
    vectors, (height, width) = oracle.im2col(x, weight.shape[2:], **geometry)
    matrix = weight.reshape(len(weight), -1)
    result = oracle.run_packing(oracle.plain(packing), matrix, groups, vectors, oracle.Machine((8, 4)))
    expected = oracle.convolution(x, weight, groups, **geometry)
    found = np.array(result.outputs).reshape(len(x), height, width, -1).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    row = simulate(permuted, SimulateOptions(batch=len(x))).layers[0]
    assert (row["vectors"], row["cycles"]) == (len(vectors), result.cycles)


@pytest.mark.parametrize("form", CONVOLUTIONS)
def test_the_oracle_convolves_as_onnxruntime_does(form: str) -> None:
    import onnxruntime

    make, groups, geometry = CONVOLUTIONS[form]
    proto = make()
    del proto.graph.node[1:]
    del proto.graph.output[:]
    node = proto.graph.node[0]
    del node.input[2:]
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(node.output[0]))
    feeds = models.feeds(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    weight = onnx.numpy_helper.to_array(next(t for t in proto.graph.initializer if t.name == "w"))
    np.testing.assert_allclose(
        session.run(None, feeds)[0], oracle.convolution(feeds["x"], weight, groups, **geometry), atol=1e-5
    )


# --- events and energy


def test_energy_is_events_times_the_table() -> None:
    matrix = models.sparse(6, 10, density=0.4)
    permuted, _ = permute(product(matrix, 3), SMALL)
    (row,) = simulate(permuted, SimulateOptions()).layers
    packing, x, machine = read_packings(permuted)["w"], np.ones((3, 10)), oracle.Machine((8, 4))
    assert packing.fan_in == 3  # two levels of multiplexers
    tiles = oracle.with_index(oracle.plain(packing), 3, 10, 6)
    runs = [
        oracle.run_packing(tiles, matrix, 1, x, machine, levels=2),
        oracle.run_packing(oracle.dense_tiles(6, 10, (8, 4)), matrix, 1, x, machine),
    ]
    events, dense = (oracle.events("ws", result, 18, 1, (0, 0, 0), 8 * 4 * result.cycles) for result in runs)
    assert row["energy_pj"] == pytest.approx(energy(events))
    assert row["dense_energy_pj"] == pytest.approx(energy(dense))
    assert row["energy_gain"] == pytest.approx(energy(dense) / energy(events))
    for prefix in ("", "dense_"):
        assert sum(row[f"{prefix}energy_parts_pj"].values()) == pytest.approx(row[f"{prefix}energy_pj"])
    assert row["energy_parts_pj"]["mac"] == pytest.approx(0.3 * events["macs"])
    assert row["energy_parts_pj"]["index"] == pytest.approx(1.25 / 8 * events["index_bits"])
    assert row["energy_parts_pj"]["multiplexer"] == pytest.approx(0.005 * events["multiplexer_bytes"])
    assert min(row["energy_parts_pj"]["index"], row["energy_parts_pj"]["multiplexer"]) > 0


def test_the_gain_is_given_for_every_variation_of_the_table() -> None:
    report = simulate(permute(loaded(models.cnn()), SMALL)[0], SimulateOptions())
    totals, parts = report.totals, report.totals["energy_parts_pj"]
    dense = totals["dense_energy_parts_pj"]
    names = {"register_byte": "registers", "lane_byte": "lanes", "multiplexer_level": "multiplexer"}
    expected = {}
    for change, factor in (("halved", -0.5), ("-20 %", -0.2), ("+20 %", 0.2), ("doubled", 1.0)):
        for entry, part in names.items():
            expected[entry, change] = (sum(dense.values()) + factor * dense[part]) / (
                sum(parts.values()) + factor * parts[part]
            )
        more, less = (sum(own[part] for part in names.values()) for own in (dense, parts))
        expected["all assumed", change] = (sum(dense.values()) + factor * more) / (
            sum(parts.values()) + factor * less
        )
    expected["dram", "325 pJ/byte instead of 162.5"] = totals["energy_gain"]  # ideal hardware has no DRAM
    useful, done = (own["mac"] / 0.3 for own in (parts, dense))
    idle = [32 * totals[cycles] - macs for cycles, macs in (("cycles", useful), ("dense_cycles", done))]
    expected["idle_pe", "0.09 pJ instead of 0"] = (sum(dense.values()) + 0.09 * idle[1]) / (
        sum(parts.values()) + 0.09 * idle[0]
    )
    found = {
        (one["entry"], one["change"]): one["energy_gain"]
        for one in totals["energy_gain_if"]
        if one["assumed"]
    }
    assert found == pytest.approx(expected)
    measured = {one["entry"] for one in totals["energy_gain_if"] if not one["assumed"]}
    assert measured == {"int8_multiply", "int32_add", "fp32_multiply", "fp32_add", "sram", "dram"}
    low, high = min(expected, key=expected.__getitem__), max(expected, key=expected.__getitem__)
    assert report.notes == (
        "energy is a model, not measured: int8 operands, int32 sums, on-chip only, unlimited buffers",
        "assumed entries of the energy table move the energy gain from "
        f"{expected[low]:.2f}x ({' '.join(low)}) to {expected[high]:.2f}x ({' '.join(high)})",
    )


def test_a_network_is_the_sum_of_its_layers() -> None:
    report = simulate(permute(loaded(models.cnn()), SMALL)[0], SimulateOptions())
    for name in ("passes", "cycles", "dense_cycles", "energy_pj", "dense_energy_pj"):
        assert report.totals[name] == pytest.approx(sum(row[name] for row in report.layers))
    assert report.totals["speedup"] == pytest.approx(report.totals["dense_cycles"] / report.totals["cycles"])
    useful = sum(row["utilisation"] * 32 * row["cycles"] for row in report.layers)
    assert report.totals["utilisation"] == pytest.approx(useful / (32 * report.totals["cycles"]))


# --- every measure of the glossary by hand


def test_the_measures_by_hand() -> None:
    matrix = np.array([[1, 0, 2, 0], [0, 3, 0, 0], [0, 0, 0, 0]], np.float32)  # 3 filters x 4 inputs
    options = PermuteOptions(array=ArrayShape(2, 2), fan_in=2, temp_schedule=QUICK)
    report = simulate(permute(product(matrix, 5), options)[0], SimulateOptions())
    # one tile of 2 lanes x 2 columns holds all: filter 0 takes both lanes of a column, filter 1 a lane of the other
    totals = report.totals
    assert totals["nonzeros"] == 3
    assert totals["density"] == 0.25
    assert totals["matrix_compression_rate"] == 12 / 4
    assert totals["tightness"] == 3 / 4
    assert (totals["passes"], totals["dense_passes"], totals["pass_compression"]) == (1, 2 * 2, 4.0)
    assert totals["passes_lower_bound"] == 1  # (1 + 1 + 0) segments on 2 columns
    assert totals["fan_in_max"] == 2  # inputs 0 and 2 on a lane each, input 1 beside one of them
    assert totals["lane_inputs"] == 3
    # 4 slots of 32 + 1 bits, 2 lengths (0, 1 or 2: 2 bits), 3 inputs of 2 bits, 2 filters of 2 bits
    assert totals["packed_bits"] == 4 * 33 + 2 * 2 + 3 * 2 + 2 * 2
    assert totals["bit_compression"] == 12 * 32 / 146
    assert (totals["dropped_weights"], totals["dropped_magnitude"]) == (0, 0.0)
    assert (totals["cycles"], totals["dense_cycles"]) == (2 + 5 + 2 + 2 - 2, 4 * 9)
    assert totals["speedup"] == 4.0
    assert totals["utilisation"] == pytest.approx(3 * 5 / (4 * 9))


# --- batch, arrays, dataflows, forms


@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_multiplies_the_vectors(batch: int) -> None:
    report = simulate(loaded(models.cnn()), SimulateOptions(batch=batch))
    assert [row["vectors"] for row in report.layers] == [64 * batch, 9 * batch, batch]


def test_a_fixed_batch_is_taken_and_not_overruled() -> None:
    fixed = loaded(models.cnn(batch="4"))
    assert [row["vectors"] for row in simulate(fixed, SimulateOptions()).layers] == [256, 36, 4]
    words = r"net.onnx: .*expected 4 .*input image.*, got 2; leave --batch out, or export"
    with pytest.raises(ModelError, match=words):
        simulate(fixed, SimulateOptions(batch=2))


def test_a_permuted_model_keeps_to_its_array() -> None:
    permuted, _ = permute(loaded(models.cnn()), SMALL)
    assert simulate(permuted, SimulateOptions()).totals["array"] == "8x4"
    words = (
        "--array: expected 8x4, the array that the model was permuted for, got 32x32; "
        "use --array 8x4, or run tightc permute --array 32x32 first"
    )
    with pytest.raises(OptionError, match=words):
        simulate(permuted, SimulateOptions(array=ArrayShape(32, 32)))


@pytest.mark.parametrize("dataflow", ["os", "is"])
def test_tiles_are_weight_stationary(dataflow: str) -> None:
    permuted, _ = permute(loaded(models.cnn()), SMALL)
    words = (
        f"--dataflow: expected ws, since the model's tiles are weight-stationary, got {dataflow}; "
        "use --dataflow ws, or simulate the model from before tightc permute"
    )
    with pytest.raises(OptionError, match=words):
        simulate(permuted, SimulateOptions(dataflow=dataflow))


def test_weights_that_changed_since_permute_are_refused() -> None:
    permuted, _ = permute(loaded(models.cnn()), SMALL)
    other = permuted.with_tensors({"second_w": np.ones((8, 8, 3, 3), np.float32)})
    with pytest.raises(ModelError, match="the packing of second does not fit its weights"):
        simulate(other, SimulateOptions())


@pytest.mark.parametrize("form", models.FORMS)
def test_a_packed_model_costs_what_the_permuted_one_does(form: str) -> None:
    permuted, _ = permute(loaded(models.FORMS[form]()), SMALL)
    one, other = simulate(permuted, SimulateOptions()), simulate(pack(permuted)[0], SimulateOptions())
    assert (one.totals, one.layers) == (other.totals, other.layers)


@pytest.mark.parametrize("form", models.FORMS)
@pytest.mark.parametrize("own", [{}, {"arrays": 3, "replicate_tiles": True}, {"hardware": None}])
def test_a_dense_packing_costs_what_the_dense_model_does(form: str, own: dict[str, object]) -> None:
    own = {**own, "hardware": hardware(activation_buffer=TIGHT)} if "hardware" in own else own
    model = loaded(models.FORMS[form]())
    permuted, _ = permute(model, SMALL.model_copy(update={"method": "dense"}))
    plain = simulate(model, SimulateOptions(array=ArrayShape(8, 4), **own))
    tiled = simulate(permuted, SimulateOptions(**own))
    for one, other in zip(plain.layers, tiled.layers, strict=True):
        assert one["method"] == other["method"] == "dense"
        assert {name: other[name] for name in one} == one


def test_groups_share_passes() -> None:
    # 4 groups of 3 filters x 18 inputs on 8x4: blocks of 8, 8 and 2 inputs; no two groups have 4 columns
    (row,) = simulate(loaded(models.grouped()), SimulateOptions(array=ArrayShape(8, 4))).layers
    assert (row["passes"], row["cycles"]) == (4 * 3, 4 * oracle.dense_cycles("ws", 8, 4, N=3, K=18, M=9))
    # on 8x8 the last blocks of two groups fit, 4 inputs x 6 filters
    (row,) = simulate(loaded(models.grouped()), SimulateOptions(array=ArrayShape(8, 8))).layers
    assert (row["passes"], row["cycles"]) == (4 * 2 + 2, 10 * (2 * 8 + 8 + 9 - 2))


def test_a_depthwise_layer_is_dense_in_as_few_passes_as_an_ordinary_array_needs() -> None:
    # 9 inputs x 1 filter x 8 groups on 32x32: 3 groups a pass, so 3 passes; each group loads its own 9 weights only
    weight = np.ones((8, 1, 3, 3), np.float32)
    text = "net (float[1, 8, 6, 6] x) => (float[1, 8, 4, 4] y) { [dw] y = Conv <group = 8> (x, w) }"
    model = loaded(models.build(text, w=weight))
    (row,) = simulate(model, SimulateOptions(array=ArrayShape(32, 32))).layers
    assert (row["passes"], row["dense_passes"]) == (3, 3)
    assert row["cycles"] == 3 * (32 + 16 + 32 + 32 - 2)
    assert row["energy_parts_pj"]["mac"] == pytest.approx(0.3 * 8 * 9 * 16)
    assert row["energy_parts_pj"]["weight_buffer"] == pytest.approx(1.25 * 8 * 9)
    # an activation passes its own column and those of the groups before, a sum its own 9 lanes and those after
    passed = 16 * (2 * 9 * (1 + 2 + 3) + 9 * (1 + 2))
    loading = 2 * sum(range(27 + 1)) + sum(range(18 + 1))  # one weight in each row
    assert row["energy_parts_pj"]["registers"] == pytest.approx(0.03 * (passed * (1 + 4) + loading))
    assert row["energy_parts_pj"]["activation_buffer"] == pytest.approx(1.25 * (8 * 9 * 16 + 8 * 16))
    assert row["utilisation"] == pytest.approx(8 * 9 * 16 / (32 * 32 * row["cycles"]))


def test_each_use_of_a_shared_weight_costs_cycles() -> None:
    permuted, _ = permute(loaded(models.shared_weight()), SMALL)
    report = simulate(permuted, SimulateOptions())
    one, two = report.layers
    assert (one["cycles"], one["energy_pj"]) == (two["cycles"], two["energy_pj"])
    assert report.totals["cycles"] == 2 * one["cycles"]


def test_the_compression_of_passes_is_that_of_the_passes_shown() -> None:
    permuted, _ = permute(loaded(models.shared_weight()), SMALL)
    totals = simulate(permuted, SimulateOptions()).totals
    assert totals["pass_compression"] == pytest.approx(totals["dense_passes"] / totals["passes"])


def test_what_is_not_covered_is_listed_with_the_share_of_macs() -> None:
    report = simulate(loaded(models.attention()), SimulateOptions())
    assert [entry["name"] for entry in report.uncovered] == ["scores"]
    assert report.totals["macs_covered"] == pytest.approx(5 * 8 * 6 / (5 * 8 * 6 + 5 * 6 * 5))


def test_the_pruned_and_packed_resnet20_is_more_than_five_times_as_fast(resnet20) -> None:
    from tightc.pruning.options import PruneOptions
    from tightc.pruning.prune import prune

    pruned, _ = prune(load_model(resnet20), PruneOptions(sparsity=0.9))
    assert simulate(pruned, SimulateOptions()).totals["speedup"] == 1.0
    permuted, _ = permute(pruned, PermuteOptions(temp_schedule=TemperatureSchedule(moves_per_weight=500)))
    assert simulate(pack(permuted)[0], SimulateOptions()).totals["speedup"] > 5


def test_a_batch_that_takes_longer_than_its_images_is_noted() -> None:
    # three layers of one weight: the maps of one image stay on chip, those of 64 do not
    text = """net (float[N, 1, 16, 16] x) => (float[N, 1, 16, 16] y) {
        [a] m = Conv(x, w)
        [b] n = Conv(m, w)
        [c] y = Conv(n, w)
    }"""
    model = loaded(models.build(text, w=np.ones((1, 1, 1, 1), np.float32)))
    buffer = {**HARDWARE["activation_buffer"], "size": "1 KiB"}
    slow = {"bandwidth": "10 MB/s", "keep_feature_maps": True}
    reported = []
    for keeps, batch in ((True, 1), (True, 64), (False, 64)):
        own = hardware(arrays=1, activation_buffer=buffer, dram={**slow, "keep_feature_maps": keeps})
        alone, together = (simulate(model, SimulateOptions(hardware=own, batch=size)) for size in (1, batch))
        each, all_of_them = (report.totals["cycles"] for report in (alone, together))
        note = f"images one by one take fewer cycles: {each:,} each, in a batch {all_of_them // batch:,}"
        assert (note in together.notes) == (each * batch < all_of_them)
        reported.append(note in together.notes)
    assert reported == [False, True, False]


def test_a_map_that_only_a_branch_reads_goes_to_dram_as_the_output_does() -> None:
    (layer,) = read_workload(loaded(models.with_if("v")), SimulateOptions()).layers
    assert layer.gemm.feature_maps.from_model_input and layer.gemm.feature_maps.to_model_output
