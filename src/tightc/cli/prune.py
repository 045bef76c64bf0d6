"""`tightc prune`."""

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
from tightc.pruning.options import PruneOptions


@click.command(
    epilog="Example: tightc prune model.onnx --sparsity 0.9 --skip 'conv1*' -o pruned.onnx; for an array: "
    "tightc prune model.onnx --align 32x32 --budget compression=10 -o pruned.onnx; "
    "tightc prune model.onnx --sparsity 0.7 --criterion obs --data images/ -o pruned.onnx"
)
@model_argument
@option_flags(PruneOptions)
@option_flags(DataOptions, spared=True)
@seed_flag
@output_flag
@display_flags
def prune(model: str | None, seed: int, output: str | None, display: Display, **flags: Any) -> None:
    """Set the least important weights to zero.

    Single weights go, those worth least first, wherever they are. With --align a filter keeps its weights in whole
    parts of the array's rows, so that what is left fills the array, and a --budget of area or cycles may take the place
    of the share. With --granularity filter whole filters go, those of the least mean square first, and with each the
    inputs that read its channel, unless that is added to others. Every layer keeps at least one weight. Biases stay,
    and so do layers kept aside: the share is taken of the others. An arrangement of the model is dropped, since it was
    made for other zeros.

    With --criterion obs a few hundred images, without labels, take the place of training: the weights that stay, and
    biases or norms, are adapted so that each layer gives what it gave before. Takes the train images where the data has
    a train and a test part, else all. Criterion fisher needs labels, and torch: pip install 'tightc[finetune]'.
    """
    from tightc.data.images import NormalizedImages
    from tightc.pruning.prune import prune as run

    options, data = parsed_options(PruneOptions, flags), parsed_options_if(DataOptions, flags, "data")
    if data and not options.needs_images:
        raise OptionError(
            "--data: expected criterion fisher or obs, got magnitude, which uses no images",
            "leave it out, or add --criterion obs",
        )
    destination = Destination.of(output, display)
    network = read_model(model)
    seen = NormalizedImages(images_for(network, data, "train"), data.normalization) if data else None
    with display.progress() as progress:
        result = run(network, options, seen, seed=seed, progress=progress)
    finish(result, destination, display)
