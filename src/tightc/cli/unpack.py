"""`tightc unpack`."""

from __future__ import annotations

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
)


@click.command(cls=StageCommand, epilog="Example: tightc unpack packed.onnx -o plain.onnx")
@model_argument
@output_flag
@display_flags
def unpack(model: str | None, output: str | None, display: Display) -> None:
    """Restore the plain model from a packed one.

    The weights are the same to the bit, but for the sign of zeros. The tiles stay recorded.
    """
    from tightc.packing.unpack import unpack as run

    destination = Destination.of(output, display)
    finish(run(read_model(model)), destination, display)
