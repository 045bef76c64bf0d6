"""Column combining within a budget: the gain is reached, by weights that keep nearly the most saliency."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import oracle
import tightc
from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import HARDWARE
from tightc.errors import ModelError, OptionError
from tightc.permutation.combining_budget import with_kept_weights
from tightc.permutation.executors import threads
from tightc.permutation.layer_scheduler import LayerJob
from tightc.permutation.options import PermuteOptions
from tightc.progress import no_progress
from tightc.tile.matrix import LayerMatrix

COMBINE: dict[str, Any] = {"array": "4x4", "method": "column-combine", "alpha": 4, "gamma": 0.5}
REACHED = {
    "compression": "matrix_compression_rate",
    "speedup": "speedup",
    "energy": "energy_gain",
    "bits": "bit_compression",
}


def network() -> tightc.Model:
    return loaded(models.cnn())


@pytest.mark.parametrize("hardware", [None, HARDWARE])
@pytest.mark.parametrize("factor", [1.3, 5.0])
@pytest.mark.parametrize("kind", REACHED)
def test_the_gain_is_that_of_simulate(kind: str, factor: float, hardware: dict[str, Any] | None) -> None:
    own = {**COMBINE, "alpha": 3} if hardware else COMBINE
    found = tightc.permute(network(), **own, hardware=hardware, budget=f"{kind}={factor}")
    simulated = tightc.simulate(found.model, hardware=hardware, array="4x4")
    reached = {**found.report.totals, **simulated.totals}[REACHED[kind]]
    assert reached >= factor * (1 - 1e-9)
    assert found.report.totals["dropped_weights"] > 0


def test_a_higher_gain_keeps_fewer_weights() -> None:
    dropped = [
        tightc.permute(network(), **COMBINE, budget=f"energy={factor}").report.totals["dropped_weights"]
        for factor in (4, 7, 12)
    ]
    assert dropped == sorted(set(dropped))


def test_the_bytes_are_the_same_for_any_number_of_threads() -> None:
    one, four = (
        tightc.permute(network(), **COMBINE, budget="energy=6", jobs=jobs).model.proto for jobs in (1, 4)
    )
    assert one.SerializeToString() == four.SerializeToString()


@st.composite
def layers(draw: st.DrawFn) -> list[np.ndarray]:
    """One to three small layers; their weights differ in size, so that the largest are known."""
    found = []
    for seed in draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=3)):
        rng = np.random.default_rng(seed)
        shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        values = rng.permutation(np.arange(1, math.prod(shape) + 1)).reshape(shape) * rng.choice(
            [-1, 1], shape
        )
        found.append((values * rng.choice([0.1, 1.0])).astype(np.float32))
    return found


def combined(values: np.ndarray, count: int) -> tuple[float, float]:
    """(slots, balanced saliency) of a layer combined from its `count` largest weights, in plain loops."""
    smallest = sorted(np.abs(values).ravel())[-count]
    pruned = np.where(np.abs(values) >= smallest, values, 0)
    lanes = oracle.combined_inputs(pruned, COMBINE["alpha"], COMBINE["gamma"])
    kept = oracle.combined_kept(pruned, 1, [lanes])
    squares = np.square(values, dtype=np.float64)
    balanced = math.sqrt(squares.sum()) * sum(
        square / squares[squares >= square].sum() for square in squares[kept]
    )
    return float(len(lanes) * np.count_nonzero(pruned.any(axis=1))), balanced


@settings(max_examples=100)
@given(layers(), st.sampled_from([1.1, 1.5, 2.0, 3.0]))
def test_the_network_keeps_nearly_the_most_that_the_budget_pays_for(
    weights: list[np.ndarray], factor: float
) -> None:
    """By less than two steps on the hull of a layer, against the numbers of weights that are tried first."""
    numbers = [first_tried(values.size) for values in weights]
    points = [
        [combined(values, count) for count in counts] for values, counts in zip(weights, numbers, strict=True)
    ]
    slots = sum(values.size for values in weights) / factor + 1e-6
    jobs = [
        LayerJob(str(number), lambda values=values: LayerMatrix(values), 1)
        for number, values in enumerate(weights)
    ]
    options = PermuteOptions.of({**COMBINE, "budget": f"compression={factor}"})
    if not any(sum(cost for cost, _ in taken) <= slots for taken in product(*points)):
        with pytest.raises(OptionError, match="expected a compression of at most"):
            with_kept_weights(jobs, options, no_progress)
        return
    found = with_kept_weights(jobs, options, no_progress)
    taken = [
        combined(values, job.kept) for values, job in zip(weights, found, strict=True) if job.kept is not None
    ]
    best = oracle.most_saliency_of_points(points, slots)
    value = sum(saliency for _, saliency in taken)
    assert len(taken) == len(weights)
    assert sum(cost for cost, _ in taken) <= slots
    assert value >= best - 2 * max(map(oracle.largest_step, points)) - 1e-9


def first_tried(largest: int) -> list[int]:
    """The numbers of weights that the search looks at first: each 0.6 of the one before, rounded down."""
    found = [largest]
    while math.floor(0.6 * found[-1]):
        found.append(math.floor(0.6 * found[-1]))
    return found


def test_each_layer_keeps_its_largest_weights() -> None:
    """Those that stay are among as many of the largest as were combined."""
    values = np.random.default_rng(0).standard_normal((8, 24)).astype(np.float32)
    (job,) = with_kept_weights(
        [LayerJob("one", lambda: LayerMatrix(values), 1)],
        PermuteOptions.of({**COMBINE, "budget": "compression=3"}),
        no_progress,
    )
    assert job.kept is not None
    smallest = np.sort(np.abs(values).ravel())[-job.kept]
    model = loaded(models.build(GEMM, w=values.T.copy()))
    found = tightc.permute(model, **COMBINE, budget="compression=3").model
    kept = numpy_helper.to_array(found.proto.graph.initializer[0])
    assert smallest <= np.abs(kept[kept != 0]).min()
    assert 0 < np.count_nonzero(kept) <= job.kept < values.size


GEMM = """
main (float[1,24] x) => (float[1,8] y)
<float[24,8] w>
{ y = MatMul(x, w) }
"""


def test_more_numbers_are_tried_near_the_best() -> None:
    """One layer: nearly all of the budget is spent, though the numbers tried first are far apart."""
    values = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    for factor in (2.0, 2.5, 3.0, 4.0):
        options = PermuteOptions.of({**COMBINE, "budget": f"compression={factor}"})
        (job,) = with_kept_weights([LayerJob("one", lambda: LayerMatrix(values), 1)], options, no_progress)
        slots, _ = combined(values, job.kept or 0)
        assert 0.95 < slots * factor / values.size <= 1


@pytest.mark.parametrize("density", [1, 0])
def test_an_interrupt_ends_it_without_a_result(density: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it comes when nothing is left to combine, as in a layer without weights."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threads, "wait", interrupted)
    values = density * np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
    with pytest.raises(KeyboardInterrupt):
        with_kept_weights(
            [LayerJob("one", lambda: LayerMatrix(values), 1)],
            PermuteOptions.of({**COMBINE, "budget": "compression=3"}),
            no_progress,
        )


def test_other_methods_take_no_budget() -> None:
    with pytest.raises(OptionError) as fault:
        PermuteOptions.of({"method": "tight", "budget": "energy=4"})
    assert str(fault.value) == (
        "--budget: expected method column-combine with a budget, got tight, which keeps the weights that it is given; "
        "choose column-combine, or give tightc prune --budget energy=4"
    )


def test_a_budget_out_of_reach_says_how_far_it_can_go() -> None:
    with pytest.raises(OptionError) as fault:
        tightc.permute(network(), **COMBINE, budget="energy=1000")
    found = str(fault.value)
    assert found.startswith("budget: expected an energy gain of at most ")
    most = found.partition("at most ")[2].partition(",")[0]
    assert found == (
        f"budget: expected an energy gain of at most {most}, where each layer keeps one weight, got energy=1000; "
        f"give at most energy={most}"
    )
    tightc.permute(network(), **COMBINE, budget=f"energy={most}")


@pytest.mark.parametrize("kind", ["speedup", "energy"])
def test_cycles_and_energy_need_a_size_of_the_input_that_runs(kind: str) -> None:
    """3 x 7 inputs of the matrix: no tried size is 7."""
    model = loaded(
        models.build(
            "net (float[1, 3, S] x) => (float[1, 4] y) { f = Flatten(x)\n y = MatMul(f, w) }",
            w=models.sparse(21, 4),
        )
    )
    with pytest.raises(ModelError, match="the size of input x is open"):
        tightc.permute(model, **COMBINE, budget=f"{kind}=2")
    tightc.permute(model, **COMBINE, budget=f"{kind}=2", input_shape="x=1x3x7")
    tightc.permute(model, **COMBINE, budget="compression=2")


def test_an_assumed_size_of_the_input_is_told() -> None:
    proto = models.cnn()
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    found = tightc.permute(loaded(proto), **COMBINE, budget="energy=4")
    assert any("the size of input image is open (Bx3xsidexside)" in note for note in found.report.notes)
