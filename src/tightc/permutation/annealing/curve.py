"""Annealing curves: how the cost of a layer's plan falls while its blocks are annealed, for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.annealing.anneal import Annealed
from tightc.permutation.annealing.kernel import EXCESS_COST

MOST_POINTS = 500  # of all layers of a model together
_ENDS = 2  # points that a curve has at least: where it starts, and what was kept

Points = NDArray[np.int64]


@dataclass(frozen=True)
class AnnealingCurve:
    """The cost of a layer's plan as its weights are moved; each array is (points,).

    `moves`: int64, moves tried by then, in all blocks. `cost`: float64, `excess` + 1/4 of the inputs carried.
    `excess`: int64, inputs beyond the fan-in. A point is the state of all blocks after so many moves; where blocks are
    annealed again the cost rises, and the last point is the state that was kept.
    """

    moves: Points
    cost: NDArray[np.float64]
    excess: Points

    def thinned(self, points: int) -> dict[str, list[int] | list[float]]:
        """At most `points` of its points, two or more, with the first and the last, as JSON."""
        last = len(self.moves) - 1
        chosen = np.unique(np.linspace(0, last, min(points, last + 1)).round().astype(np.int64))
        return {
            "moves": self.moves[chosen].tolist(),
            "cost": self.cost[chosen].tolist(),
            "excess": self.excess[chosen].tolist(),
        }


class CurveRecorder:
    """Adds up the traces of a plan's blocks, which are annealed in one round or in several."""

    def __init__(self, fan_in: int) -> None:
        self._fan_in = fan_in
        self._rounds: list[Points] = []
        self._held: dict[int, Points] = {}  # (cost in quarters, excess) that each block was left with
        self._moves = 0  # of the rounds before

    def add(self, numbers: Sequence[int], annealed: Sequence[Annealed], *, best: bool = False) -> None:
        """A round in which the blocks `numbers` were annealed; with `best`, a worse result is not kept."""
        traces = [self._trace(found) for found in annealed]
        if best:
            for number, trace in zip(numbers, traces, strict=True):
                trace[-1, 1:] = min(self._held[number], trace[-1, 1:], key=lambda held: int(held[0]))
        others = np.zeros(2, np.int64)
        for number in self._held.keys() - set(numbers):
            others += self._held[number]
        points = max(map(len, traces))
        total = np.zeros((points, 3), np.int64)
        for trace in traces:
            # blocks that ended early, or have fewer weights than there are temperatures, have fewer points
            total += trace[np.minimum(np.arange(points), len(trace) - 1)]
        total[:, 0] += self._moves
        total[:, 1:] += others
        self._rounds.append(total)
        self._moves = int(total[-1, 0])
        self._held |= {number: trace[-1, 1:] for number, trace in zip(numbers, traces, strict=True)}

    def _trace(self, found: Annealed) -> Points:
        """Its points, (points, 3), the last with the state that is kept."""
        trace = found.trace.copy() if len(found.trace) else np.zeros((1, 3), np.int64)
        trace[-1, 1:] = found.cost(self._fan_in), found.excess(self._fan_in).sum()
        return trace

    def curve(self) -> AnnealingCurve:
        """The curve of all rounds."""
        moves, cost, excess = np.concatenate(self._rounds).T
        return AnnealingCurve(moves, cost / EXCESS_COST, excess)


def thin(
    curves: Mapping[str, AnnealingCurve], weights: Mapping[str, int]
) -> dict[str, dict[str, list[int] | list[float]]]:
    """At most MOST_POINTS points of all `curves`, spread by the `weights` of the layers, as JSON.

    Every curve has two points at least; of more than MOST_POINTS / 2 curves, those of the largest layers are kept.
    """
    largest = sorted(curves, key=lambda name: -weights[name])[: MOST_POINTS // _ENDS]
    total = max(1, sum(weights[name] for name in largest))
    spare = MOST_POINTS - _ENDS * len(largest)
    kept = {name: _ENDS + spare * weights[name] // total for name in largest}
    return {name: curve.thinned(kept[name]) for name, curve in curves.items() if name in kept}
