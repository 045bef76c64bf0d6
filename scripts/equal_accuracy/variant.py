"""A recipe with some of its options changed, and a seed: one run of the comparison."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tightc.config.yaml import read_options
from tightc.errors import OptionError
from tightc.files import write_file_atomically
from tightc.recipe.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "configs" / "experiments"

Raw = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One option of every stage of a name: finetune.budget=compression=12, or prune.sparsity=[0.5,0.8] for two."""

    stage: str
    option: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Change:
        """From STAGE.OPTION=VALUE; OptionError for anything else."""
        found = re.fullmatch(r"(\w+)\.(\w+)=(.+)", text)
        if not found:
            raise OptionError(
                f"--set {text}: not a change", "give STAGE.OPTION=VALUE, such as finetune.epochs=5"
            )
        return cls(found[1], found[2], found[3])

    def __str__(self) -> str:
        return f"{self.stage}.{self.option}={self.value}"

    def values(self, stages: int) -> list[Any]:
        """The value for each stage: from a list, or the same for all; OptionError where a list has another length."""
        value = yaml.safe_load(self.value)
        if not isinstance(value, list):
            return [value] * stages
        if len(value) != stages:
            raise OptionError(
                f"--set {self}: {len(value)} values for {stages} stages of that name",
                "give one for each, or one for all",
            )
        return value

    @property
    def slug(self) -> str:
        """As a part of a file's name."""
        words = f"{self.option}-{self.value}".replace("_", "-")
        return re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-")


@dataclass(frozen=True)
class Variant:
    """The recipe `base`, a name in configs/experiments or a path, with `changes`.

    A `seed` of None is the recipe's own. `run_id` is the id of the record, where the user gives one.
    """

    base: str
    changes: tuple[Change, ...] = ()
    seed: int | None = None
    run_id: str | None = None

    @property
    def path(self) -> Path:
        """The recipe's file."""
        return Path(self.base) if self.base.endswith(".yaml") else RECIPES / f"{self.base}.yaml"

    @property
    def setting(self) -> str:
        """The name of the recipe and its changes, such as resnet20-aligned-budget-compression-12."""
        return "-".join([self.path.stem, *(change.slug for change in self.changes)])

    @property
    def name(self) -> str:
        """The same with the seed, where it is not the recipe's own."""
        return self.setting if self.seed is None else f"{self.setting}-seed{self.seed}"

    @property
    def command(self) -> str:
        """The command of this run."""
        changes = [word for change in self.changes for word in ("--set", str(change))]
        seeds = [] if self.seed is None else ["--seeds", str(self.seed)]
        return shlex.join(["python", "scripts/experiments.py", self.base, *changes, *seeds])


def variants_of(
    base: str, changes: Sequence[Change], points: Sequence[str], seeds: Sequence[int]
) -> list[Variant]:
    """A run for each seed and each of `points`, budgets of compression that a recipe with such a budget gets.

    What does not change the recipe is left out, so that a run has one name. OptionError where a stage is not in it.
    """
    raw = read_raw(Variant(base).path)
    has_budget = any(name == "finetune" and "budget" in options for name, options in _stages(raw))
    budgets: list[tuple[Change, ...]] = [()]
    if points and has_budget:
        budgets = [(Change("finetune", "budget", f"compression={point}"),) for point in points]
    found = []
    for budget in budgets:
        effective = tuple(change for change in (*changes, *budget) if not _changes_nothing(raw, change))
        own = raw.get("seed", 0)
        found += [Variant(base, effective, None if seed == own else seed) for seed in seeds or [own]]
    return found


def write_recipe(variant: Variant, path: Path) -> None:
    """The recipe of `variant` as a file at `path`, which its own paths are relative to."""
    raw = read_raw(variant.path)
    for change in variant.changes:
        stages = _options_of(raw, change)
        for options, value in zip(stages, change.values(len(stages)), strict=True):
            options[change.option] = value
    raw["stages"] = [{name: options} for name, options in _stages(raw)]
    base = variant.path.resolve().parent
    raw["model"] = os.path.relpath(base / raw["model"], path.parent.resolve())
    if "data" in raw and is_path(raw["data"]["data"], base):
        raw["data"]["data"] = os.path.relpath(base / raw["data"]["data"], path.parent.resolve())
    write_file_atomically(path, yaml.safe_dump(raw, sort_keys=False).encode())


def read_raw(path: Path) -> Raw:
    """A recipe as plain YAML, its stages as mappings; OptionError or ConfigError where there is none at `path`."""
    if not path.is_file():
        known = ", ".join(found.stem for found in sorted(RECIPES.glob("*.yaml")))
        raise OptionError(f"{path.stem}: no such recipe", f"give one of {known}, or the path of a YAML file")
    read_options(path, Recipe)
    raw: Raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw["stages"] = [
        {stage: {}} if isinstance(stage, str) else {name: options or {} for name, options in stage.items()}
        for stage in raw["stages"]
    ]
    return raw


def is_path(data: str, base: Path) -> bool:
    """Data may also be given as package.module:function."""
    return ":" not in data or (base / data).exists()


def _stages(raw: Raw) -> list[tuple[str, Raw]]:
    return [(name, options) for stage in raw["stages"] for name, options in stage.items()]


def _changes_nothing(raw: Raw, change: Change) -> bool:
    """Whether the recipe already has the values of `change`; OptionError where it has no such stage."""
    stages = _options_of(raw, change)
    if not stages:
        there = ", ".join(dict.fromkeys(name for name, _ in _stages(raw)))
        raise OptionError(f"--set {change}: the recipe has no stage {change.stage}", f"name one of {there}")
    values = change.values(len(stages))
    return all(options.get(change.option) == value for options, value in zip(stages, values, strict=True))


def _options_of(raw: Raw, change: Change) -> list[Raw]:
    """The options of all stages that `change` names."""
    return [options for name, options in _stages(raw) if name == change.stage]
