"""The trace that an engine records on request: the events of every cycle of every pass."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tightc.simulation.engine.loaded_tile import LoadedTile
from tightc.simulation.engine.stationary import LANE_WORDS, LOG_COLUMNS, MACS, STEPS_BEGUN, SUMS_OUT

Phase = Literal["load", "stream"]


@dataclass(frozen=True)
class Trace:
    """One phase of a pass: its `log`, (cycles, LOG_COLUMNS) int64, with the array, temporal tile and tile it is of."""

    array: int
    temporal_tile: int
    tile: int
    phase: Phase
    log: NDArray[np.int64]


Traces = list[Trace]


def new_log(cycles: float, traces: Traces | None) -> NDArray[np.int64]:
    """A log with room for `cycles` and a few more; without lines where `traces` is None."""
    return np.zeros((0 if traces is None else ceil(cycles) + 2, len(LOG_COLUMNS)), np.int64)


def remove_padding(log: NDArray[np.int64], tile: LoadedTile, steps: int, replicas: int) -> None:
    """Removes from `log` the events of idle replicas in the last step of a temporal tile.

    The `steps` of a temporal tile are divided among `replicas` of `tile`; in the last one some have no step left.
    """
    idle = -steps % replicas
    if not idle or not len(log):
        return
    last_step = int(np.flatnonzero(log[:, STEPS_BEGUN])[-1])
    busy = len(tile.outputs) // replicas * (replicas - idle)  # columns of the replicas that have a step
    lane, column = np.nonzero(tile.used)
    lane, column = lane[column >= busy], column[column >= busy]
    rows = np.unique(lane)
    log[last_step + rows, LANE_WORDS] -= np.diff(tile.starts)[rows]
    np.subtract.at(log[:, MACS], last_step + lane + tile.hops[column], 1)
    leaving = last_step + len(tile.used) - 1 + tile.hops[busy : len(tile.outputs)]
    np.subtract.at(log[:, SUMS_OUT], leaving, 1)
