"""`tightc quantize`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.common import (
    Destination,
    Display,
    display_flags,
    finish,
    images_for,
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
    epilog="Example: tightc quantize finetuned.onnx -o int8.onnx; activations too: "
    "tightc quantize finetuned.onnx --data images/ --calibration entropy -o int8.onnx"
)
@model_argument
@option_flags(QuantizeOptions)
@option_flags(DataOptions, spared=True)
@seed_flag
@output_flag
@display_flags
def quantize(model: str | None, seed: int, output: str | None, display: Display, **flags: Any) -> None:
    """Make weights whole numbers of eight bits.

    Each filter gets the scale that leaves the least mean square error; a weight is a sign and a magnitude up to 127,
    and a zero stays one. With --data what streams into the layers is rounded to eight bits too: a few hundred images
    show its range; no labels are needed. The model says so with QuantizeLinear and DequantizeLinear, which every
    runtime knows, and what is quantized already stays as it is.
    """
    from tightc.data.images import NormalizedImages
    from tightc.quantization.quantize import quantize as run

    options, data = parsed_options(QuantizeOptions, flags), parsed_options_if(DataOptions, flags, "data")
    for name in ("calibration", "percentile", "calibration_images"):
        if data is None and flags.get(name) is not None:
            raise OptionError(f"--{name.replace('_', '-')}: it needs --data", "add --data")
    destination = Destination.of(output, display)
    network = read_model(model)
    seen = NormalizedImages(images_for(network, data, "train"), data.normalization) if data else None
    with display.progress() as progress:
        result = run(network, options, seen, seed=seed, progress=progress)
    finish(result, destination, display)
