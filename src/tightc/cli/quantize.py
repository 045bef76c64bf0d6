"""`tightc quantize`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.common import (
    Destination,
    Manner,
    finish,
    images_for,
    manner_flags,
    model_argument,
    output_flag,
    read_model,
    seed_flag,
)
from tightc.cli.flags import chosen, chosen_if, flags_of
from tightc.data.options import DataOptions
from tightc.errors import OptionError
from tightc.quantization.options import QuantizeOptions


@click.command(
    epilog="Example: tightc quantize finetuned.onnx -o int8.onnx; activations too: "
    "tightc quantize finetuned.onnx --data images/ --calibration entropy -o int8.onnx"
)
@model_argument
@flags_of(QuantizeOptions)
@flags_of(DataOptions, spared=True)
@seed_flag
@output_flag
@manner_flags
def quantize(model: str | None, seed: int, output: str | None, manner: Manner, **flags: Any) -> None:
    """Make weights whole numbers of eight bits.

    Each filter gets the scale that leaves the least mean square error; a weight is a sign and a magnitude up to 127,
    and a zero stays one. With --data what streams into the layers is rounded to eight bits too: a few hundred images
    show its range; no labels are needed. The model says so with QuantizeLinear and DequantizeLinear, which every
    runtime knows, and what is quantised already stays as it is.
    """
    from tightc.data.images import Seen
    from tightc.quantization.quantize import quantize as run

    options, data = chosen(QuantizeOptions, flags), chosen_if(DataOptions, flags, "data")
    for name in ("calibration", "percentile", "images"):
        if data is None and flags.get(name) is not None:
            raise OptionError(f"--{name}: it needs --data", "add --data")
    destination = Destination.of(output, manner)
    network = read_model(model)
    seen = Seen(images_for(network, data, "train"), data.normalisation) if data else None
    with manner.progress() as listener:
        result = run(network, options, seen, seed=seed, listener=listener)
    finish(result, destination, manner)
