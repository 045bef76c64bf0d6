"""One point: its layers packed and costed, until it is complete or a found point dominates what is known of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.choose import accelerator_of
from tightc.cost_model.area import ArrayForm, area_mm2
from tightc.deadline import Deadline
from tightc.errors import OptionError
from tightc.exploration.bench import Bench, Data, layer_bounds
from tightc.exploration.bounds import Costs, packed_bytes
from tightc.exploration.front import Values, dominator
from tightc.exploration.grid import Point
from tightc.exploration.store import Record
from tightc.permutation.executors.executor import Executor
from tightc.permutation.layer_scheduler import LayerJob, layer_seeds, pack_on
from tightc.permutation.registry import TIGHT
from tightc.progress import Progress
from tightc.tile.array import ArrayShape
from tightc.tile.measures import dropped_weights
from tightc.tile.packing import Packing

_ROUNDING = 1e-9  # relative: sums of energies in another order
_SMALL = 0.1  # of a network's weights: layers that are packed together before the first look


@dataclass(frozen=True)
class Search:
    """What all points are searched with; `measures` of the front."""

    executor: Executor
    work: Deadline
    seed: int
    progress: Progress
    measures: Sequence[str]


def area_of(point: Point, table: AreaTable | None) -> float | None:
    """mm2 of the arrays of `point` with multiplexers of its fan-in; None without a table."""
    if table is None:
        return None
    accelerator = accelerator_of(point.permute, point.permute.array)
    if accelerator.operand_bytes != 1:
        raise OptionError(
            "--area: expected hardware with int8 operands, as the table's elements have, got fp32",
            "leave --area out",
        )
    return sum(area_mm2(ArrayForm.of(accelerator, point.fan_in, None), table).values())


def values_of(costs: Costs, area: float | None, accuracy: float | None) -> Values:
    """The measures of a front, by their keys in a row."""
    return {
        "cycles": costs.cycles,
        "energy_pj": costs.energy_pj,
        "packed_bytes": costs.packed_bytes,
        "area_mm2": area,
        "accuracy": accuracy,
    }


def lower_bounds(points: Sequence[Point], bench: Bench) -> dict[int, list[Costs]]:
    """The bound of each layer at each of the `points` of a network, by their numbers.

    Other methods than tight take less time than their bounds, and have none. What a layer has in common for all
    fan-ins on an array is computed once.
    """
    by_array: dict[ArrayShape, list[Point]] = {}
    for point in points:
        if point.method is TIGHT:
            by_array.setdefault(point.permute.array, []).append(point)
    found: dict[int, list[Costs]] = {}
    for own in by_array.values():
        options = [point.permute for point in own]
        layers = zip(*(bench.jobs(one) for one in options), strict=True)
        bounds = zip(*(layer_bounds(jobs, options) for jobs in layers), strict=True)
        found |= {point.number: list(costs) for point, costs in zip(own, bounds, strict=True)}
    return found


@dataclass
class Evaluation:
    """The evaluation of `point`: `bounds` of its layers or None, its known `area` and `accuracy`."""

    point: Point
    bench: Bench
    bounds: list[Costs] | None
    area: float | None
    accuracy: float | None

    @property
    def bound(self) -> Values | None:
        """The values that the point has at least, before its search."""
        return None if self.bounds is None else self._at_least([], self.bounds)

    def run(self, search: Search, found: Mapping[int, Values], data: Data | None) -> Record:
        """The record of the point: done, or skipped for one of `found`, or unfit where the accelerator cannot run it.

        KeyboardInterrupt where an interrupt ended the search.
        """
        started = time.monotonic()
        jobs = self.bench.jobs(self.point.permute)
        seeds = layer_seeds(len(jobs), self.point.permute, search.seed)
        packings: dict[int, Packing] = {}
        known: dict[int, Costs] = {}
        for chunk in self._chunks(jobs):
            skipped = self._skipped(known, found, search.measures, len(jobs))
            if skipped is not None:
                return skipped
            packed = pack_on(
                search.executor,
                [jobs[i] for i in chunk],
                self.point.permute,
                [seeds[i] for i in chunk],
                progress=_named(search.progress, self.point.label, len(known), len(jobs)),
                work=search.work,
            )
            if packed.interrupted:
                raise KeyboardInterrupt
            for i, packing in zip(chunk, packed.packings, strict=True):
                packings[i], known[i] = packing, _costs(packing, jobs[i])
        in_order = [packings[i] for i in range(len(jobs))]
        total = reduce(Costs.plus, (known[i] for i in range(len(jobs))))
        if math.isinf(total.cycles):
            return Record("unfit", {"reason": "the partial sums of a vector do not fit their buffer"})
        content = self._content(total, in_order, jobs)
        if data is not None and content["dropped_weights"]:
            content["accuracy"] = self.bench.accuracy(data, in_order)
        return Record("done", {**content, "seconds": round(time.monotonic() - started, 3)})

    def _content(self, total: Costs, packings: Sequence[Packing], jobs: Sequence[LayerJob]) -> dict[str, Any]:
        dense_cycles, dense_energy = self.bench.dense(self.point)
        lossy = self.point.method.lossy
        dropped = (
            int(dropped_weights(one, job.load()).sum()) for one, job in zip(packings, jobs, strict=True)
        )
        return {
            "cycles": int(total.cycles),
            "energy_pj": total.energy_pj,
            "packed_bytes": total.packed_bytes,
            "passes": sum(len(packing.tiles) for packing in packings),
            "dense_cycles": int(dense_cycles),
            "dense_energy_pj": dense_energy,
            "dropped_weights": sum(dropped) if lossy else 0,
        }

    def _chunks(self, jobs: Sequence[LayerJob]) -> Iterator[list[int]]:
        """The layers in the order in which they are packed, small ones first; all at once without bounds.

        The chunks do not depend on the number of workers, so that the same points are skipped with any.
        """
        order = sorted(range(len(jobs)), key=lambda i: (jobs[i].weight, i))
        if self.bounds is None:
            yield order
            return
        total, weight, small = sum(job.weight for job in jobs), 0, []
        for i in order:
            weight += jobs[i].weight
            if weight <= _SMALL * total:
                small.append(i)
                continue
            if small:
                yield small
                small = []
            yield [i]
        if small:
            yield small

    def _skipped(
        self, known: Mapping[int, Costs], found: Mapping[int, Values], measures: Sequence[str], layers: int
    ) -> Record | None:
        """The record of a point that one of `found` dominates, with what is `known` of its layers; else None."""
        if self.bounds is None:
            return None
        rest = [bound for i, bound in enumerate(self.bounds) if i not in known]
        least = self._at_least(list(known.values()), rest)
        by = dominator(least, found, measures)
        if by is None:
            return None
        return Record("skipped", {"by": by, "bound": dict(least), "layers": len(known), "of": layers})

    def _at_least(self, known: Sequence[Costs], rest: Sequence[Costs]) -> Values:
        total = reduce(Costs.plus, [*known, *rest], Costs(0, 0.0, 0))
        rounded = total._replace(energy_pj=total.energy_pj * (1 - _ROUNDING))
        return values_of(rounded, self.area, self.accuracy)


def _costs(packing: Packing, job: LayerJob) -> Costs:
    """What a packed layer costs, as simulate and permute report it."""
    assert job.costs is not None
    cost = job.costs.of(packing)
    return Costs(cost.cycles, cost.energy_pj, packed_bytes(packing, job.load()))


def _named(progress: Progress, label: str, done: int, layers: int) -> Progress:
    """Reports the layers of a chunk as one task, that of the point `label`, of whose layers so many are done."""
    fractions: dict[str, float] = {}

    def report(layer: str, fraction: float, figures: Mapping[str, str], /) -> None:
        fractions[layer] = fraction
        progress(label, min(1.0, (done + sum(fractions.values())) / layers), {"": layer, **figures})

    return report
