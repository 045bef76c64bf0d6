"""`tightc quantize`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import (
    Destination,
    Display,
    data_for,
    display_flags,
    finish,
    model_argument,
    output_flag,
    read_model,
    seed_flag,
)
from tightc.cli.flags import option_flags, parsed_options, parsed_options_if
from tightc.data.options import DataOptions
from tightc.errors import OptionError
from tightc.quantization.options import QuantizeOptions


@click.command(
    cls=StageCommand,
    epilog="\b\nExample: tightc quantize finetuned.onnx -o int8.onnx\n"
    "         tightc quantize finetuned.onnx --data images/ --calibration entropy -o int8.onnx",
)
@model_argument
@option_flags(QuantizeOptions)
@option_flags(DataOptions, optional=True)
@seed_flag
@output_flag
@display_flags
def quantize(model: str | None, seed: int, output: str | None, display: Display, **flags: Any) -> None:
    """Quantize weights to int8, and activations with images.

    Symmetric, from -127 to 127, with the scale of least mean square error for each filter; zeros stay zero. With --data
    the inputs of the layers are quantized too, calibrated on a few hundred images without labels. The model uses
    QuantizeLinear and DequantizeLinear. Tensors that are quantized already stay as they are.
    """
    from tightc.quantization.quantize import quantize as run

    options, data = parsed_options(QuantizeOptions, flags), parsed_options_if(DataOptions, flags, "data")
    for name in QuantizeOptions.model_fields:
        if data is None and name not in ("keep", "skip") and flags.get(name) is not None:
            raise OptionError(f"--{name.replace('_', '-')}: expected --data too, got none", "add --data")
    destination = Destination.of(output, display)
    network = read_model(model)
    seen = data_for(network, data, "train") if data else None
    with display.progress() as progress:
        result = run(network, options, seen, seed=seed, progress=progress)
    finish(result, destination, display)
