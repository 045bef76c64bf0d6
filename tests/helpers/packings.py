"""Random layer matrices for Hypothesis, the packings that tightc makes of them, and what every packing has to be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

import oracle
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.objective import Objective
from tightc.permutation.packing_costs import PackingCosts
from tightc.permutation.problem import LossySettings, PackingProblem
from tightc.permutation.registry import find_method
from tightc.permutation.search_context import SearchContext, SearchSettings
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing

SQUARE = ArrayShape(4, 4)
QUICK = TemperatureSchedule(steps=5, moves_per_weight=30)
LOSSY = LossySettings()


@st.composite
def matrices(draw: st.DrawFn, largest: int = 12) -> LayerMatrix:
    """Whole-number weights (sums are exact), zeros scattered; some filters empty, some full; groups to depthwise."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    filters = groups * draw(st.integers(1, max(1, largest // groups)))
    inputs = draw(st.integers(1, largest))
    if draw(st.booleans()) and draw(st.booleans()):  # depthwise: one channel in each group
        groups, inputs = filters, draw(st.sampled_from([1, 4, 9]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(1, 9, (filters, inputs)) * rng.choice([-1, 1], (filters, inputs))
    values *= rng.random((filters, inputs)) < draw(st.sampled_from([0.0, 0.1, 0.3, 0.6, 1.0]))
    for filter_ in draw(st.lists(st.integers(0, filters - 1), max_size=2)):
        values[filter_] = draw(st.sampled_from([0, 1]))
    return LayerMatrix(values.astype(np.float32), groups)


def arrays(largest: int = 6) -> st.SearchStrategy[ArrayShape]:
    """Arrays of one row, of one column, and some that are larger than any layer."""
    side = st.one_of(st.integers(1, largest), st.just(40))
    return st.builds(ArrayShape, side, side)


def packed_layer(
    matrix: LayerMatrix,
    method: str = "tight",
    array: ArrayShape = SQUARE,
    fan_in: int = 3,
    seed: int = 0,
    lossy: LossySettings = LOSSY,
) -> Packing:
    """What a method makes of a layer matrix, with a short search."""
    return PackingCase(array, fan_in, seed, lossy).pack(matrix, method)


@dataclass
class PackingCase:
    """What a method is given besides a layer matrix, with a short search."""

    array: ArrayShape = SQUARE
    fan_in: int = 3
    seed: int = 0
    lossy: LossySettings = LOSSY
    objective: Objective = "passes"
    vectors: int = 1
    schedule: TemperatureSchedule = QUICK
    context: SearchContext = field(default_factory=SearchContext)

    def problem(self, matrix: LayerMatrix) -> PackingProblem:
        costs = PackingCosts.ideal(matrix, self.array, self.vectors)
        return PackingProblem(self.array, self.fan_in, self.objective, self.lossy, costs)

    @property
    def settings(self) -> SearchSettings:
        """With a seed that nobody has spawned from."""
        return SearchSettings(self.schedule, np.random.SeedSequence(self.seed))

    def pack(self, matrix: LayerMatrix, method: str = "tight") -> Packing:
        """The packing by a method."""
        found = find_method(method)
        given = {"settings": self.settings, "context": self.context}
        return found.load()(matrix, self.problem(matrix), **{name: given[name] for name in found.needs})


def check(packing: Packing, matrix: LayerMatrix, case: PackingCase) -> None:
    """Every weight has one slot, no zero has any, and no lane carries more than it may.

    A layer that runs dense keeps its zeros, and a structured one those of filters and inputs that have a weight.
    """
    assert packing.fan_in <= case.fan_in
    tiles, nonzero = oracle.plain(packing), matrix.values != 0
    if packing.method == "dense":
        nonzero = np.ones_like(nonzero)
    if packing.method == "structured":
        groups = np.split(nonzero, matrix.groups)
        nonzero = np.vstack([group.any(axis=1)[:, None] & group.any(axis=0) for group in groups])
    array = tuple(case.array)
    assert oracle.packing_faults(tiles, matrix.values, matrix.groups, array, packing.fan_in, nonzero) == []
