"""All runs that there are records of, those of one setting put together over their seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from equal_accuracy.running import SCHEMA, Record

_BASELINE = "column-combine"
_TITLES = {"resnet20": "ResNet-20", "vgg16": "VGG-16"}


@dataclass(frozen=True)
class Setting:
    """The runs of one recipe with one set of changes, by seed."""

    records: tuple[Record, ...]

    @property
    def network(self) -> str:
        """The first part of the recipe's name."""
        return str(self.records[0]["network"])

    @property
    def method(self) -> str:
        """The rest of the recipe's name."""
        return str(self.records[0]["method"])

    @property
    def label(self) -> str:
        """Method and changes, as a table shows them."""
        changes = (f"{key.partition('.')[2]} {value}" for key, value in self.records[0]["changes"].items())
        return ", ".join([self.method, *changes])

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs."""
        return [record["seed"] for record in self.records]

    def each(self, figure: str) -> list[float]:
        """A figure of the packed model, for each seed."""
        return [packed_row(record)[figure] for record in self.records]

    def mean(self, figure: str) -> float:
        """Its mean over the seeds."""
        return mean(self.each(figure))

    @property
    def dense_accuracy(self) -> float:
        """Of the network that the runs start from, percent."""
        return float(self.records[0]["rows"][0]["accuracy"])

    @property
    def command(self) -> str:
        """What makes all these runs."""
        whole = [record["command"] for record in self.records]
        alone = whole[0].partition(" --seeds ")[0]
        seeds = ",".join(map(str, self.seeds))
        return whole[0] if len(whole) == 1 else f"{alone} --seeds {seeds}"


def read_records(results: Path) -> list[Record]:
    """The records in the folder `results`, by name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    return [record for record in found if record.get("schema") == SCHEMA]


def settings_of(records: Iterable[Record]) -> dict[str, list[Setting]]:
    """By network the settings of those runs that end with a packed model, by method and then by compression."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        if packed_row(record):
            by_name.setdefault(record["setting"], []).append(record)
    settings = [Setting(tuple(sorted(runs, key=lambda run: run["seed"]))) for runs in by_name.values()]
    settings.sort(key=lambda one: (one.network, one.method, one.mean("matrix_compression_rate"), one.label))
    return {
        network: [one for one in settings if one.network == network]
        for network in dict.fromkeys(one.network for one in settings)
    }


def packed_row(record: Record) -> dict[str, Any]:
    """The row of the packed model, empty where there is none or its accuracy was not measured."""
    rows = [row for row in record["rows"] if row["stage"] == "pack" and row["accuracy"] is not None]
    return dict(rows[-1]) if rows else {}


def baseline(settings: Sequence[Setting], loss: float = 1.0) -> Setting | None:
    """Column combining at its best: most compression among its settings that lose at most `loss` points of accuracy.

    Where all lose more, that which loses least; None without any.
    """
    combined = [one for one in settings if one.method.startswith(_BASELINE)]
    within = best_within(combined, loss)
    return within or min(combined, key=lambda one: one.mean("accuracy_drop"), default=None)


def best_within(settings: Sequence[Setting], loss: float) -> Setting | None:
    """The setting with the largest matrix compression rate of those that lose at most `loss` points of accuracy."""
    within = [one for one in settings if one.mean("accuracy_drop") <= loss]
    return max(within, key=lambda one: one.mean("matrix_compression_rate"), default=None)


def title(network: str) -> str:
    """A network's name as it is written."""
    return _TITLES.get(network, network)
