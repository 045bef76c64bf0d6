"""`tightc permute`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import (
    Destination,
    Display,
    display_flags,
    finish,
    model_argument,
    output_flag,
    read_model,
    seed_flag,
)
from tightc.cli.flags import option_flags, parsed_options
from tightc.cli.plot import plot_flag, write_plot
from tightc.permutation.options import PermuteOptions


@click.command(
    cls=StageCommand, epilog="Example: tightc permute pruned.onnx --array 32x32 --fan-in 8 -o permuted.onnx"
)
@model_argument
@option_flags(PermuteOptions)
@seed_flag
@output_flag
@plot_flag
@display_flags
def permute(
    model: str | None, seed: int, output: str | None, plot: Path | None, display: Display, **flags: Any
) -> None:
    """Pack the nonzero weights into few, full tiles.

    Simulated annealing finds a lossless packing of every layer and records its tiles in the model; the weights stay as
    they are. A lossy method sets the weights that it drops to zero and reports their number; finetune trains the rest.
    The same seed gives the same bytes for any number of threads.
    """
    from tightc.permutation.permute import permute as run
    from tightc.report import Interrupted

    options = parsed_options(PermuteOptions, flags)
    destination = Destination.of(output, display)
    if destination.path is None:
        display.standing.kept = "nothing is kept; with -o FILE, the best packing so far would be"
    try:
        with display.progress() as progress:
            result = run(read_model(model), options, seed=seed, progress=progress)
    except Interrupted as interrupt:
        if destination.path is not None:
            finish(interrupt.result, destination, display)
            write_plot(interrupt.result.report, plot, display)
            display.standing.kept = (
                f"the same command starts anew; {destination.path} holds the best packing so far"
            )
        raise
    finish(result, destination, display)
    write_plot(result.report, plot, display)
