"""`tightc explore`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, data_for, display_flags, read_model, seed_flag, show
from tightc.cli.flags import option_flags, parsed_options, parsed_options_if
from tightc.cli.plot import plot_flag, write_plot
from tightc.data.options import DataOptions
from tightc.errors import OptionError
from tightc.exploration.options import ExploreOptions
from tightc.files import check_writable

if TYPE_CHECKING:
    from tightc.report import Report

_STORE = "tightc-explore.sqlite"


@click.command(
    cls=StageCommand,
    epilog="Example: tightc explore model.onnx --array 16x16,32x32 --fan-in 4,8 --sparsity 0.8,0.9",
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@option_flags(ExploreOptions)
@option_flags(DataOptions, optional=True)
@click.option(
    "-o",
    "--store",
    metavar="FILE.sqlite",
    default=_STORE,
    show_default=True,
    help="File that keeps the points, so that the same command resumes.",
)
@click.option(
    "--recipe",
    nargs=2,
    metavar="N FILE.yaml",
    help="Write the recipe of point N to a file, for tightc run.",
)
@seed_flag
@plot_flag
@display_flags
def explore(
    models: tuple[str, ...],
    store: str,
    recipe: tuple[str, str] | None,
    seed: int,
    plot: Path | None,
    display: Display,
    **flags: Any,
) -> None:
    """Find the Pareto front of arrays, fan-ins, sparsities and methods.

    Every point of the grid is pruned once, packed and simulated. A point is skipped only where a proven lower bound of
    it is dominated in every measure of the front. Prints the front; all points with -v, --csv and --json.
    """
    from tightc.exploration.explore import ExplorationInterrupted
    from tightc.exploration.explore import explore as run
    from tightc.exploration.grid import networks, points
    from tightc.exploration.recipe import find_point, write_recipe

    number = None
    if recipe is not None:  # before hours of work
        number = _point_number(recipe[0])
        check_writable(Path(recipe[1]))
    options = parsed_options(ExploreOptions, flags)
    source = parsed_options_if(DataOptions, flags, "data")
    with display.progress() as progress:
        found = [read_model(model) for model in models or (None,)]
        if number is not None:
            find_point({point.number: point for point in points(networks(found, options), options)}, number)
        data = None if source is None else data_for(found[0], source, "train", labeled=True)
        try:
            exploration = run(found, options, data, store=Path(store), seed=seed, progress=progress)
        except ExplorationInterrupted as interrupt:
            known = f"{interrupt.known} of {interrupt.points} points are in {store}"
            display.standing.kept = f"{known}; the same command resumes there"
            raise
    if recipe is not None and number is not None:
        write_recipe(exploration, number, Path(recipe[1]), source)
    whole = display.as_json or display.as_csv or display.verbose
    show(exploration.report if whole else _front(exploration.report), display)
    write_plot(exploration.report, plot, display)


def _point_number(text: str) -> int:
    if not text.isdecimal():
        raise OptionError(
            f"--recipe: expected the number of a point, got {text!r}", "give it as --recipe 3 FILE.yaml"
        )
    return int(text)


def _front(report: Report) -> Report:
    """The report with the points of the front alone."""
    return replace(report, layers=tuple(row for row in report.layers if row["status"] == "front"))
