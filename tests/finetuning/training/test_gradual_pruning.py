"""Gradual pruning: the density at every step and at the end, and which weights may return."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import cos, pi
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from helpers import training
from helpers.small_accelerator import QUICK
from tightc.errors import OptionError
from tightc.finetuning.network.masks import Masks
from tightc.model.file import Model
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.report import Report
from tightc.selection.regrow import regrown
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

STEPS = 12  # 3 epochs of 64 images in batches of 16
Snapshots = list[list[np.ndarray]]


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshots]:
    """The nonzero weights after each step, layer by layer."""
    seen: Snapshots = []
    update = Masks.mask_update

    def watching(self: Masks, optimizer: Any) -> None:
        update(self, optimizer)
        seen.append([(weight != 0).numpy().copy() for weight in self.weights])

    with monkeypatch.context() as patch:
        patch.setattr(Masks, "mask_update", watching)
        yield seen


def pruned(
    which: str, monkeypatch: pytest.MonkeyPatch, density: float = 1.0, **options: Any
) -> tuple[Model, Report, Snapshots]:
    with watched(monkeypatch) as seen:
        after, report = training.train(training.network(which, density), **options)
    assert len(seen) == STEPS
    return after, report, seen


def total(which: str) -> int:
    return sum(training.tensors(training.network(which))[name].size for name in training.WEIGHTS[which])


ENDS: dict[str, dict[str, Any]] = {
    "soon": {"pruning_end": 0.25},
    "at once": {"pruning_end": 0.0},
    "at the very end": {"pruning_end": 1.0},
    "late and rarely": {"pruning_start": 0.4, "pruning_end": 0.6, "pruning_interval": 100},
    "one-shot in the middle": {"pruning_schedule": "one-shot", "pruning_start": 0.5, "pruning_end": 0.5},
    "regrown to the end": {"regrow": 0.3, "regrow_end": 1.0},
    "regrown for longer": {"regrow": 0.3, "pruning_end": 0.3, "regrow_end": 0.7},
    "regrown for less time": {"regrow": 0.3, "pruning_end": 0.8, "regrow_end": 0.4},
    "ema": {"ema_decay": 0.8},
    "best epoch": {"validation": 16, "batch_size": 12},
    "best ema, bn recalibration": {
        "validation": 16, "batch_size": 12, "ema_decay": 0.8, "bn_recalibration_images": 24,
    },
    "adamw": {"optimizer": "adamw", "learning_rate": 0.005, "regrow": 0.3},
    "bfloat16": {"dtype": "bfloat16", "regrow": 0.3},
}  # fmt: skip


@pytest.mark.parametrize("which", ["folded", "grouped", "shared"])
@pytest.mark.parametrize("end", ENDS)
def test_the_final_sparsity_is_exact(which: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    after, report, _ = pruned(which, monkeypatch, sparsity=0.77, **ENDS[end])
    wanted = total(which) - round(0.77 * total(which))
    assert sum(training.counts(after, which).values()) == wanted
    assert report.totals["nonzeros"] == wanted
    assert report.totals["density"] == pytest.approx(wanted / total(which))
    assert report.totals["zeros_kept"] == 0


def test_layer_scope_meets_the_sparsity_in_each_layer() -> None:
    after, _ = training.train(training.network("grouped"), sparsity=0.6, scope="layer")
    for name, left in training.counts(after, "grouped").items():
        size = training.tensors(after)[name].size
        assert left == size - round(0.6 * size)


def test_skipped_layers_keep_their_density_and_do_not_count() -> None:
    after, _ = training.train(training.network("grouped"), sparsity=0.9, skip=("first", "l*"), regrow=0.2)
    left = training.counts(after, "grouped")
    assert (left["first_w"], left["last_v"]) == (72, 128)
    assert left["grouped_w"] == 288 - round(0.9 * 288)


def test_no_layer_falls_below_its_minimum_density() -> None:
    model = training.network("grouped")
    weak = training.tensors(model)["grouped_w"] * np.float32(1e-3)
    given_weak = model.with_tensors({"grouped_w": weak})
    options = {
        "sparsity": 0.9,
        "learning_rate": 1e-5,
        "pruning_schedule": "one-shot",
        "regrow": 0.4,
        "unfold_batchnorm": False,
    }
    without, _ = training.train(given_weak, **options)
    floored, _ = training.train(given_weak, **options, min_density=0.5)
    assert training.counts(without, "grouped")["grouped_w"] == 1
    assert training.counts(floored, "grouped")["grouped_w"] == round(0.5 * 0.1 * 288)
    assert sum(training.counts(floored, "grouped").values()) == sum(
        training.counts(without, "grouped").values()
    )


# weight: its groups, and the input vectors of each layer that uses it, for a batch of one
STREAMS = {
    "first_w": (1, [64]), "grouped_w": (2, [64]), "shared_w": (1, [64, 64]), "last_w": (1, [1]), "last_v": (1, [1]),
}  # fmt: skip


def unit_costs(
    which: str, kind: str, rows: int, columns: int
) -> tuple[dict[str, float], dict[str, float], int]:
    """Cost of a unit of each layer, cost of all its weights, and segments per unit."""
    unit: dict[str, float] = {}
    dense: dict[str, float] = {}
    for name in training.WEIGHTS[which]:
        filters, inputs = training.matrix(name, training.tensors(training.network(which))[name]).shape
        groups, streams = STREAMS[name]
        if kind == "speedup":
            unit[name] = sum(2 * rows + columns - 2 + vectors for vectors in streams)
            blocks = oracle.dense_blocks(filters // groups, inputs, groups, (rows, columns))
            dense[name] = unit[name] * len(blocks)
        else:
            unit[name], dense[name] = min(rows, inputs), filters * inputs
    return unit, dense, columns if kind == "speedup" else 1


@pytest.mark.parametrize("which", ["folded", "grouped", "shared"])
@pytest.mark.parametrize("budget", ["compression=3", "compression=1.7", "speedup=2", "speedup=3.5"])
@pytest.mark.parametrize("align", ["4x2", "3x3"])
@pytest.mark.parametrize("regrow", [0.0, 0.3])
def test_a_budget_is_met_in_full_segments_at_the_end(
    which: str, budget: str, align: str, regrow: float
) -> None:
    rows, columns = map(int, align.split("x"))
    kind, factor = budget.split("=")
    options = {"align": align, "budget": budget, "regrow": regrow, "pruning_interval": 3, "ema_decay": 0.7}
    after, _ = training.train(training.network(which), **options)
    unit, dense, size = unit_costs(which, kind, rows, columns)
    spent = 0.0
    for name in training.WEIGHTS[which]:
        kept = training.matrix(name, training.tensors(after)[name]) != 0
        sizes = kept.sum(axis=1).tolist()
        assert all(count % rows == 0 or count == kept.shape[1] for count in sizes)
        parts = sum(-(-count // rows) for count in sizes)
        spent += unit[name] * -(-parts // size)
    allowed = sum(dense.values()) / float(factor)
    assert allowed - max(unit.values()) < spent <= allowed + 1e-6


def test_a_budget_that_cannot_be_met_is_refused_before_any_training() -> None:
    def must_not_run(*_: object) -> None:
        raise AssertionError("it trains")

    with pytest.raises(OptionError) as fault:
        training.train(training.network("folded"), progress=must_not_run, align="9x8", budget="speedup=9")
    assert str(fault.value) == (
        "--budget: expected a speedup of at most 1.66, where each layer keeps one tile or its minimum density, got "
        "speedup=9; give at most speedup=1.66"
    )


def test_sparsity_counts_initial_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    before = training.network("folded", density=0.4)
    after, report, seen = pruned("folded", monkeypatch, 0.4, sparsity=0.7, regrow=0.5, regrow_end=1.0)
    assert report.totals["nonzeros"] == total("folded") - round(0.7 * total("folded"))
    for index, name in enumerate(training.WEIGHTS["folded"]):
        zero = training.tensors(before)[name] == 0
        assert not any((kept[index] & zero).any() for kept in seen)
        assert not training.tensors(after)[name][zero].any()


@pytest.mark.parametrize(
    ("which", "options"),
    [
        ("grouped", {"granularity": "filter", "sparsity": 0.6}),
        ("folded", {"align": "4x2", "budget": "compression=3"}),
    ],
)
def test_initial_zeros_save_no_filter_or_segment(
    which: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = sum(training.counts(training.network(which, density=0.5), which).values())
    _, report, seen = pruned(which, monkeypatch, 0.5, regrow=0.0, pruning_schedule="linear", **options)
    left = [sum(int(layer.sum()) for layer in kept) for kept in seen]
    assert left[0] == sparse > report.totals["nonzeros"]
    assert left == sorted(left, reverse=True)


def share_at(schedule: str, done: float, start: float, end: float) -> float:
    if schedule == "one-shot" or done >= 1:
        return end
    return end + (start - end) * (1 - done) ** {"cubic": 3, "linear": 1}[schedule]


@pytest.mark.parametrize("schedule", ["cubic", "linear", "one-shot"])
@pytest.mark.parametrize(
    ("begin", "until", "every"), [(0.0, 0.5, 2), (0.25, 0.75, 1), (0.25, 0.8, 4), (0.0, 1.0, 3)]
)
@pytest.mark.parametrize("density", [1.0, 0.6])
def test_density_follows_the_pruning_schedule(
    schedule: str, begin: float, until: float, every: int, density: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "pruning_schedule": schedule,
        "pruning_start": begin,
        "pruning_end": until,
        "pruning_interval": every,
    }
    _, _, seen = pruned("folded", monkeypatch, density, sparsity=0.8, regrow=0.0, **options)
    weights = total("folded")
    used = sum(training.counts(training.network("folded", density), "folded").values())
    first, last = round(begin * STEPS), round(until * STEPS)
    wanted = used
    for step, kept in enumerate(seen):
        if step >= first and (step == last or (step < last and (step - first) % every == 0)):
            share = share_at(schedule, (step - first) / (last - first), used / weights, 1 - 0.8)
            wanted = weights - round((1 - share) * weights)
        assert sum(int(layer.sum()) for layer in kept) == wanted, step


def test_regrowing_does_not_delay_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"pruning_end": 0.5, "regrow": 0.2, "regrow_end": 1.0, "pruning_interval": 5}
    _, _, seen = pruned("folded", monkeypatch, sparsity=0.8, **options)
    left = [sum(int(layer.sum()) for layer in kept) for kept in seen]
    wanted = total("folded") - round(0.8 * total("folded"))
    assert left[STEPS // 2 - 1] > wanted
    assert left[STEPS // 2 :] == [wanted] * (STEPS // 2)


def returned(seen: Snapshots, since: int = 0) -> list[int]:
    """The steps after which a weight is nonzero that was zero one step earlier."""
    pairs = list(pairwise(seen))
    return [
        step
        for step, (before, after) in enumerate(pairs, start=1)
        if step >= since and any((new & ~old).any() for old, new in zip(before, after, strict=True))
    ]


WITHOUT_RETURN: dict[str, dict[str, Any]] = {
    "single": {"sparsity": 0.8},
    "in segments": {"sparsity": 0.8, "align": "4x2"},
    "by area": {"align": "8x2", "budget": "compression=3"},
    "by cycles": {"align": "3x2", "budget": "speedup=3"},
    "by energy of tiles of two heights": {"align": "4x3", "budget": "energy=1.5", "tile_heights": (4, 2)},
    "by cycles, balanced": {"align": "3x2", "budget": "speedup=3", "criterion": "balanced"},
    "by cycles of small tiles": {"align": "2x3", "budget": "speedup=2.5"},
}  # fmt: skip


@pytest.mark.parametrize("which", ["folded", "grouped", "shared"])
@pytest.mark.parametrize("variant", WITHOUT_RETURN)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_pruned_weights_never_return_without_regrowing(
    which: str, variant: str, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "pruning_interval": 1,
        "pruning_end": 1.0,
        "pruning_schedule": "linear",
        "regrow": 0.0,
        "optimizer": optimizer,
    }
    _, _, seen = pruned(which, monkeypatch, learning_rate=0.1, **options, **WITHOUT_RETURN[variant])
    assert returned(seen) == []
    assert sum(int(layer.sum()) for layer in seen[-1]) < sum(int(layer.sum()) for layer in seen[0])


def test_weights_with_large_gradients_return_until_regrowing_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All pruning happens in the first step; every second step then exchanges fewer weights."""
    options = {
        "pruning_schedule": "one-shot",
        "pruning_interval": 2,
        "pruning_end": 0.0,
        "regrow": 0.5,
        "regrow_end": 0.75,
    }
    _, _, seen = pruned("grouped", monkeypatch, sparsity=0.5, **options)
    # the fraction follows half a cosine, rounded down per filter: the last exchange is empty
    assert returned(seen) == [2, 4, 6]
    exchanged = [
        sum(int((new & ~old).sum()) for old, new in zip(seen[step - 1], seen[step], strict=True))
        for step in (2, 4, 6)
    ]
    assert exchanged == sorted(exchanged, reverse=True) and exchanged[0] > exchanged[-1] > 0
    for before, after in pairwise(seen):
        for old, new in zip(before, after, strict=True):
            assert old.sum() == new.sum()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=9),
    st.sampled_from([0.0, 0.2, 0.5, 0.99]),
)
def test_the_least_salient_weights_are_exchanged_for_zeros_of_the_largest_gradient(
    filter_: list[tuple[int, bool, int]], share: float
) -> None:
    saliencies, kept, pulls = map(list, zip(*filter_, strict=True))
    rows = [(saliencies, kept, pulls), (saliencies[::-1], kept[::-1], pulls[::-1])]
    found = regrown(
        *(np.array([row[i] for row in rows], kind) for i, kind in enumerate((float, bool, float))), share
    )
    assert found.tolist() == [oracle.regrown(*row, share) for row in rows]
    assert (found.sum(axis=1) == sum(kept)).all()


def test_the_regrown_fraction_falls_as_half_a_cosine() -> None:
    from tightc.finetuning.training.pruning_schedule import regrow_fraction

    for step in range(9):
        assert regrow_fraction(step, 8, 0.4) == pytest.approx(0.2 * (1 + cos(pi * step / 8)))
    assert regrow_fraction(9, 8, 0.4) == regrow_fraction(0, 0, 0.4) == regrow_fraction(0, -3, 0.4) == 0.0


@pytest.mark.parametrize("which", ["folded", "grouped", "shared"])
def test_the_simulator_counts_the_energy_of_the_budget_after_training(which: str) -> None:
    after, _ = training.train(training.network(which), align="4x4", budget="energy=1.8", fan_in=8)
    array = ArrayShape(4, 4)
    options = PermuteOptions(array=array, fan_in=8, jobs=1, objective="energy", temp_schedule=QUICK)
    permuted, _ = permute(after, options)
    gain = simulate(permuted, SimulateOptions(array=array)).totals["energy_gain"]
    assert gain == pytest.approx(1.8, rel=0.15)


@pytest.mark.parametrize(
    "options", [{"align": "4x4"}, {"align": "4x4", "scope": "layer"}, {"granularity": "filter"}]
)
def test_a_network_that_is_sparse_already_is_not_pruned_beyond_the_sparsity(options: dict[str, Any]) -> None:
    before = training.network("folded", density=0.4)
    given = sum(training.counts(before, "folded").values())
    after, report = training.train(before, sparsity=0.5, **options)
    assert sum(training.counts(after, "folded").values()) == report.totals["nonzeros"] == given
    _, report = training.train(before, sparsity=0.7, **options)
    assert report.totals["density"] <= 0.3 + 1e-9
    if "align" in options:  # to within a segment of each layer
        weights = given / training.train(before)[1].totals["density"]
        assert report.totals["nonzeros"] > 0.3 * weights - 4 * len(training.WEIGHTS["folded"])
