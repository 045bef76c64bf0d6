"""The records grouped into rows of the page: one recipe with one set of changes, over its seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from results.folder import Record

_COMBINED = "column-combine"
_PLAIN = ("dense", "structured")  # one input on a lane
_TITLES = {"fashion": "Fashion-MNIST", "resnet20": "ResNet-20", "vgg16": "VGG-16"}
ENOUGH_SEEDS = 3  # for a mean with two decimals


@dataclass(frozen=True)
class Measured:
    """The runs of one row, by seed."""

    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        """The name of the row."""
        return str(self.records[0]["row"])

    @property
    def network(self) -> str:
        """The first part of the recipe's name."""
        return str(self.records[0]["network"])

    @property
    def method(self) -> str:
        """The rest of the recipe's name."""
        return str(self.records[0]["method"])

    @property
    def array(self) -> str:
        """The array of the runs, such as 32x32."""
        return str(self.records[0]["array"])

    @property
    def epochs(self) -> int:
        """Epochs of training, over all stages of a run."""
        return int(self.records[0]["epochs"])

    @property
    def chosen_on_test(self) -> bool:
        """Whether the test set had a part in choosing the row or its epochs."""
        return self.records[0]["chosen_on"] == "test"

    @property
    def seeds(self) -> str:
        """The number of seeds, and whether the test set chose."""
        return f"{len(self.records)}{', test' if self.chosen_on_test else ''}"

    @property
    def seed_numbers(self) -> list[int]:
        """The seeds, in the order of the figures."""
        return [int(record["seed"]) for record in self.records]

    @property
    def dense_accuracy(self) -> float:
        """Of the network that the runs start from, on the test set, percent."""
        row = packed_row(self.records[0])
        return float(row["accuracy"] + row["accuracy_drop"])

    def each(self, figure: str) -> list[float]:
        """A figure of the packed model, for each seed."""
        return [packed_row(record)[figure] for record in self.records]

    def mean(self, figure: str) -> float:
        """Its mean over the seeds."""
        return mean(self.each(figure))

    def points(self, figure: str) -> str:
        """Percent or points: mean and standard deviation, or one decimal where there are few seeds."""
        found = self.each(figure)
        if len(found) < ENOUGH_SEEDS:
            return f"{mean(found):.1f}"
        return f"{mean(found):.2f} ± {stdev(found):.2f}"

    @property
    def fan_in(self) -> int | None:
        """The most inputs that a lane may carry; None where nothing was arranged."""
        stages = [stage["permute"] for stage in self.records[0]["recipe"]["stages"] if "permute" in stage]
        if not stages:
            return None
        last = stages[-1]
        if last["method"] == "nm":
            return int(str(last["pattern"]).partition(":")[2])
        if last["method"] in _PLAIN:
            return 1
        return int(last["alpha" if last["method"] == _COMBINED else "fan_in"])


def measured_rows(records: Iterable[Record]) -> dict[str, list[Measured]]:
    """By network the rows whose runs end with a packed model, by method and then by compression.

    Runs that the test set chose are left out where the row was done again.
    """
    by_name: dict[str, list[Record]] = {}
    for record in records:
        if packed_row(record):
            by_name.setdefault(record["row"], []).append(record)
    rows = [Measured(_sound(runs)) for runs in by_name.values()]
    rows.sort(key=lambda one: (one.network, one.method, one.mean("matrix_compression_rate"), one.name))
    return {
        network: [one for one in rows if one.network == network]
        for network in dict.fromkeys(one.network for one in rows)
    }


def packed_row(record: Record) -> dict[str, Any]:
    """The figures of the packed model, empty where there is none or its accuracy was not measured.

    `accuracy` and `accuracy_drop` are of the test set, `validation_accuracy` of the held-out training images.
    """
    packed = [row for row in record["rows"] if row["stage"] == "pack" and row["accuracy"] is not None]
    if not packed:
        return {}
    figures = dict(packed[-1])
    if figures.get("split") == "validation":
        tested = record["rows"][-1]
        figures["validation_accuracy"] = figures["accuracy"]
        figures |= {key: tested[key] for key in ("accuracy", "accuracy_drop")}
    return figures


def title(network: str) -> str:
    """A network's name as it is written."""
    return _TITLES.get(network, network)


def _sound(runs: list[Record]) -> tuple[Record, ...]:
    redone = [run for run in runs if run["chosen_on"] != "test"]
    return tuple(sorted(redone or runs, key=lambda run: run["seed"]))
