"""The runs grouped into settings: one recipe with one set of changes, over its seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean
from typing import Any

from equal_accuracy.folder import Record

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
    def ids(self) -> str:
        """The ids of the runs."""
        return ", ".join(str(record["id"]) for record in self.records)

    @property
    def epochs(self) -> int:
        """Epochs of training, over all stages of a run."""
        return int(self.records[0]["epochs"])

    @property
    def method(self) -> str:
        """The rest of the recipe's name."""
        return str(self.records[0]["method"])

    @property
    def label(self) -> str:
        """Method and changes, as a table shows them."""
        changes = (f"{key.partition('.')[2]} {value}" for key, value in self.records[0]["changes"].items())
        return ", ".join([self.method, *changes])

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
    """A limit for the drop of accuracy, in points below the dense network that a run starts from."""

    drop: float

    @property
    def label(self) -> str:
        """As a table shows it."""
        return f"drop up to {self.drop:g}"

    def met(self, settings: Iterable[Setting]) -> list[Setting]:
        """The settings within the limit."""
        return [one for one in settings if one.mean("accuracy_drop") <= self.drop + 1e-9]


LEVELS = tuple(map(Level, (0.5, 1.0, 1.5, 2.0)))


def is_tight(one: Setting) -> bool:
    """Whether single weights were packed without loss."""
    return one.method in _TIGHT


def is_subword(one: Setting) -> bool:
    """Whether subwords of weights were packed."""
    return one.method.startswith(_SUBWORD)


def is_combined(one: Setting) -> bool:
    """Whether columns were combined."""
    return one.method.startswith(_COMBINED)


def best(settings: Iterable[Setting], figure: str) -> Setting | None:
    """The setting with the largest `figure`; None without settings."""
    return max(settings, key=lambda one: one.mean(figure), default=None)


def title(network: str) -> str:
    """A network's name as it is written."""
    return _TITLES.get(network, network)
