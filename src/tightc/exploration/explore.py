"""Explore: every point of a grid is evaluated, or skipped where a proven bound of it is dominated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tightc.deadline import Deadline
from tightc.errors import OptionError
from tightc.exploration.bench import Bench, Data, data_digest
from tightc.exploration.bounds import Costs
from tightc.exploration.evaluate_point import Evaluation, Search, area_of, lower_bounds, values_of
from tightc.exploration.front import KEYS, Values, dominates, dominator
from tightc.exploration.grid import Network, Point, networks, point_key, points
from tightc.exploration.options import ExploreOptions
from tightc.exploration.store import Record, Store
from tightc.model.file import Model
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.mac_counts import coverage
from tightc.model.packings.packed_form import unpack_layers
from tightc.permutation.layer_scheduler import search_executor
from tightc.progress import Progress, no_progress
from tightc.report import Figures, Report
from tightc.tile.measures import ratio

_ONE_SHOT = (
    "accuracies are one-shot: of the weights that pruning leaves, not finetuned, on the train split; tightc finetune "
    "raises them"
)
_BY_NETWORK = (
    "each network has a front of its own, since a sparser one always costs less; --data weighs accuracy too"
)


@dataclass(frozen=True)
class Exploration:
    """The report of an exploration, and its points by their numbers."""

    report: Report
    points: Mapping[int, Point]


def explore(
    models: Sequence[Model],
    options: ExploreOptions,
    data: Data | None = None,
    *,
    store: Path | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Exploration:
    """The Pareto front of the grid of `options` on `models`, with accuracies on `data`.

    Points are kept in the file `store` as they come, in memory where that is None; a point that is there already is
    taken from it. A point is skipped only where a found point of the grid is as good as a lower bound of it in every
    measure of the front, and better in one. The front is that of the whole grid for any number of workers.
    OutputError where the store cannot be used.
    """
    found = networks(models, options)
    grid = points(found, options)
    with Store.opened(store) as kept:
        run = _Run(options, data, kept, seed, progress, grid)
        try:
            run.evaluate_all(found)
        finally:
            kept.release()
        return Exploration(run.report(found), {point.number: point for point in grid})


class ExplorationInterrupted(KeyboardInterrupt):
    """Ctrl-C ended an exploration; `known` of its `points` are in the store."""

    def __init__(self, known: int, points: int) -> None:
        super().__init__(f"{known} of {points} points are known")
        self.known, self.points = known, points


@dataclass
class _Run:
    """One exploration in progress: `records` and `values` of its points by their numbers."""

    options: ExploreOptions
    data: Data | None
    store: Store
    seed: int
    progress: Progress
    grid: list[Point]
    records: dict[int, Record] = field(default_factory=dict)
    values: dict[int, Values] = field(default_factory=dict)
    areas: dict[int, float | None] = field(default_factory=dict)
    accuracies: dict[Network, float | None] = field(default_factory=dict)
    evaluated: int = 0
    assumed: dict[str, None] = field(default_factory=dict)  # sizes of inputs, a note each

    def __post_init__(self) -> None:
        self._digest = "" if self.data is None else data_digest(self.data)
        self._keys = {point.number: self._key(point) for point in self.grid}
        self.measures = _measures(self.options, with_data=self.data is not None)

    def _key(self, point: Point) -> str:
        """The key of a point; that of a lossy one depends on the data, since its accuracy is its own."""
        key = point_key(point, self.seed)
        return f"{key} {self._digest}" if self._digest and point.method.lossy else key

    def evaluate_all(self, found: Sequence[Network]) -> None:
        """Evaluates or skips every point, one network after the other."""
        try:
            with search_executor(self.grid[0].permute, work := Deadline()) as executor:
                search = Search(executor, work, self.seed, self.progress, self.measures)
                for network in found:
                    bench = Bench(network)
                    self.accuracies[network] = self._accuracy(bench)
                    self._evaluate([point for point in self.grid if point.network is network], bench, search)
        except KeyboardInterrupt:
            raise ExplorationInterrupted(len(self.records), len(self.grid)) from None

    def _accuracy(self, bench: Bench) -> float | None:
        """The accuracy of a network on the data, from the store where it is known; None without data."""
        if self.data is None:
            return None
        key = f"{bench.network.key} {self._digest}"
        known = self.store.accuracy(key)
        if known is None:
            known = bench.accuracy(self.data)
            self.store.keep_accuracy(key, known)
        return known

    def _evaluate(self, own: Sequence[Point], bench: Bench, search: Search) -> None:
        """The points of one network, those that may dominate most first; those that another run is at come last."""
        possible = [point for point in own if self._is_possible(point)]
        for point in possible:
            self._take(point)
        missing = [point for point in possible if point.number not in self.records]
        if missing:
            self.assumed |= dict.fromkeys(bench.costs(missing[0].permute)[1])
        bounds = {} if self.options.exhaustive else lower_bounds(missing, bench)
        pending = [
            Evaluation(
                point,
                bench,
                bounds.get(point.number),
                self.areas[point.number],
                self.accuracies[point.network],
            )
            for point in missing
        ]
        deferred = []
        for evaluation in sorted(pending, key=self._promise):
            if not self.store.claim(self._keys[evaluation.point.number]):
                deferred.append(evaluation)
            else:
                self._run(evaluation, search)
        for evaluation in deferred:
            self._run(evaluation, search)

    def _is_possible(self, point: Point) -> bool:
        """Whether there is such hardware; where not, the record of the point says why."""
        if point.unfit:
            self.records[point.number] = Record("unfit", {"reason": point.unfit})
            return False
        self.areas[point.number] = area_of(point, self.options.area)
        return True

    def _run(self, evaluation: Evaluation, search: Search) -> None:
        """Evaluates or skips one point, unless another run has done so by now."""
        point = evaluation.point
        if self._take(point):
            return
        rivals = {number: self.values[number] for number in self._rivals(point)}
        record = evaluation.run(search, rivals, self.data)
        if record.status == "skipped":
            record = Record("skipped", {**record.content, "by": self._keys[record.content["by"]]})
        self.store.keep(self._keys[point.number], point.label, record)
        self.evaluated += record.status == "done"
        self._know(point, record)
        self.progress(point.label, 1.0, {"": record.status})

    def _take(self, point: Point) -> bool:
        """Whether the store knows the point, as far as that holds for this grid and the measures of its front."""
        record = self._record(point)
        if record is None or (record.status == "skipped" and not self._holds(point, record)):
            return False
        self._know(point, record)
        return True

    def _holds(self, point: Point, record: Record) -> bool:
        """Whether the skipped `point` is dominated by a point of this grid, in the measures of this front."""
        by = self._of_key(record.content["by"], point)
        if by is None or self.options.exhaustive:
            return False
        known = by.number in self.values or (self._is_possible(by) and self._take(by))
        return known and dominates(self.values.get(by.number, {}), record.content["bound"], self.measures)

    def _of_key(self, key: str, point: Point) -> Point | None:
        """The point of that `key` on the front of `point`; of a model given twice, the one beside it if it may be."""
        equal = [one for one in self.grid if self._keys[one.number] == key]
        return next((one for one in equal if one.network is point.network), equal[0] if equal else None)

    def _record(self, point: Point) -> Record | None:
        """What the store knows of a point; the bound of a skipped one has its area and accuracy of this call.

        These are known without a search, and the call that skipped it may have had another table or other images.
        """
        record = self.store.record(self._keys[point.number])
        if record is None or record.status != "skipped":
            return record
        own = {"area_mm2": self.areas.get(point.number), "accuracy": self.accuracies.get(point.network)}
        return Record(record.status, {**record.content, "bound": {**record.content["bound"], **own}})

    def _know(self, point: Point, record: Record) -> None:
        self.records[point.number] = record
        if record.status == "done":
            content = record.content
            costs = Costs(content["cycles"], content["energy_pj"], content["packed_bytes"])
            accuracy = content.get("accuracy", self.accuracies.get(point.network))
            self.values[point.number] = values_of(costs, self.areas[point.number], accuracy)

    def _rivals(self, point: Point) -> list[int]:
        """The numbers of the points found on the front that `point` belongs to."""
        weighed = "accuracy" in self.measures
        return [
            one.number
            for one in self.grid
            if one.number in self.values and (weighed or one.network is point.network)
        ]

    def _promise(self, evaluation: Evaluation) -> float:
        """What is smaller for points that are evaluated first: those without bounds, then those of the least bounds."""
        bound = evaluation.bound
        if bound is None:
            return -math.inf
        keys = (KEYS[measure] for measure in self.measures if measure != "accuracy")
        return sum(math.log(max(1e-9, bound[key] or 0.0)) for key in keys)

    def report(self, found: Sequence[Network]) -> Report:
        """A row for each point, in the order of the grid."""
        rows = [self._row(point) for point in self.grid]
        statuses = [row["status"] for row in rows]
        counted = {
            f"{name}_points": statuses.count(name) for name in ("front", "dominated", "skipped", "unfit")
        }
        totals = {
            "points": len(rows),
            "evaluated": self.evaluated,
            **counted,
            "measures": list(self.measures),
            "store": self.store.path,
            "hardware": self.options.hardware.name if self.options.hardware else "ideal",
            "energy_table": self.options.energy.name,
            **({"area_table": self.options.area.name} if self.options.area else {}),
            "seed": self.seed,
        }
        several = len(found) > 1 and "accuracy" not in self.measures
        pruned = any(network.sparsity is not None for network in found)
        notes = (
            *dict.fromkeys(note for network in found for note in network.model.notes),
            *self.assumed,
            *((_ONE_SHOT,) if self.data is not None and pruned else ()),
            *((_BY_NETWORK,) if several else ()),
        )
        return Report("explore", totals, rows, _uncovered(found), notes)

    def _row(self, point: Point) -> dict[str, Any]:
        record = self.records[point.number]
        content, values = record.content, self.values.get(point.number)
        row: dict[str, Any] = {**point.head(), "status": record.status, "by": None}
        if record.status == "skipped":
            by = self._of_key(content["by"], point)
            assert by is not None, "it was looked up when the record was taken"
            row["by"] = by.number
        elif values is not None:
            rivals = {number: self.values[number] for number in self._rivals(point)}
            row["by"] = dominator(values, rivals, self.measures)
            row["status"] = "front" if row["by"] is None else "dominated"
        row |= {key: None if values is None else values[key] for key in KEYS.values() if self._is_shown(key)}
        row |= {
            "speedup": ratio(content["dense_cycles"], content["cycles"]) if values else None,
            "energy_gain": ratio(content["dense_energy_pj"], content["energy_pj"]) if values else None,
            **{name: content.get(name) for name in ("passes", "dropped_weights", "seconds", "reason")},
        }
        if record.status == "skipped":
            row["bound"] = {**content["bound"], "layers_packed": content["layers"]}
        return row

    def _is_shown(self, key: str) -> bool:
        return {"area_mm2": self.options.area, "accuracy": self.data}.get(key, True) is not None


def _measures(options: ExploreOptions, *, with_data: bool) -> tuple[str, ...]:
    """The measures of the front: those of the options, else all that are known, without bytes.

    Bytes differ little between points, and their bounds are weak: with them most points are on the front, and few are
    skipped.
    """
    if "accuracy" in options.front and not with_data:
        raise OptionError(
            "--front: expected images beside accuracy, got none", "add --data, or leave accuracy out"
        )
    unknown = {"bytes"} if options.area else {"bytes", "area"}
    unknown |= set() if with_data else {"accuracy"}
    return tuple(dict.fromkeys(options.front)) or tuple(name for name in KEYS if name not in unknown)


def _uncovered(found: Sequence[Network]) -> list[Figures]:
    """What tightc does not pack, of each model once."""
    models = {network.name: unpack_layers(network.model) for network in found}
    return [
        {"model": name, **entry}
        for name, model in models.items()
        for entry in coverage(model, read_network(model))[0]
    ]
