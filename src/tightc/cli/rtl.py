"""`tightc rtl`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, model_argument, read_model, seed_flag, show
from tightc.cli.flags import option_flags, parsed_options
from tightc.names import message_text
from tightc.rtl.options import RtlOptions


@click.command(cls=StageCommand, epilog="Example: tightc rtl packed.onnx --fan-in 8 -o rtl/ --simulate icarus")
@model_argument
@option_flags(RtlOptions)
@click.option("--simulate", type=click.Choice(["icarus", "verilator"]), help="Run the testbench with a simulator.")
@click.option("--chain", is_flag=True, help="Let simulated layers read what the layers before them have written.")
@seed_flag
@click.option("-o", "--output", metavar="DIR", required=True, help="Folder for the modules and memory images.")
@display_flags
def rtl(model: str | None, seed: int, output: str, display: Display, **flags: Any) -> None:
    """Write the array as SystemVerilog, with the memories of this network.

    Takes a model with int8 weights and activations, as tightc quantize --data makes it, permuted or not. A testbench
    compares every sum with onnxruntime's, and every cycle with those of tightc simulate.
    """
    from tightc.rtl.cosimulation import simulate_design
    from tightc.rtl.rtl import rtl as run
    from tightc.rtl.write import write_design

    simulator, chain = flags.pop("simulate"), flags.pop("chain")
    if chain and simulator is None:
        raise click.UsageError("--chain: expected --simulate too, got none; add --simulate icarus.")
    options = parsed_options(RtlOptions, flags)
    if not output:
        raise click.UsageError("--output: expected a folder, got an empty text; give a name.")
    read = read_model(model)
    with display.progress() as progress:
        design = run(read, options, seed=seed, progress=progress)
    written = write_design(design, Path(output))
    report = design.report
    if simulator is not None:
        found = simulate_design(Path(output), simulator, chain=chain)
        rows = tuple(
            {**row, "simulated_cycles": layer.cycles, "bytes_by_rounding": layer.rounded}
            for row, layer in zip(report.layers, found, strict=True)
        )
        totals = {**report.totals, "simulator": simulator, "simulated_layers": len(found)}
        report = replace(report, layers=rows, totals=totals)
    show(report, display)
    if not display.quiet:
        click.echo(message_text(f"wrote {len(written)} files into {output}"), err=True)
