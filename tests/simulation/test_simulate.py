"""Cycles, events and energy against an array that is stepped PE by PE and against plain recounts."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
import oracle
from packings import arrange, arrays, matrices
from tightc.errors import ModelError, OptionError
from tightc.model.arrangement import read_packings
from tightc.model.file import Model, load_model, load_model_bytes
from tightc.model.layers import read_network
from tightc.packing.pack import pack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.permutation.schedule import Schedule
from tightc.simulation import cycles
from tightc.simulation.events import DENSE, packed_events
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tiles.array import ArrayShape
from tightc.tiles.matrix import LayerMatrix

# horowitz-45nm, once more by hand: pJ per event
PJ = {
    "macs": 0.3,
    "multiplexer_levels": 0.005,
    "register_bytes": 0.03,
    "lane_bytes": 0.1,
    "activation_buffer_bytes": 1.25,
    "weight_buffer_bytes": 1.25,
    "partial_sum_buffer_bytes": 1.25,
    "index_bits": 1.25 / 8,
}
QUICK = Schedule(steps=5, moves_per_weight=50)
SMALL = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=QUICK, jobs=1)


def loaded(proto: onnx.ModelProto) -> Model:
    return load_model_bytes(proto.SerializeToString(), "net.onnx")


def energy(events: dict[str, int]) -> float:
    return sum(count * PJ[name] for name, count in events.items())


def product(matrix: np.ndarray, vectors: int) -> Model:
    """A model whose one layer has that matrix and that many vectors."""
    filters, inputs = matrix.shape
    text = (
        f"net (float[{vectors}, {inputs}] x) => (float[{vectors}, {filters}] y) {{ [mm] y = MatMul(x, w) }}"
    )
    return loaded(models.build(text, w=matrix.T.copy()))


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


@settings(max_examples=60)
@given(arrays(), *(st.integers(1, 90) for _ in range(3)), st.sampled_from(["ws", "os", "is"]))
def test_closed_forms(array: ArrayShape, filters: int, inputs: int, vectors: int, dataflow: str) -> None:
    found = cycles.DENSE[dataflow](array, filters, inputs, vectors)
    assert found == oracle.dense_cycles(dataflow, *array, filters, inputs, vectors)


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**20))
def test_one_pass_takes_as_long_as_stepping_it(rows: int, columns: int, vectors: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-4, 5, (rng.integers(1, columns + 1), rng.integers(1, rows + 1)))
    values = rng.integers(-4, 5, (vectors, matrix.shape[1]))
    tiles = oracle.dense_tiles(*matrix.shape, (rows, columns))
    outputs, took, _ = oracle.run_packing(tiles, matrix, 1, values, (rows, columns))
    assert cycles.pass_cycles(ArrayShape(rows, columns), vectors) == took
    np.testing.assert_array_equal(outputs, values @ matrix.T)


@settings(max_examples=25)
@given(matrices(8), arrays(4), st.integers(1, 5), st.sampled_from([1, 3]))
def test_packed_tiles_compute_the_layer_on_the_stepped_array(
    matrix: LayerMatrix, array: ArrayShape, vectors: int, fan_in: int
) -> None:
    if array.rows * array.columns > 100:
        array = ArrayShape(min(array.rows, 7), min(array.columns, 7))
    packing = arrange(matrix, "tight", array, fan_in)
    rng = np.random.default_rng(vectors)
    x = rng.integers(-9, 10, (vectors, matrix.inputs * matrix.groups))
    tiles = oracle.plain(packing)
    outputs, took, macs = oracle.run_packing(tiles, matrix.values, matrix.groups, x, tuple(array))
    whole = oracle.block_diagonal(matrix.values, matrix.groups)
    np.testing.assert_array_equal(outputs, x @ whole.T)
    assert took == len(tiles) * cycles.pass_cycles(array, vectors)
    assert packed_events(packing, vectors).macs == macs


@settings(max_examples=20)
@given(matrices(8), arrays(4), st.integers(1, 5))
def test_simulate_gives_the_cycles_and_useful_macs_of_the_stepped_array(
    matrix: LayerMatrix, array: ArrayShape, vectors: int
) -> None:
    matrix = LayerMatrix(matrix.values)
    array = ArrayShape(min(array.rows, 7), min(array.columns, 7))
    model = product(matrix.values, vectors)
    options = SMALL.model_copy(update={"array": array})
    x = np.ones((vectors, matrix.inputs))
    for packed in (False, True):
        subject = permute(model, options)[0] if packed else model
        packings = read_packings(subject)
        dense = oracle.dense_tiles(matrix.filters, matrix.inputs, tuple(array))
        tiles = oracle.plain(packings["w"]) if packed else dense
        _, took, _ = oracle.run_packing(tiles, matrix.values, 1, x, tuple(array))
        _, dense_took, _ = oracle.run_packing(dense, matrix.values, 1, x, tuple(array))
        (row,) = simulate(subject, SimulateOptions(array=array)).layers
        assert (row["cycles"], row["dense_cycles"], row["passes"]) == (took, dense_took, len(tiles))
        useful = np.count_nonzero(matrix.values) * vectors
        if took:
            assert row["utilisation"] == pytest.approx(useful / (array.rows * array.columns * took))
            assert row["speedup"] == pytest.approx(dense_took / took)
        else:
            assert row["utilisation"] is None and row["speedup"] is None


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
    outputs, took, _ = oracle.run_packing(oracle.plain(packing), matrix, groups, vectors, (8, 4))
    expected = oracle.convolution(x, weight, groups, **geometry)
    found = outputs.reshape(len(x), height, width, -1).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    row = simulate(permuted, SimulateOptions(batch=len(x))).layers[0]
    assert (row["vectors"], row["cycles"]) == (len(vectors), took)


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


@settings(max_examples=40)
@given(matrices(8), arrays(4), st.integers(1, 4), st.sampled_from([1, 2, 3, 9]))
def test_events_of_a_packing_are_a_plain_recount(
    matrix: LayerMatrix, array: ArrayShape, vectors: int, fan_in: int
) -> None:
    packing = arrange(matrix, "tight", array, fan_in)
    assert packed_events(packing, vectors).__dict__ == oracle.packed_events(
        oracle.plain(packing), vectors, packing.fan_in, matrix.inputs * matrix.groups, matrix.filters
    )


@settings(max_examples=40)
@given(arrays(4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5))
def test_events_of_a_dense_layer_are_those_of_its_folds_as_tiles(
    array: ArrayShape, filters: int, inputs: int, vectors: int
) -> None:
    tiles = oracle.dense_tiles(filters, inputs, tuple(array))
    found = DENSE["ws"](array, filters, inputs, vectors)
    assert found.__dict__ == oracle.packed_events(tiles, vectors, 1, inputs, filters)


@settings(max_examples=40)
@given(arrays(4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.sampled_from(["os", "is"]))
def test_buffer_traffic_of_the_other_dataflows_is_a_plain_recount(
    array: ArrayShape, filters: int, inputs: int, vectors: int, dataflow: str
) -> None:
    rows, columns = array
    activations = weights = sums = 0
    if dataflow == "os":
        for m in range(0, vectors, rows):
            for f in range(0, filters, columns):
                here, there = min(rows, vectors - m), min(columns, filters - f)
                activations, weights, sums = (
                    activations + here * inputs,
                    weights + there * inputs,
                    sums + here * there,
                )
    else:
        for k in range(0, inputs, rows):
            for m in range(0, vectors, columns):
                here, there = min(rows, inputs - k), min(columns, vectors - m)
                activations, weights = activations + here * there, weights + here * filters
                sums += there * filters * (1 if k == 0 else 2)
    found = DENSE[dataflow](array, filters, inputs, vectors)
    moved = {"os": 1 + 1 + 4, "is": 1 + 4}[dataflow] * filters * inputs * vectors
    assert found.register_bytes == moved + (inputs * vectors if dataflow == "is" else 0)
    assert found.lane_bytes == (activations if dataflow == "os" else weights)
    assert found.macs == filters * inputs * vectors
    assert found.activation_buffer_bytes == activations
    assert found.weight_buffer_bytes == weights
    assert found.partial_sum_buffer_bytes == 4 * sums
    assert found.index_bits == found.multiplexer_levels == 0


def test_energy_is_events_times_the_table() -> None:
    matrix = models.sparse(6, 10, density=0.4)
    permuted, _ = permute(product(matrix, 3), SMALL)
    (row,) = simulate(permuted, SimulateOptions()).layers
    tiles = oracle.plain(read_packings(permuted)["w"])
    events = oracle.packed_events(tiles, 3, 3, 10, 6)
    dense = oracle.packed_events(oracle.dense_tiles(6, 10, (8, 4)), 3, 1, 10, 6)
    assert row["energy_pj"] == pytest.approx(energy(events))
    assert row["dense_energy_pj"] == pytest.approx(energy(dense))
    assert row["energy_gain"] == pytest.approx(energy(dense) / energy(events))
    assert sum(row["energy_parts_pj"].values()) == pytest.approx(row["energy_pj"])
    assert row["energy_parts_pj"]["mac"] == pytest.approx(0.3 * events["macs"])
    assert row["energy_parts_pj"]["index"] == pytest.approx(1.25 / 8 * events["index_bits"])
    assert row["energy_parts_pj"]["multiplexer"] == pytest.approx(0.005 * events["multiplexer_levels"])


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
    assert totals["passes_lower_bound"] == 1  # (1 + 1 + 0) parts on 2 columns
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
    words = r"net.onnx: .*input image .*4.*, not 2; leave --batch out, or export"
    with pytest.raises(ModelError, match=words):
        simulate(fixed, SimulateOptions(batch=2))


def test_an_arranged_model_keeps_to_its_array() -> None:
    permuted, _ = permute(loaded(models.cnn()), SMALL)
    assert simulate(permuted, SimulateOptions()).totals["array"] == "8x4"
    words = "--array 32x32: the model was arranged for 8x4; use --array 8x4, or run tightc permute --array 32x32 first"
    with pytest.raises(OptionError, match=words):
        simulate(permuted, SimulateOptions(array=ArrayShape(32, 32)))


@pytest.mark.parametrize("dataflow", ["os", "is"])
def test_tiles_are_weight_stationary(dataflow: str) -> None:
    permuted, _ = permute(loaded(models.cnn()), SMALL)
    words = f"--dataflow {dataflow}: the model's tiles are weight-stationary; use --dataflow ws, or simulate"
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
def test_a_dense_arrangement_costs_what_the_dense_model_does(form: str) -> None:
    model = loaded(models.FORMS[form]())
    arranged, _ = permute(model, SMALL.model_copy(update={"method": "dense"}))
    plain = simulate(model, SimulateOptions(array=ArrayShape(8, 4)))
    tiled = simulate(arranged, SimulateOptions())
    for one, other in zip(plain.layers, tiled.layers, strict=True):
        assert one["method"] == other["method"] == "dense"
        assert {name: other[name] for name in one} == one


def test_groups_are_folded_one_by_one() -> None:
    (row,) = simulate(loaded(models.grouped()), SimulateOptions(array=ArrayShape(8, 4))).layers
    assert row["cycles"] == 4 * oracle.dense_cycles("ws", 8, 4, N=3, K=18, M=9)


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
    permuted, _ = permute(pruned, PermuteOptions(temp_schedule=Schedule(moves_per_weight=500)))
    assert simulate(pack(permuted)[0], SimulateOptions()).totals["speedup"] > 5
