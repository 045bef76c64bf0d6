"""What a packer is told besides the layer matrix."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

import numpy as np

from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.executors.executor import Alone, Crew, Pace
from tightc.permutation.objective import Objective
from tightc.permutation.pattern import TWO_OF_FOUR, Pattern
from tightc.progress import Progress, no_progress
from tightc.tile.array import ArrayShape


@dataclass(frozen=True)
class Lossy:
    """What a lossy packer may leave out: column-combine reads `alpha` and `gamma`, nm the `pattern`.

    `alpha`: inputs that share a lane at most; `gamma`: weights dropped for each filter and lane, on average at most.
    """

    alpha: int = 8
    gamma: float = 0.0
    pattern: Pattern = TWO_OF_FOUR


@dataclass(frozen=True)
class Task:
    """The array to pack for and, for packers that search, how: `seed` is this layer's own.

    A packer that searches looks at `stop` and `pace` now and then, and comes to an end with the best packing that it
    has once the one is set or the other has no time left; `crew` does its work, `weight` is its part of that time.
    `vectors` stream through the layer.
    """

    array: ArrayShape
    fan_in: int
    schedule: TemperatureSchedule
    seed: np.random.SeedSequence
    layer: str = ""
    progress: Progress = no_progress
    stop: threading.Event = field(default_factory=threading.Event)
    lossy: Lossy = Lossy()
    objective: Objective = "passes"
    crew: Crew = field(default_factory=Alone)
    pace: Pace = field(default_factory=lambda: Pace(math.inf, 1))
    weight: int = 1
    vectors: int = 1
