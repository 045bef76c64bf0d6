"""All runs that there are records of, those of one setting put together over their seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from equal_accuracy.running import SCHEMA, Record

_COMBINED = "column-combine"
_TIGHT = ("aligned", "unaligned")
_SUBWORD = "subword"
_PLAIN = ("dense", "structured")  # one input on a lane
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


@dataclass(frozen=True)
class Level:
    """What runs may lose: so many points of accuracy below the dense network that each starts from."""

    drop: float

    @property
    def label(self) -> str:
        """As a table shows it."""
        return f"drop up to {self.drop:g}"

    def met(self, settings: Iterable[Setting]) -> list[Setting]:
        """Those of `settings` that lose no more."""
        return [one for one in settings if one.mean("accuracy_drop") <= self.drop + 1e-9]


LEVELS = tuple(map(Level, (0.5, 1.0, 1.5, 2.0)))


def is_tight(one: Setting) -> bool:
    """Whether single weights were arranged, which loses none."""
    return one.method in _TIGHT


def is_subword(one: Setting) -> bool:
    """Whether single digits of weights were."""
    return one.method.startswith(_SUBWORD)


def is_combined(one: Setting) -> bool:
    """Whether its columns were combined."""
    return one.method.startswith(_COMBINED)


def best(settings: Iterable[Setting], figure: str) -> Setting | None:
    """The one with the most of `figure`; None without any."""
    return max(settings, key=lambda one: one.mean(figure), default=None)


def title(network: str) -> str:
    """A network's name as it is written."""
    return _TITLES.get(network, network)
