"""`tightc pack`."""

from __future__ import annotations

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
)
from tightc.cli.flags import option_flags, parsed_options
from tightc.packing.options import PackOptions


@click.command(
    cls=StageCommand,
    epilog="\b\nExample: tightc pack permuted.onnx -o packed.onnx\n"
    "         tightc pack permuted.onnx --stream weights.bin -o packed.onnx",
)
@model_argument
@option_flags(PackOptions)
@click.option("--stream", metavar="FILE", help="File for the packed layers as an entropy-coded memory image.")
@output_flag
@display_flags
def pack(model: str | None, stream: str | None, output: str | None, display: Display, **flags: Any) -> None:
    """Write the compact form that runs in stock onnxruntime.

    Every permuted weight becomes a few small tensors and a model function that rebuilds it. onnxruntime folds the
    function at load: the packed model is as fast as the plain one, and has the same outputs.

    With --stream the tiles are also written as a memory image for hardware, and sorted as they are in it.
    """
    from tightc.packing.pack import pack as run
    from tightc.packing.stream_file import pack_to_file

    options = parsed_options(PackOptions, flags)
    destination = Destination.of(output, display)
    if stream is not None:
        destination.require_other(stream, model)
    read = read_model(model)
    result = run(read, options) if stream is None else pack_to_file(read, options, stream)
    finish(result, destination, display)
