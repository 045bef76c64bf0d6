"""`tightc prune`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.common import (
    Destination,
    Manner,
    finish,
    manner_flags,
    model_argument,
    output_flag,
    read_model,
)
from tightc.cli.flags import chosen, flags_of
from tightc.pruning.options import PruneOptions


@click.command(
    epilog="Example: tightc prune model.onnx --sparsity 0.9 --keep 'conv1*' -o pruned.onnx; for an array: "
    "tightc prune model.onnx --align 32x32 --budget compression=10 -o pruned.onnx"
)
@model_argument
@flags_of(PruneOptions)
@output_flag
@manner_flags
def prune(model: str | None, output: str | None, manner: Manner, **flags: Any) -> None:
    """Set the least important weights to zero.

    Single weights go, those worth least first, wherever they are. With --align a filter keeps its weights in whole
    parts of the array's rows, so that what is left fills the array, and a --budget of area or cycles may take the place
    of the share. With --granularity filter whole filters go, those of the least mean square first, and with each the
    inputs that read its channel, unless that is added to others. Every layer keeps at least one weight. Biases stay,
    and so do layers kept aside: the share is taken of the others. An arrangement of the model is dropped, since it was
    made for other zeros.
    """
    from tightc.pruning.prune import prune as run

    options = chosen(PruneOptions, flags)
    destination = Destination.of(output, manner)
    finish(run(read_model(model), options), destination, manner)
