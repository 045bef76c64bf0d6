"""The points of the grid: every combination of its axes that a method reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import product
from pathlib import PurePath
from typing import Any

from tightc.errors import OptionError
from tightc.exploration.options import ExploreOptions
from tightc.model.file import Model
from tightc.permutation.options import PermuteOptions
from tightc.permutation.registry import Method, find_method
from tightc.pruning.options import PruneOptions
from tightc.tile.array import ArrayShape

_AXES = {"array", "fan_in", "sparsity", "method"}  # each point has its own value of these
_SHARED = tuple(
    name for name in PermuteOptions.model_fields if name in ExploreOptions.model_fields.keys() - _AXES
)


@dataclass(frozen=True, eq=False)
class Network:
    """One network of the grid: a model, as it is or pruned once to `sparsity`. `name` is that of the model."""

    model: Model
    name: str
    sparsity: float | None

    @property
    def prune(self) -> PruneOptions | None:
        """The options of prune that make it, None for the model as it is."""
        return None if self.sparsity is None else PruneOptions(sparsity=self.sparsity)

    @cached_property
    def key(self) -> str:
        """A digest of the model and of how it is pruned."""
        chosen = self.prune.model_dump(mode="json") if self.prune else None
        return _digest([self.model.sha256, chosen, version("tightc")])


@dataclass(frozen=True)
class Point:
    """One point: its `number` in the grid from 1, its `network`, and the options of permute that pack it.

    `unfit`: why there is no such hardware, empty where there is; then `permute` says no more than which point it is.
    """

    number: int
    network: Network
    permute: PermuteOptions
    unfit: str = ""

    @property
    def method(self) -> Method:
        """The packing method."""
        return find_method(self.permute.method)

    @property
    def fan_in(self) -> int:
        """Inputs of the multiplexers."""
        assert self.permute.fan_in != "auto"
        return self.permute.fan_in

    @property
    def label(self) -> str:
        """The point in a few words, for progress and messages."""
        sparsity = "" if self.network.sparsity is None else f" {self.network.sparsity:g}"
        return (
            f"{self.network.name}{sparsity} {self.permute.method} {self.permute.array} fan-in {self.fan_in}"
        )

    def head(self) -> dict[str, Any]:
        """The columns that say which point it is."""
        return {
            "number": self.number,
            "model": self.network.name,
            "sparsity": self.network.sparsity,
            "method": self.permute.method,
            "array": str(self.permute.array),
            "fan_in": self.fan_in,
        }


def networks(models: Sequence[Model], options: ExploreOptions) -> list[Network]:
    """Each model at each sparsity, or as it is where no sparsity is given."""
    names = _names(models)
    return [
        Network(model, name, sparsity)
        for model, name in zip(models, names, strict=True)
        for sparsity in (dict.fromkeys(options.sparsity) or (None,))
    ]


def points(found: Sequence[Network], options: ExploreOptions) -> list[Point]:
    """All points, those of a network together."""
    of_each = [
        one
        for name, array in product(dict.fromkeys(options.method), options.arrays_tried)
        for one in _permute_options(find_method(name), array, options)
    ]
    pairs = product(found, of_each)
    return [Point(number, network, *own) for number, (network, own) in enumerate(pairs, 1)]


def _permute_options(
    method: Method, array: ArrayShape, options: ExploreOptions
) -> Iterator[tuple[PermuteOptions, str]]:
    """The options of a method on an array for each fan-in that it reads, and why there is no such array."""
    reads = method.options
    fan_ins: tuple[int, ...] = (options.pattern.group if "pattern" in reads else 1,)
    if "fan_in" in reads or "alpha" in reads:
        fan_ins = tuple(dict.fromkeys(options.fan_in))
    for fan_in in fan_ins:
        given = {name: getattr(options, name) for name in _SHARED if name in options.model_fields_set}
        if options.hardware is not None:
            given["hardware"] = options.hardware.model_copy(update={"array": array, "fan_in": fan_in})
        if "pattern" not in reads:
            given.pop("pattern", None)
        own: dict[str, Any] = {"array": array, "method": method.name, "fan_in": fan_in, "alpha": fan_in}
        try:
            yield PermuteOptions(**given, **own), ""
        except OptionError as fault:  # buffers that do not hold a tile of that size
            if options.hardware is None:
                raise
            given.pop("hardware")
            yield PermuteOptions(**given, **own), fault.sentence


def point_key(point: Point, seed: int) -> str:
    """A digest of all that the values of a point depend on: model, options, seed and version."""
    chosen = point.permute.model_dump(mode="json", exclude={"jobs", "dask", "area"})
    return _digest([point.network.key, chosen, seed, version("tightc")])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _names(models: Sequence[Model]) -> list[str]:
    """The stems of the models' files, or their paths where two stems are equal."""
    stems = [PurePath(model.origin).stem for model in models]
    return stems if len(set(stems)) == len(stems) else [model.origin for model in models]
