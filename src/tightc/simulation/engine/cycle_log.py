"""What an engine leaves behind if asked: what happened in every cycle of every pass."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tightc.simulation.engine.stationary import LANE_WORDS, LOG_COLUMNS, MACS, STEPS_BEGUN, SUMS_OUT, Plane

Phase = Literal["load", "stream"]


@dataclass(frozen=True)
class Trace:
    """What happened in each cycle of a pass, `log`: (cycles, LOG_COLUMNS) int64, on which array and in which piece."""

    array: int
    piece: int
    tile: int
    phase: Phase
    log: NDArray[np.int64]


Traces = list[Trace]


def new_log(cycles: float, traces: Traces | None) -> NDArray[np.int64]:
    """A log for that many cycles and a few more; without lines where nobody wants a trace."""
    return np.zeros((0 if traces is None else ceil(cycles) + 2, len(LOG_COLUMNS)), np.int64)


def without_padding(log: NDArray[np.int64], plane: Plane, steps: int, copies: int) -> None:
    """Takes out of the log of a stream what copies do in its last step that have none of their own left then."""
    idle = -steps % copies
    if not idle or not len(log):
        return
    begun = int(np.flatnonzero(log[:, STEPS_BEGUN])[-1])
    busy = len(plane.outputs) // copies * (copies - idle)  # columns of the copies that have one
    lane, column = np.nonzero(plane.used)
    lane, column = lane[column >= busy], column[column >= busy]
    rows = np.unique(lane)
    log[begun + rows, LANE_WORDS] -= np.diff(plane.starts)[rows]
    np.subtract.at(log[:, MACS], begun + lane + column, 1)
    log[begun + len(plane.used) - 1 + np.arange(busy, len(plane.outputs)), SUMS_OUT] -= 1
