"""One pass of a layer on one array: its tile as loaded, and its steps divided among the replicas of the tile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tightc.simulation.engine.loaded_tile import LoadedTile, Values
from tightc.simulation.engine.overlapped import OverlappedPass
from tightc.simulation.engine.stationary import NOTHING


@dataclass(frozen=True)
class ScheduledPass:
    """One pass on one array: tile number `tile` as loaded, its `replicas`, and the `steps` of its temporal tile."""

    array: int
    temporal_tile: int
    tile: int
    loaded: LoadedTile
    replicas: int
    steps: slice

    def split(self, values: Values) -> Values:
        """The part of each replica in columns of its own: (steps, n) -> (steps of the first, replicas * n), padded."""
        if self.replicas == 1:
            return values[self.steps]
        parts = np.array_split(values[self.steps], self.replicas)
        wide = np.zeros((len(parts[0]), self.replicas, values.shape[1]), values.dtype)
        for replica, part in enumerate(parts):
            wide[: len(part), replica] = part
        return wide.reshape(len(parts[0]), -1)

    def merge(self, wide: Values, values: Values) -> None:
        """The inverse of `split`: writes the part of each replica back to its steps of `values`."""
        if self.replicas == 1:
            return  # then `wide` is a view
        parts = np.array_split(values[self.steps], self.replicas)
        for replica, part in enumerate(parts):
            part[:] = wide.reshape(len(wide), self.replicas, -1)[: len(part), replica]

    def overlapped(self, steps: Values, outputs: int) -> OverlappedPass:
        """The pass for the kernel that overlaps passes; `steps`: those of the layer, which has so many `outputs`."""
        tile = self.loaded
        columns = len(tile.outputs)
        lane_words = np.diff(tile.starts).astype(np.int64)
        selected = tile.taps - lane_words[:, None] * tile.hops
        parts = np.array_split(np.arange(self.steps.start, self.steps.stop), self.replicas)
        numbers = np.full(
            (len(parts[0]), self.replicas), NOTHING
        )  # of the steps, in which each replica takes part
        for replica, part in enumerate(parts):
            numbers[: len(part), replica] = part
        own, output = np.divmod(tile.outputs, outputs)
        targets = np.full((len(numbers), len(tile.hops)), NOTHING)
        targets[:, :columns] = np.where(
            numbers[:, own] == NOTHING, NOTHING, numbers[:, own] * outputs + output
        )
        # each lane's replica by its first input; a lane without inputs has none, and it does not matter
        first_inputs = tile.inputs[np.minimum(tile.starts[:-1], len(tile.inputs) - 1)]
        busy_replicas = np.count_nonzero(numbers[-1] != NOTHING)
        return OverlappedPass(
            weights=tile.weights,
            taps=np.where(tile.used, selected + tile.starts[:-1, None], 0),
            used=tile.used,
            inputs=tile.inputs,
            steps=self.split(steps),
            lane_words=lane_words,
            busy=first_inputs // steps.shape[1] < busy_replicas,
            targets=targets,
            row_words=tile.row_words,
            demands=tile.demands,
        )


def no_pass(like: OverlappedPass) -> OverlappedPass:
    """No pass, before the first and after the last; with the types of `like`."""
    return like._replace(steps=like.steps[:0], targets=like.targets[:0], row_words=like.row_words[:0])
