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


@click.command(cls=StageCommand, epilog="Example: tightc pack permuted.onnx -o packed.onnx")
@model_argument
@option_flags(PackOptions)
@output_flag
@display_flags
def pack(model: str | None, output: str | None, display: Display, **flags: Any) -> None:
    """Write the compact form that runs in stock onnxruntime.

    Every permuted weight becomes a few small tensors and a model function that rebuilds it. onnxruntime folds the
    function at load: the packed model is as fast as the plain one, and has the same outputs.
    """
    from tightc.packing.pack import pack as run

    options = parsed_options(PackOptions, flags)
    destination = Destination.of(output, display)
    finish(run(read_model(model), options), destination, display)
