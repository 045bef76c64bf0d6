"""The recipe that repeats one point of an exploration: prune, permute, pack and simulate, for `tightc run`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.options import AcceleratorOptions
from tightc.config.shipped import shipped_file, shipped_names
from tightc.config.yaml import parse_options, read_options
from tightc.data.options import DataOptions
from tightc.errors import OptionError
from tightc.exploration.explore import Exploration
from tightc.exploration.grid import Point
from tightc.files import write_file_atomically
from tightc.recipe.recipe import Recipe


class _Plain(yaml.SafeDumper):
    """Writes what comes twice, such as hardware, in full each time."""

    def ignore_aliases(self, data: Any) -> bool:
        """See yaml.SafeDumper."""
        return True


_HOW_TO_RUN = "# tightc run {name}\n"


def find_point(points: Mapping[int, Point], number: int) -> Point:
    """The point of that `number`.

    OptionError where there is none, where no hardware can run it, or where its model is no file.
    """
    point = points.get(number)
    if point is None:
        raise OptionError(
            f"--recipe: expected the number of a point, 1 to {len(points)}, got {number}",
            "choose one of the column N",
        )
    if point.unfit:
        raise _does_not_run(number, point.unfit)
    source = point.network.model.origin
    if not Path(source).is_file():
        raise OptionError(
            f"--recipe: expected a model in a file, got {source}",
            "give the path of the model, and do not pipe it",
        )
    return point


def write_recipe(exploration: Exploration, number: int, path: Path, data: DataOptions | None = None) -> None:
    """Writes the recipe of the point of that `number` to `path`; its paths are relative to the folder of `path`.

    OptionError where there is no such point, where its accelerator does not run it, or where its model is no file.
    """
    point = find_point(exploration.points, number)
    row = exploration.report.layers[number - 1]
    if row["status"] == "unfit":
        raise _does_not_run(number, row["reason"])
    content = _recipe(point, path.parent, int(exploration.report.totals["seed"]), data)
    text = f"# {point.label}: point {number} of tightc explore\n" + _HOW_TO_RUN.format(name=path.name)
    text += yaml.dump(content, Dumper=_Plain, sort_keys=False)
    parse_options(text, str(path), Recipe)
    write_file_atomically(path, text.encode())


def _does_not_run(number: int, reason: str) -> OptionError:
    return OptionError(
        f"--recipe: expected a point that runs, got {number}: {reason}", "choose another point"
    )


def _recipe(point: Point, folder: Path, seed: int, data: DataOptions | None) -> dict[str, Any]:
    permute = point.permute.model_dump(mode="json", exclude_unset=True, exclude={"jobs", "dask"})
    for name in ("energy", "area"):
        table = getattr(point.permute, name)
        if name in permute and table == _shipped(name, table):
            permute[name] = table.name
    simulated = {name: value for name, value in permute.items() if name in AcceleratorOptions.model_fields}
    permute.pop("area", None)  # its search does not weigh it
    stages: list[Any] = [{"permute": permute}, "pack", {"simulate": simulated}]
    if point.network.sparsity is not None:
        stages.insert(0, {"prune": {"sparsity": point.network.sparsity}})
    content: dict[str, Any] = {"model": os.path.relpath(point.network.model.origin, folder)}
    if data is not None:
        given = data.model_dump(mode="json", exclude_unset=True)
        if Path(data.data).exists():
            given["data"] = os.path.relpath(data.data, folder)
        content["data"] = given
    return {**content, "seed": seed, "stages": stages}


def _shipped(kind: str, table: EnergyTable | AreaTable | None) -> EnergyTable | AreaTable | None:
    """The table of that `kind` and of the name of `table` that comes with tightc, None where there is none."""
    if table is None or table.name not in shipped_names(kind):
        return None
    return read_options(shipped_file(kind, table.name), type(table))
