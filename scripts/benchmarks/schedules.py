"""Kinds of annealing and temperatures compared, all with the same number of moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.annealing_kinds import KINDS, Kind, annealed_by
from benchmarks.measuring import ARRAY, Matrices, permuted
from benchmarks.networks import RESNET20_BN, SYNTHETIC, matrices, missing, synthetic
from benchmarks.page import SEED, Page
from tightc.permutation.annealing.anneal import AnnealSettings, anneal
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.permutation.methods.tight.partition import partition
from tightc.permutation.methods.tight.plan import balanced_plan, passes_for
from tightc.tile.bounds import passes_lower_bound
from tightc.tile.matrix import LayerMatrix

TITLE = "Temperature schedules with the same number of moves"
_SEEDS = 5
_SEEDS_OF_SCAN = 2
_AMPLE = 16  # a fan-in at which every kind meets the bound
_FULL = 0.92  # of what a tile carries, what a group of filters may read: as the search plans
_HOPELESS = 1.05  # times the fan-in that the lanes of a plan may need: as the search plans
_EXPECTED = (
    "Expected, before the first run: geometric, linear and Lundy-Mees within each other's spread, linear ahead by "
    "little; adaptive, reheats and an automatic start no better. Tempering and restarts divide their moves among "
    "several states, and are expected to be worse in most pairs."
)
_USUAL = TemperatureSchedule(t_start=0.3, t_end=0.03)  # as in versions up to 0.3
_TEMPERATURES = [(hot, cold) for hot in (0.15, 0.3, 0.6) for cold in (0.015, 0.03, 0.06)]


@dataclass(frozen=True)
class _Problem:
    name: str
    fan_in: int
    layers: Matrices


@dataclass(frozen=True)
class _Score:
    """Of one problem and seed: passes above the bound, excess, lane inputs, seconds."""

    above: int
    excess: int
    inputs: int
    seconds: float


_Scores = list[list[_Score]]  # (problems, seeds)
Variant = tuple[Kind | None, TemperatureSchedule]


def _scan(usual: TemperatureSchedule) -> dict[str, Variant]:
    """Linear falls between other temperatures and of other steps, and geometric ones with a hotter end."""
    changes: dict[str, dict[str, float]] = {
        f"{hot} to {cold}": {"t_start": hot, "t_end": cold}
        for hot, cold in ((0.3, 0.03), (0.3, 0.005), *_TEMPERATURES)
    }
    changes |= {f"{steps} steps": {"steps": steps} for steps in (15, 100)}
    scan: dict[str, Variant] = {name: (None, usual.model_copy(update=one)) for name, one in changes.items()}
    for cold in (0.06, 0.1):
        scan[f"geometric, 0.3 to {cold}"] = (KINDS["geometric"], usual.model_copy(update={"t_end": cold}))
    return scan


def run(page: Page) -> None:
    """A table for the kinds, and one for the temperatures."""
    problems = _problems(page.quick)
    usual = _USUAL.model_copy(update={"moves_per_weight": 20}) if page.quick else _USUAL
    page.text(
        f"{usual.moves_per_weight} moves for each weight, whatever the schedule. Problems: "
        f"{'; '.join(problem.name for problem in problems[:-1])}. {SYNTHETIC}"
    )
    if missing(RESNET20_BN):
        page.text(missing(RESNET20_BN))
    page.text(
        "Above: passes beyond the bound after the whole search. Excess: inputs beyond the fan-in after the first "
        "balanced plan of the search is annealed once, relative to the first line, with equal weight for every "
        "problem. Passes, lane inputs and seconds are sums over the problems. Ample: lane inputs of the last problem "
        f"at fan-in {_AMPLE}, where all meet the bound. All are means over the seeds, ± the "
        "standard deviation. < / >: in how many pairs of problem and seed a line has less, and in how many more, than "
        "the first line."
    )
    page.text("### Kinds")
    page.text(_EXPECTED)
    for kind in KINDS.values():  # compiles the kernels
        _score(_Problem("warm", 2, {"layer": synthetic(16, 144, 0.1)}), kind, usual, SEED)
    kinds: dict[str, Variant] = {name: (kind, usual) for name, kind in KINDS.items()}
    page.text(_got(_compared(page, problems, 2 if page.quick else _SEEDS, kinds)))
    page.text("### Temperatures and steps")
    _compared(page, problems, _SEEDS_OF_SCAN, _scan(usual))


def _problems(quick: bool) -> list[_Problem]:
    """Problems with a scarce fan-in, then one with an ample fan-in."""
    shapes = ((64, 576, 0.1, 6),) if quick else ((64, 576, 0.1, 6), (128, 1152, 0.05, 7))
    scarce = []
    for filters, inputs, density, fan_in in shapes:
        layers = {"layer": synthetic(filters, inputs, density)}
        scarce.append(_Problem(f"{filters}x{inputs} at {density}, fan-in {fan_in}", fan_in, layers))
    if quick or missing(RESNET20_BN):
        return [*scarce, _Problem("the last", _AMPLE, scarce[-1].layers)]
    pruned = matrices(RESNET20_BN, 0.9)
    networks = [
        _Problem(f"ResNet-20-bn at 0.9, fan-in {fan_in}", fan_in, pruned) for fan_in in (2, 4, 6, _AMPLE)
    ]
    return [*scarce, *networks]


def _compared(
    page: Page, problems: list[_Problem], seeds: int, variants: Mapping[str, Variant]
) -> dict[str, _Scores]:
    """Writes the table of `variants`; returns the scores of each, (problems, seeds)."""
    scores: dict[str, _Scores] = {name: [] for name in variants}
    for problem in problems:
        found: dict[str, list[_Score]] = {name: [] for name in variants}
        for seed in range(SEED, SEED + seeds):
            for name, (kind, schedule) in variants.items():
                found[name].append(_score(problem, kind, schedule, seed))
        for name in variants:
            scores[name].append(found[name])
    page.text(f"Seeds {SEED} to {SEED + seeds - 1}.")
    page.head("variant", "above", "excess", "lane inputs", "ample", "seconds", "passes < / >", "excess < / >")
    first, _ = _values(next(iter(scores.values())))
    for name, own in scores.items():
        values, ample = _values(own)
        excess = (values[1] / np.maximum(1, first[1].mean(axis=1, keepdims=True))).mean(axis=0)
        above, inputs, seconds = (values[i].sum(axis=0) for i in (0, 2, 3))
        page.row(
            name,
            _spread(above, 1),
            _spread(100 * excess, 1) + " %",
            _spread(inputs, 0),
            _spread(ample[2], 0),
            _spread(seconds, 1),
            *(_pairs(values[i], first[i]) for i in (0, 1)),
        )
    page.end()
    return scores


def _values(scores: _Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The fields of the problems with a scarce fan-in, (4, problems, seeds), and of the other, (4, seeds)."""
    whole = np.moveaxis(np.array([[astuple(score) for score in one] for one in scores], np.float64), 2, 0)
    return whole[:, :-1], whole[:, -1]


def _spread(values: NDArray[np.float64], digits: int) -> str:
    return f"{values.mean():,.{digits}f} ± {values.std(ddof=1):,.{digits}f}"


def _pairs(values: NDArray[np.float64], first: NDArray[np.float64]) -> str:
    return f"{int((values < first).sum())} / {int((values > first).sum())}"


def _got(scores: dict[str, _Scores]) -> str:
    """What came of it, in two sentences."""
    values = {name: _values(own)[0] for name, own in scores.items()}
    above = {name: own[0].sum(axis=0).mean() for name, own in values.items()}
    first, *others = values
    order = sorted(above, key=above.__getitem__)
    ahead = [
        name
        for name in others
        if (values[name][1] < values[first][1]).sum() > (values[name][1] > values[first][1]).sum()
    ]
    passes = ", ".join(f"{name} {above[name]:.1f}" for name in order)
    return (
        f"Found: passes above the bound are {passes}. Less excess than {first} in most pairs have "
        f"{', '.join(ahead) or 'none'}."
    )


def _score(problem: _Problem, kind: Kind | None, schedule: TemperatureSchedule, seed: int) -> _Score:
    with annealed_by(kind):
        found = permuted(problem.layers, seed, fan_in=problem.fan_in, temp_schedule=schedule)
        layers = problem.layers.values() if problem.fan_in < _AMPLE else ()
        excess = sum(_excess(layer, problem.fan_in, schedule, seed) for layer in layers)
    total = found.total
    return _Score(total.passes - total.passes_lower_bound, excess, total.lane_inputs, found.seconds)


def _excess(matrix: LayerMatrix, fan_in: int, schedule: TemperatureSchedule, seed: int) -> int:
    """Inputs beyond the fan-in after the first balanced plan is annealed once."""
    filters, inputs = matrix.nonzeros()
    filter_set = FilterSet.of(filters, inputs)
    passes = max(
        passes_lower_bound(matrix.filter_sizes(), ARRAY), passes_for(filter_set, ARRAY, _HOPELESS * fan_in)[0]
    )
    planning, annealing = np.random.SeedSequence([SEED, seed]).spawn(2)
    state = np.uint64(planning.generate_state(1, np.uint64)[0])
    plan = balanced_plan(filter_set, ARRAY, passes, _FULL * fan_in * ARRAY.rows, state)
    blocks = partition(plan, filters, inputs)
    settings = [AnnealSettings(fan_in, schedule, own) for own in annealing.spawn(len(blocks))]
    found = (anneal(block, own) for block, own in zip(blocks, settings, strict=True))
    return sum(int(one.excess(fan_in).sum()) for one in found)
