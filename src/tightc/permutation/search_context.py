"""How one layer is searched, and what the search runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tightc.deadline import Deadline, TimeShare
from tightc.permutation.annealing.curve import AnnealingCurve
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.executors.executor import Executor, SerialExecutor
from tightc.progress import Progress, no_progress


@dataclass(frozen=True)
class SearchSettings:
    """The temperature `schedule` of a search, and the `seed` of this layer."""

    schedule: TemperatureSchedule
    seed: np.random.SeedSequence


@dataclass
class SearchContext:
    """What the search of one layer runs on: executor, time and progress; one for each layer.

    `time`: the worker time of this layer; `time.deadline` is that of the whole search. A search checks `ended` now and
    then, and returns its best packing once it is true. `cut_short`: whether the search ended before all moves.
    `curve`: how the plan of that packing was annealed; None where it is not from annealing.
    """

    executor: Executor = field(default_factory=SerialExecutor)
    time: TimeShare = field(default_factory=lambda: TimeShare(Deadline()))
    progress: Progress = no_progress
    layer: str = ""
    cut_short: bool = False
    curve: AnnealingCurve | None = None

    def ended(self, deadline: Deadline | None = None) -> bool:
        """Whether the search must end now, by `deadline` or that of the whole search; then it counts as cut short."""
        ended = (deadline or self.time.deadline).passed()
        self.cut_short |= ended
        return ended

    @property
    def interrupted(self) -> bool:
        """Whether the whole search was interrupted; a method without a partial result then raises CancelledError."""
        return self.time.deadline.interrupted

    def report(self, done: float, figures: Mapping[str, str]) -> None:
        """Reports the fraction `done` of this layer and `figures`, label to value."""
        self.progress(self.layer, done, figures)
