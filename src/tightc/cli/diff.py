"""`tightc diff`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, end_with, read_pair, show
from tightc.cli.flags import option_flags, parsed_options
from tightc.difference.options import DiffOptions


@click.command(cls=StageCommand, epilog="Example: tightc diff pruned.onnx packed.onnx --array 32x32")
@click.argument("a")
@click.argument("b")
@option_flags(DiffOptions)
@display_flags
def diff(a: str, b: str, display: Display, **flags: Any) -> None:
    """Show what differs between two models, layer by layer.

    Weights, density, method, passes, cycles, energy and bytes of each layer in A and B, which are matched by the names
    of their weights. The table has the layers that differ, with -v all. Both are simulated on the same hardware;
    without --array and --hardware, on the array of their tiles. Exit code as of diff: 0: the same, 1: they differ, 2:
    wrong usage or input.
    """
    from tightc.difference.diff import diff as run

    options = parsed_options(DiffOptions, flags)
    models = read_pair(a, b)
    with display.progress() as progress:
        report = run(*models, options, progress=progress)
    with end_with(0 if report.equal else 1):
        if display.as_json or display.as_csv or display.verbose:
            show(report, display)
        else:
            rows = [row for row in report.layers if row["change"] != "same"]
            show(replace(report, layers=tuple(rows)), display)
