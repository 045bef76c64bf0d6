"""`tightc compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, read_model, seed_flag, show
from tightc.cli.flags import option_flags, parsed_options
from tightc.cli.plot import plot_flag, write_plot
from tightc.comparison.options import CompareOptions


@click.command(cls=StageCommand, epilog="Example: tightc compare pruned.onnx --array 32x32 --fan-in 4,8,16")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@option_flags(CompareOptions)
@seed_flag
@plot_flag
@display_flags
def compare(models: tuple[str, ...], seed: int, plot: Path | None, display: Display, **flags: Any) -> None:
    """Compare methods of packing on the same hardware.

    Every method packs each model anew, with the same seed, and is simulated on the same array, buffers and energy
    table. The models are not changed. A lossy method runs without the weights that it drops, and reports their number.
    """
    from tightc.comparison.compare import compare as run

    options = parsed_options(CompareOptions, flags)
    with display.progress() as progress:
        found = [read_model(model) for model in models or (None,)]
        report = run(found, options, seed=seed, progress=progress)
    show(report, display)
    write_plot(report, plot, display)
