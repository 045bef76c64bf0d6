"""`tightc simulate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import (
    Display,
    display_flags,
    model_argument,
    read_model,
    seed_flag,
    show,
)
from tightc.cli.flags import option_flags, parsed_options
from tightc.cli.plot import plot_flag, write_plot
from tightc.files import check_writable
from tightc.names import message_text
from tightc.simulation.options import SimulateOptions
from tightc.tile.array import ArrayShape

if TYPE_CHECKING:
    from tightc.model.file import Model
    from tightc.report import Report

_LINE = 78
_EXPORTS = ("export_scalesim", "export_timeloop", "export_tiles")


@click.command(
    cls=StageCommand,
    epilog="Example: tightc simulate packed.onnx --hardware tight-32x32 --verify",
)
@model_argument
@option_flags(SimulateOptions)
@click.option("--explain", is_flag=True, help="Print the definition and formula of each measure, and exit.")
@click.option("--trace", metavar="DIR", help="Folder for a CSV file with a line for each cycle of one layer.")
@click.option(
    "--layer", metavar="NAME", help="Layer to trace, by its name, node or weight.  [default: the first]"
)
@click.option(
    "--export-scalesim",
    metavar="DIR",
    help="Folder for the dense layers, and the passes, as input of SCALE-Sim 3.",
)
@click.option(
    "--export-timeloop",
    metavar="DIR",
    help="Folder for the dense layers, and the passes, as problems of Timeloop.",
)
@click.option("--export-tiles", metavar="FILE.npz", help="File for the tiles as NumPy arrays.")
@plot_flag
@seed_flag
@display_flags
def simulate(
    model: str | None, seed: int, display: Display, explain: bool, plot: Path | None, **flags: Any
) -> None:
    """Count cycles and energy on a systolic array.

    Takes a dense, pruned, permuted or packed model, and compares each layer with the same layer dense. Cycles are
    exact closed forms; --verify checks them with an engine that steps the array cycle by cycle. Energy is a model, not
    a measurement.
    """
    if explain:
        _explain()
        return
    from tightc.simulation.report.trace import write_trace
    from tightc.simulation.simulate import simulate as run

    options = parsed_options(SimulateOptions, flags)
    if flags["layer"] is not None and flags["trace"] is None:
        raise click.UsageError("--layer: expected --trace too, got none; add --trace DIR.")
    for name in ("trace", "layer", *_EXPORTS, "inputs"):
        if flags[name] == "":
            raise click.UsageError(
                f"--{name.replace('_', '-')}: expected a name, got an empty text; give a name or leave it out."
            )
    if flags["export_tiles"] is not None:
        check_writable(Path(flags["export_tiles"]))
    read = read_model(model)
    written = []
    if flags["trace"] is not None:
        written.append(write_trace(read, options, flags["layer"], Path(flags["trace"]), seed=seed))
    with display.progress() as progress:
        report = run(read, options, seed=seed, progress=progress)
    written += _exported(read, options, report, {name: flags[name] for name in _EXPORTS})
    show(report, display)
    write_plot(report, plot, display)
    for path in written if not display.quiet else ():
        click.echo(message_text(f"wrote {path}"), err=True)


def _exported(
    model: Model, options: SimulateOptions, report: Report, targets: Mapping[str, str | None]
) -> Iterator[Path]:
    """Writes what is asked for, by the names of `_EXPORTS`; gives the paths."""
    from tightc.simulation.report.scalesim import export_scalesim
    from tightc.simulation.report.tiles import export_tiles
    from tightc.simulation.report.timeloop import export_timeloop

    if (target := targets["export_scalesim"]) is not None:
        array = ArrayShape.parse(report.totals["array"])
        yield from export_scalesim(model, Path(target), array, options.dataflow, options)
    if (target := targets["export_timeloop"]) is not None:
        yield from export_timeloop(model, Path(target), options)
    if (target := targets["export_tiles"]) is not None:
        yield export_tiles(model, Path(target))


def _explain() -> None:
    from tightc.simulation.report.glossary import GLOSSARY, SYMBOLS

    wrapper = TextWrapper(_LINE, break_on_hyphens=False)  # fan-in stays on one line
    click.echo(wrapper.fill(SYMBOLS))
    wrapper.initial_indent = wrapper.subsequent_indent = "  "
    for name, (unit, meaning) in GLOSSARY.items():
        click.echo(f"\n{name}{f' [{unit}]' if unit else ''}")
        click.echo(wrapper.fill(meaning + "."))
