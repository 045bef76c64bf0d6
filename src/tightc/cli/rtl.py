"""`tightc rtl`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, model_argument, read_model, seed_flag, show
from tightc.cli.flags import option_flags, parsed_options
from tightc.files import check_writable
from tightc.names import message_text
from tightc.rtl.options import RtlOptions


@click.command(
    cls=StageCommand, epilog="Example: tightc rtl packed.onnx --fan-in 8 -o rtl/ --simulate icarus"
)
@model_argument
@option_flags(RtlOptions)
@seed_flag
@click.option(
    "-o", "--output", metavar="DIR", required=True, help="Folder for the modules and memory images."
)
@display_flags
def rtl(model: str | None, seed: int, output: str, display: Display, **flags: Any) -> None:
    """Write the array as SystemVerilog, the network in its memories.

    Takes a model with int8 weights and activations, as tightc quantize --data makes it, permuted or not. A testbench
    compares every sum with onnxruntime's, and every cycle with those of tightc simulate.
    """
    from tightc.rtl.cosimulation import check_simulator, simulated_report
    from tightc.rtl.rtl import rtl as run
    from tightc.rtl.write import write_design

    options = parsed_options(RtlOptions, flags)
    if output in ("", "-"):
        raise click.UsageError(f"--output: expected a folder, got {output or 'an empty text'}; give a name.")
    check_simulator(options)
    if Path(output).is_dir():
        check_writable(Path(output) / "README.txt")
    read = read_model(model)
    with display.progress() as progress:
        design = run(read, options, seed=seed, progress=progress)
    written = write_design(design, Path(output))
    display.standing.kept = f"{output} holds the design; its simulation is not complete"
    show(simulated_report(design, Path(output), options), display)
    if not display.quiet:
        click.echo(message_text(f"wrote {len(written)} files into {output}"), err=True)
