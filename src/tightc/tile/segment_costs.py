"""What a layer costs by the number of segments that it keeps, each as many weights as a column of a tile holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SegmentCosts:
    """The cost of a layer with 0, 1, ... segments, (segments + 1,) float64, which never falls; and of it `dense`."""

    of_segments: NDArray[np.float64]
    dense: float

    @classmethod
    def slots(cls, filters: int, inputs: int, rows: int) -> SegmentCosts:
        """Slots of full tiles: `rows` for each segment, or the layer's inputs where these are fewer."""
        segments = filters * -(-inputs // rows)
        return cls(min(rows, inputs) * np.arange(segments + 1, dtype=np.float64), float(filters * inputs))

    def filled(self, cycles: NDArray[np.float64]) -> SegmentCosts:
        """The costs if every number of segments counts as the largest that takes no more `cycles`, (segments + 1,)."""
        largest = np.searchsorted(cycles, cycles, side="right") - 1
        return SegmentCosts(self.of_segments[largest], self.dense)
