"""What a packer is told besides the layer matrix."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from tightc.permutation.schedule import Schedule
from tightc.report import Listener, silent
from tightc.tiles.array import ArrayShape


@dataclass(frozen=True)
class Lossy:
    """What a lossy packer may leave out; column-combine reads both.

    `alpha`: inputs that share a lane at most; `gamma`: weights dropped for each filter and lane, on average at most.
    """

    alpha: int = 8
    gamma: float = 0.0


@dataclass(frozen=True)
class Task:
    """The array to pack for and, for packers that search, how: `seed` is this layer's own.

    A packer looks at `stop` now and then, and gives up with CancelledError once it is set.
    """

    array: ArrayShape
    fan_in: int
    schedule: Schedule
    seed: np.random.SeedSequence
    layer: str = ""
    listener: Listener = silent
    stop: threading.Event = field(default_factory=threading.Event)
    lossy: Lossy = Lossy()
