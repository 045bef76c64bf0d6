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
@click.option("--stream", metavar="FILE", help="Memory image to check: the same tiles and weights.")
@output_flag
@display_flags
def unpack(model: str | None, stream: str | None, output: str | None, display: Display) -> None:
    """Restore the plain model from a packed one.

    The weights are the same to the bit, but for the sign of zeros. The tiles stay recorded.
    """
    from tightc.packing.stream_file import read_stream_file
    from tightc.packing.unpack import unpack as run

    destination = Destination.of(output, display)
    if stream is not None:
        destination.require_other(stream)
    image = None if stream is None else read_stream_file(stream)
    finish(run(read_model(model), image, stream or ""), destination, display)
