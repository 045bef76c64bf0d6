"""The experiments that there are: rows of a YAML file, each with a run for every seed, in order of value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from tightc.config.options import Options, invalid_combination
from tightc.config.yaml import read_options
from tightc.errors import OptionError


class Row(Options):
    """One row of the results: the recipe NETWORK-METHOD.yaml with some of its options changed."""

    name: str = Field(description="name of the row, such as r20-w-8x", pattern=r"^[A-Za-z0-9.-]+$")
    network: str = Field(description="network, the first part of the recipe's name", min_length=1)
    method: str = Field(description="method, the rest of the recipe's name", min_length=1)
    array: str | None = Field(None, description="array of permute, such as 32x32")
    budget: str | None = Field(None, description="budget of finetune, such as compression=10.28")
    epochs: tuple[int, ...] = Field(
        (), description="epochs of finetune: an integer, or a list with those of each finetune", strict=False
    )
    options: dict[str, Any] = Field(
        {}, description="other options, such as {finetune.align: 8x32}; a list gives each stage its own"
    )
    keep_model: bool = Field(False, description="keep the packed model: true or false")
    makes: str | None = Field(None, description="file of the last model, which other recipes start from")

    @field_validator("epochs", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) else value

    @property
    def changes(self) -> dict[str, Any]:
        """The changed options of the recipe, as STAGE.OPTION: value; a list gives each stage of that name its own."""
        epochs = self.epochs[0] if len(self.epochs) == 1 else list(self.epochs) or None
        own = {"permute.array": self.array, "finetune.budget": self.budget, "finetune.epochs": epochs}
        return {**{key: value for key, value in own.items() if value is not None}, **self.options}


class Group(Options):
    """Rows with the same seeds; the first seed of all comes before the second of any."""

    title: str | None = Field(None, description="title of a table of these rows alone", min_length=1)
    seeds: tuple[int, ...] = Field(description="list of seeds, such as [1, 2, 3]", min_length=1, strict=False)
    rows: tuple[Row, ...] = Field(description="list of rows", min_length=1, strict=False)


class Comparison(Options):
    """Two rows whose figures are divided on the page."""

    claim: str = Field(description="what is compared, such as weights over column combining", min_length=1)
    over: str = Field(description="name of the row above the line", min_length=1)
    under: str = Field(description="name of the row below the line", min_length=1)


class Published(Options):
    """Ratios that others report, by their own definitions."""

    claim: str = Field(description="what is compared, and where it is published", min_length=1)
    compression: str = Field(description="ratio of compression rates, such as 1.75 (10.28x / 5.88x)")
    throughput: str = Field(description="ratio of throughputs, such as 2.12")
    energy: str = Field(description="ratio of energy efficiencies, such as 1.57")


class Matrix(Options):
    """All experiments, in order of value."""

    experiments: tuple[Group, ...] = Field(description="list of groups of rows", min_length=1, strict=False)
    comparisons: tuple[Comparison, ...] = Field((), description="list of comparisons", strict=False)
    published: tuple[Published, ...] = Field((), description="list of ratios of others", strict=False)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [row.name for group in self.experiments for row in group.rows]
        for name in names:
            if names.count(name) > 1:
                raise invalid_combination(
                    f"expected one row {name}, got {names.count(name)}", "rename one", "experiments"
                )
        return self


@dataclass(frozen=True)
class Run:
    """A `row` with a seed; `folder` holds the recipes."""

    row: Row
    seed: int
    folder: Path

    @property
    def run_id(self) -> str:
        """The name of the record, such as r20-w-8x-s1."""
        return f"{self.row.name}-s{self.seed}"

    @property
    def recipe(self) -> Path:
        """The recipe that is changed."""
        return self.folder / f"{self.row.network}-{self.row.method}.yaml"


def read_matrix(path: Path) -> Matrix:
    """The experiments in the YAML file at `path`; ConfigError where it is wrong."""
    return read_options(path, Matrix)


def runs_of(matrix: Matrix, folder: Path) -> Iterator[Run]:
    """All runs of `matrix`, whose recipes are in `folder`, in order of value."""
    for group in matrix.experiments:
        for seed in group.seeds:
            for row in group.rows:
                yield Run(row, seed, folder)


def chosen(runs: list[Run], names: list[str]) -> list[Run]:
    """Those of `runs` that `names` name, by run or by row, in the order of `names`; OptionError for other names."""
    found = []
    for name in names:
        named = [run for run in runs if name in (run.run_id, run.row.name)]
        if not named:
            known = ", ".join(dict.fromkeys(run.row.name for run in runs))
            raise OptionError(
                f"{name}: expected a run or row of the matrix, got another name", f"give one of {known}"
            )
        found += named
    return found
