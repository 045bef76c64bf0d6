"""Networks pruned for an array, permuted and simulated: the budget is what the array then needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oracle
from helpers import models
from helpers.loading import loaded
from helpers.put_back import assert_idle, larger_than_kept
from tightc.accelerator.hardware import Hardware
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

ROWS, COLUMNS = 8, 6
HARDWARE = Hardware.model_validate(
    {
        "name": "small",
        "array": f"{ROWS}x{COLUMNS}",
        "fan_in": 4,
        "operands": "int8",
        "clock": "100 MHz",
        "prefetch_weights": False,
        "accumulator_bypass": True,
        "activation_buffer": {"size": "1 KiB", "bandwidth": "32 words/cycle", "double_buffered": True},
        "weight_buffer": {"size": "1 KiB", "bandwidth": "8 words/cycle", "double_buffered": True},
        "partial_sum_buffer": {"size": "4 KiB", "bandwidth": "16 words/cycle", "double_buffered": True},
        "dram": {"bandwidth": "400 MB/s", "keep_feature_maps": True},
    }
)
TEXT = """net (float[1, 4, 8, 8] x) => (float[1, 10] y) {
    [first] a = Conv<pads = [1, 1, 1, 1]>(x, first_w)
    [grouped] b = Conv<group = 4, pads = [1, 1, 1, 1], strides = [2, 2]>(a, grouped_w)
    [deep] c = Conv<group = 24, pads = [1, 1, 1, 1], strides = [2, 2]>(b, deep_w)
    d = Flatten(c)
    [gemm] e = Gemm<transB = 1>(d, gemm_w)
    [plain] f = Gemm(e, plain_w)
    [product] y = MatMul(f, product_w)
}"""
LINE = """net (float[1, 6, 20] x) => (float[1, 12, 16] y) {
    [one] a = Conv(x, one_w)
    [two] y = Conv<group = 2>(a, two_w)
}"""
# weight: (shape, whether the filters come first, groups)
LAYERS = {
    "first_w": ((16, 4, 3, 3), True, 1),
    "grouped_w": ((24, 4, 3, 3), True, 4),
    "deep_w": ((24, 1, 3, 3), True, 24),
    "gemm_w": ((30, 96), True, 1),
    "plain_w": ((30, 20), False, 1),
    "product_w": ((20, 10), False, 1),
}
LINE_LAYERS = {"one_w": ((16, 6, 3), True, 1), "two_w": ((12, 8, 3), True, 2)}
NETWORKS = {"images": (TEXT, LAYERS), "line": (LINE, LINE_LAYERS)}


def build(which: str) -> onnx.ModelProto:
    text, layers = NETWORKS[which]
    return models.build(
        text,
        **{
            name: np.random.default_rng([len(name), *shape]).normal(size=shape).astype(np.float32)
            for name, (shape, _, _) in layers.items()
        },
    )


def matrices(proto: onnx.ModelProto, which: str) -> dict[str, np.ndarray]:
    """Each weight as (filters, inputs), by the layout that ONNX documents."""
    found = {}
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        _, filters_first, _ = NETWORKS[which][1][tensor.name]
        found[tensor.name] = array.reshape(len(array), -1) if filters_first else array.T
    return found


def pruned_and_permuted(
    which: str, **given: Any
) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
    """(matrices, totals of permute, totals of simulate) of the network pruned as `given` says, in full segments."""
    pruned, _ = prune(
        loaded(build(which)),
        PruneOptions.of({"align": f"{ROWS}x{COLUMNS}", **given}),
    )
    assert_full_segments(pruned.proto, which)
    array = ArrayShape(ROWS, COLUMNS)
    schedule = TemperatureSchedule(moves_per_weight=200)
    permuted, report = permute(
        pruned, PermuteOptions(array=array, fan_in=256, temp_schedule=schedule, jobs=1)
    )
    return (
        matrices(pruned.proto, which),
        report.totals,
        simulate(permuted, SimulateOptions(array=array)).totals,
    )


def assert_full_segments(pruned: onnx.ModelProto, which: str) -> None:
    """Every filter has full segments of its largest weights, but for those that change no output."""
    before, larger = matrices(build(which), which), {}
    for name, matrix in matrices(pruned, which).items():
        for count in np.count_nonzero(matrix, axis=1):
            assert count % ROWS == 0 or count == matrix.shape[1]
        shape, filters_first, _ = NETWORKS[which][1][name]
        flags = larger_than_kept(before[name], matrix)
        larger[name] = flags.reshape(shape) if filters_first else flags.T
    assert_idle(build(which), pruned, larger)


def assert_fewest_passes(kept: dict[str, np.ndarray], totals: dict[str, Any]) -> None:
    fewest = sum(oracle.lower_bound(matrix, (ROWS, COLUMNS)) for matrix in kept.values())
    assert totals["passes"] == totals["passes_lower_bound"] == fewest
    assert totals["dropped_weights"] == 0


@pytest.mark.parametrize("which", NETWORKS)
@pytest.mark.parametrize("sparsity", [0.3, 0.8, 0.95])
def test_a_sparsity_is_met_in_full_segments_with_the_fewest_passes(which: str, sparsity: float) -> None:
    kept, totals, _ = pruned_and_permuted(which, sparsity=sparsity)
    assert_fewest_passes(kept, totals)
    weights = sum(matrix.size for matrix in kept.values())
    left = sum(np.count_nonzero(matrix) for matrix in kept.values())
    segments = sum(len(matrix) * -(-matrix.shape[1] // ROWS) for matrix in kept.values())
    # a filter's last segment counts as a full one
    over = sum(len(matrix) * (-matrix.shape[1] % min(ROWS, matrix.shape[1])) for matrix in kept.values())
    assert left <= (1 - sparsity) * weights + 1e-6
    assert left > (1 - sparsity) * weights - ROWS - over
    assert segments > 0


@pytest.mark.parametrize("which", NETWORKS)
@pytest.mark.parametrize("factor", [1.5, 3, 8])
def test_the_permuted_network_has_the_compression_of_the_budget(which: str, factor: float) -> None:
    kept, totals, _ = pruned_and_permuted(which, budget=f"compression={factor}")
    assert_fewest_passes(kept, totals)
    assert totals["matrix_compression_rate"] >= factor
    area = sum(
        min(ROWS, matrix.shape[1]) * sum(-(-np.count_nonzero(f) // ROWS) for f in matrix)
        for matrix in kept.values()
    )
    weights = sum(matrix.size for matrix in kept.values())
    assert weights / factor - ROWS < area <= weights / factor + 1e-6


@pytest.mark.parametrize("which", NETWORKS)
@pytest.mark.parametrize("factor", [1.5, 3, 6])
def test_the_simulator_counts_the_speedup_of_the_budget_and_tiles_are_full(which: str, factor: float) -> None:
    kept, totals, counted = pruned_and_permuted(which, budget=f"speedup={factor}")
    assert_fewest_passes(kept, totals)
    assert counted["speedup"] >= factor
    longest_pass = 2 * ROWS + COLUMNS - 2 + 64  # of the layer with the most input vectors
    assert counted["dense_cycles"] / factor - counted["cycles"] < longest_pass
    for matrix in kept.values():
        segments = sum(-(-np.count_nonzero(f) // ROWS) for f in matrix)
        assert segments % COLUMNS == 0 or np.count_nonzero(matrix) == matrix.size


@pytest.mark.parametrize("which", NETWORKS)
@pytest.mark.parametrize("factor", [1.5, 2.5])
@pytest.mark.parametrize("hardware", ["ideal", "small"])
def test_the_simulator_counts_the_energy_of_the_budget_within_15_percent(
    which: str, factor: float, hardware: str
) -> None:
    """Tiles are estimated, so the energy is too; the cost model is the simulator's."""
    accelerator = {"hardware": HARDWARE} if hardware == "small" else {"fan_in": 4}
    pruned, _ = prune(
        loaded(build(which)),
        PruneOptions.of({"align": f"{ROWS}x{COLUMNS}", "budget": f"energy={factor}", **accelerator}),
    )
    array = ArrayShape(ROWS, COLUMNS)
    schedule = TemperatureSchedule(moves_per_weight=200)
    accelerator = {"hardware": HARDWARE} if hardware == "small" else {}
    options = PermuteOptions(
        array=array, fan_in=4, temp_schedule=schedule, jobs=1, objective="energy", **accelerator
    )
    permuted, _ = permute(pruned, options)
    assert_full_segments(pruned.proto, which)
    gain = simulate(permuted, SimulateOptions(array=array, **accelerator)).totals["energy_gain"]
    assert gain == pytest.approx(factor, rel=0.15)


@pytest.mark.parametrize("budget", ["energy=2", "bits=2", "compression=3"])
def test_filled_passes_leave_no_columns_that_cost_no_pass(budget: str) -> None:
    options = {"align": f"{ROWS}x{COLUMNS}", "budget": budget}
    filled, _ = prune(loaded(build("images")), PruneOptions.of({**options, "fill_passes": True}))
    for matrix in matrices(filled.proto, "images").values():
        segments = sum(-(-np.count_nonzero(f) // ROWS) for f in matrix)
        assert segments % COLUMNS == 0 or np.count_nonzero(matrix) == matrix.size
    plain, _ = prune(loaded(build("images")), PruneOptions.of(options))
    assert any(
        sum(-(-np.count_nonzero(f) // ROWS) for f in matrix) % COLUMNS
        for matrix in matrices(plain.proto, "images").values()
    ), "without it, some last tile has room"


@pytest.mark.parametrize("factor", [1.2, 2, 4])
def test_permute_counts_the_bits_of_the_budget_to_a_tenth(factor: float) -> None:
    pruned, _ = prune(
        loaded(build("images")),
        PruneOptions.of({"align": f"{ROWS}x{COLUMNS}", "budget": f"bits={factor}", "fan_in": 4}),
    )
    schedule = TemperatureSchedule(moves_per_weight=200)
    _, report = permute(
        pruned, PermuteOptions(array=ArrayShape(ROWS, COLUMNS), fan_in=4, temp_schedule=schedule, jobs=1)
    )
    assert report.totals["bit_compression"] == pytest.approx(factor, rel=0.1)


def test_a_weight_that_two_layers_share_costs_the_passes_of_both() -> None:
    """Its tiles are loaded once for each of the two layers."""
    proto = models.build(
        """net (float[1, 8, 1, 2] x) => (float[1, 8, 1, 2] y) {
            [one] a = Conv(x, shared)
            [two] b = Conv(a, shared)
            [three] y = Conv(b, alone)
        }""",
        shared=np.random.default_rng(0).normal(size=(8, 8, 1, 1)).astype(np.float32) * 10,
        alone=np.random.default_rng(1).normal(size=(8, 8, 1, 1)).astype(np.float32),
    )
    model = loaded(proto)
    options = PruneOptions.of({"align": "2x2", "budget": "speedup=2.4"})
    pruned, _ = prune(model, options)
    array = ArrayShape(2, 2)
    permuted, _ = permute(pruned, PermuteOptions(array=array, fan_in=64, jobs=1))
    assert simulate(permuted, SimulateOptions(array=array)).totals["speedup"] >= 2.4
