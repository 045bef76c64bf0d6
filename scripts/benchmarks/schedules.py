"""The temperature schedules side by side, all with the same number of moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measuring import ARRAY, Matrices, permuted
from benchmarks.networks import RESNET20_BN, SYNTHETIC, matrices, missing, synthetic
from benchmarks.page import SEED, Page
from tightc.config.yaml import read_options
from tightc.permutation.annealing.anneal import AnnealSettings, anneal
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.permutation.methods.tight.partition import partition
from tightc.permutation.methods.tight.plan import balanced_plan
from tightc.tile.bounds import passes_lower_bound
from tightc.tile.matrix import LayerMatrix

TITLE = "Temperature schedules with the same number of moves"
_FILES = Path(__file__).resolve().parents[2] / "configs" / "schedules"
_FULL = 0.92  # of what a tile carries, what a group of filters may read: as the search plans


@dataclass(frozen=True)
class _Problem:
    name: str
    fan_in: int
    layers: Matrices


@dataclass(frozen=True)
class _Score:
    """Means over the seeds."""

    above: float
    excess: float
    inputs: float
    seconds: float


def run(page: Page) -> None:
    """A table for each number of moves, and which schedule is ahead."""
    seeds = ", ".join(map(str, _seeds(page.quick)))
    page.text(
        "The files of configs/schedules, and a linear schedule with the usual temperatures, each with the moves named "
        f"instead of its own. Means over the seeds {seeds}. Above: passes beyond the bound after the whole search. "
        "Excess: inputs beyond the fan-in after the balanced plan of as many passes as the bound is annealed once. "
        f"{SYNTHETIC}"
    )
    if missing(RESNET20_BN):
        page.text(missing(RESNET20_BN))
    problems = _problems(page.quick)
    for moves in (20,) if page.quick else (500,):
        page.text(f"### {moves} moves for each weight")
        page.head("problem", "schedule", "above", "excess", "lane inputs", "seconds")
        scores: dict[str, list[_Score]] = {}
        for problem in problems:
            for name, schedule in _schedules().items():
                score = _score(problem, schedule.model_copy(update={"moves_per_weight": moves}), page.quick)
                scores.setdefault(name, []).append(score)
                page.row(problem.name, name, score.above, score.excess, score.inputs, score.seconds)
        page.end()
        page.text(_ranking(scores))


def _ranking(scores: dict[str, list[_Score]]) -> str:
    """Which schedules are ahead over all problems: by passes, then by excess, with equal say for every problem."""
    names = list(scores)
    passes = np.array([sum(score.above for score in scores[name]) for name in names])
    excess = np.array([[score.excess for score in scores[name]] for name in names])
    relative = (excess / np.maximum(excess.mean(axis=0), 1e-9)).mean(axis=1)
    order = np.lexsort((relative, passes.round(9)))
    lines = [
        f"{i}. {names[k]}: {passes[k]:.2f} above, excess {relative[k]:.2f}" for i, k in enumerate(order, 1)
    ]
    return (
        "All problems together, fewest passes above the bound first, then least excess. Excess is relative to the "
        f"problem's mean. Least excess: {names[int(np.argmin(relative))]}.\n\n" + "\n".join(lines)
    )


def _schedules() -> dict[str, TemperatureSchedule]:
    found = {path.stem: read_options(path, TemperatureSchedule) for path in sorted(_FILES.glob("*.yaml"))}
    return {**found, "linear": TemperatureSchedule(kind="linear")}


def _seeds(quick: bool) -> tuple[int, ...]:
    return (SEED,) if quick else (SEED, SEED + 1)


def _problems(quick: bool) -> list[_Problem]:
    if quick:
        return [_Problem("64x576 at 0.1, fan-in 8", 8, {"layer": synthetic(64, 576, 0.1)})]
    resnet = (
        []
        if missing(RESNET20_BN)
        else [_Problem("ResNet-20-bn at 0.9, fan-in 8", 8, matrices(RESNET20_BN, 0.9))]
    )
    return [
        *resnet,
        _Problem("128x1152 at 0.05, fan-in 7", 7, {"layer": synthetic(128, 1152, 0.05)}),
        _Problem("256x1024 at 0.05, fan-in 7", 7, {"layer": synthetic(256, 1024, 0.05)}),
    ]


def _score(problem: _Problem, schedule: TemperatureSchedule, quick: bool) -> _Score:
    scores = []
    for seed in _seeds(quick):
        found = permuted(problem.layers, seed, fan_in=problem.fan_in, temp_schedule=schedule)
        total = found.total
        excess = sum(_excess(layer, problem.fan_in, schedule, seed) for layer in problem.layers.values())
        above = total.passes - total.passes_lower_bound
        scores.append((above, excess, total.lane_inputs, found.seconds))
    return _Score(*(float(mean) for mean in np.mean(scores, axis=0)))


def _excess(matrix: LayerMatrix, fan_in: int, schedule: TemperatureSchedule, seed: int) -> int:
    """Inputs beyond the fan-in after the balanced plan is annealed once."""
    filters, inputs = matrix.nonzeros()
    passes = passes_lower_bound(matrix.filter_sizes(), ARRAY)
    planning, annealing = np.random.SeedSequence([SEED, seed]).spawn(2)
    state = np.uint64(planning.generate_state(1, np.uint64)[0])
    plan = balanced_plan(FilterSet.of(filters, inputs), ARRAY, passes, _FULL * fan_in * ARRAY.rows, state)
    blocks = partition(plan, filters, inputs)
    settings = [AnnealSettings(fan_in, schedule, own) for own in annealing.spawn(len(blocks))]
    found = (anneal(block, own) for block, own in zip(blocks, settings, strict=True))
    return sum(int(one.excess(fan_in).sum()) for one in found)
