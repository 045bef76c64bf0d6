"""`tightc verify`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, end_with, read_pair, seed_flag, show
from tightc.cli.flags import option_flags, parsed_options
from tightc.verification.options import VerifyOptions


@click.command(cls=StageCommand, epilog="Example: tightc verify pruned.onnx packed.onnx --batch 8")
@click.argument("a")
@click.argument("b")
@option_flags(VerifyOptions)
@seed_flag
@display_flags
def verify(a: str, b: str, seed: int, display: Display, **flags: Any) -> None:
    """Verify that two models have the same weights and outputs.

    Weights are compared after unpacking: the same type, and the same numbers to the bit but for the sign of zeros. Both
    models then run in onnxruntime on the same inputs. The table has what differs, with -v all weights and outputs. Exit
    code 0: they agree; 1: they do not; 2: wrong usage or input.
    """
    from tightc.verification.verify import verify as run

    options = parsed_options(VerifyOptions, flags)
    models = read_pair(a, b)
    with display.progress() as progress:
        report = run(*models, options, seed=seed, progress=progress)
    with end_with(0 if report.passed else 1):
        if display.as_json or display.as_csv or display.verbose:
            show(report, display)
        else:
            rows = [row for row in report.layers if row["result"] == "failed"]
            show(replace(report, layers=tuple(rows)), display)
