"""`tightc prune`."""

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
from tightc.pruning.options import PruneOptions


@click.command(
    epilog="Example: tightc prune model.onnx --sparsity 0.9 --keep 'conv1*' -o pruned.onnx; for an array: "
    "tightc prune model.onnx --align 32x32 --budget compression=10 -o pruned.onnx; "
    "tightc prune model.onnx --sparsity 0.7 --criterion obs --data images/ -o pruned.onnx"
)
@model_argument
@flags_of(PruneOptions)
@flags_of(DataOptions, spared=True)
@seed_flag
@output_flag
@manner_flags
def prune(model: str | None, seed: int, output: str | None, manner: Manner, **flags: Any) -> None:
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
    from tightc.data.images import Seen
    from tightc.pruning.prune import prune as run

    options, data = chosen(PruneOptions, flags), chosen_if(DataOptions, flags, "data")
    if data and not options.sees_images:
        raise OptionError("--data: magnitude looks at no images", "leave it out, or add --criterion obs")
    destination = Destination.of(output, manner)
    network = read_model(model)
    seen = Seen(images_for(network, data, "train"), data.normalisation) if data else None
    with manner.progress() as listener:
        result = run(network, options, seen, seed=seed, listener=listener)
    finish(result, destination, manner)
