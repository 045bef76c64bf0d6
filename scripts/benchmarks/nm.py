"""N:M sparsity with the inputs in annealed order."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.page import SEED, Page
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.methods.nm.pack import efficacy, find_order
from tightc.permutation.pattern import TWO_OF_FOUR

TITLE = "N:M: 2:4 with permuted inputs"
_LONGER = 100


def run(page: Page) -> None:
    """Five matrices, a short and a long run of each."""
    usual = TemperatureSchedule()
    longer = 3 if page.quick else _LONGER
    long = usual.model_copy(update={"moves_per_weight": longer * usual.moves_per_weight})
    page.text(
        "Matrices of 128x64, uniform in [0, 1]. Efficacy is defined as in the README of NVIDIA's apex "
        "permutation_tests: the magnitude that the permutation gains over the given order, relative to the largest "
        f"gain that any choice of half of each row has. The long run has {longer} times the moves. Both use one core."
    )
    page.head("matrix", "efficacy", "seconds", "efficacy, long", "seconds, long", "short / long")
    _order(np.random.default_rng(SEED).random((16, 16)), usual, 0)
    ratios, slowest = [], 0.0
    for number in range(2 if page.quick else 5):
        values = np.random.default_rng([SEED, number]).random((128, 64))
        (short, took), (best, whole) = (_order(values, schedule, number) for schedule in (usual, long))
        ratios.append(short / best)
        slowest = max(slowest, took)
        page.row(number, f"{short:.2%}", took, f"{best:.2%}", whole, f"{short / best:.2%}")
    page.end()
    page.text(
        f"Short over long: {min(ratios):.2%} at least, {np.mean(ratios):.2%} on average; {slowest:.2f} s at most."
    )


def _order(values: np.ndarray, schedule: TemperatureSchedule, number: int) -> tuple[float, float]:
    """(efficacy, seconds) of one search."""
    seed = np.random.SeedSequence([SEED, number])
    began = time.perf_counter()
    order = find_order(values, TWO_OF_FOUR, schedule, seed)
    seconds = time.perf_counter() - began
    return efficacy(values, order, TWO_OF_FOUR), seconds
