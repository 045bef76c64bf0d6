"""`tightc unpack`."""

from __future__ import annotations

import click

from tightc.cli.common import (
    Destination,
    Display,
    display_flags,
    finish,
    model_argument,
    output_flag,
    read_model,
)


@click.command(epilog="Example: tightc unpack packed.onnx -o plain.onnx")
@model_argument
@output_flag
@display_flags
def unpack(model: str | None, output: str | None, display: Display) -> None:
    """Restore the plain model from a packed one.

    The weights come back to the bit (only zeros lose their sign), and the arrangement stays recorded.
    """
    from tightc.packing.unpack import unpack as run

    destination = Destination.of(output, display)
    finish(run(read_model(model)), destination, display)
