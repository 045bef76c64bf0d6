"""`tightc prune`."""

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
from tightc.pruning.options import PruneOptions


@click.command(
    cls=StageCommand,
    epilog="\b\nExample: tightc prune model.onnx --sparsity 0.9 -o pruned.onnx\n"
    "         tightc prune model.onnx --align 32x32 --budget compression=10 -o pruned.onnx\n"
    "         tightc prune model.onnx --sparsity 0.7 --criterion obs --data images/ -o pruned.onnx",
)
@model_argument
@option_flags(PruneOptions)
@option_flags(DataOptions, optional=True)
@seed_flag
@output_flag
@display_flags
def prune(model: str | None, seed: int, output: str | None, display: Display, **flags: Any) -> None:
    """Set the least important weights to zero.

    Unstructured by default: single weights anywhere. With --align each filter keeps segments as long as the array has
    rows, so that tiles are full; a --budget of slots, bits, cycles or energy may replace the sparsity. With
    --granularity filter whole filters go, with their biases and the inputs that read their channels. Every layer keeps
    at least one weight. The biases of the others stay. Weights on which no output depends any more go first. Recorded
    tiles are dropped.

    With --mask exactly the weights under a 0 of the file go, and layers without a mask stay.

    Criterion balanced needs no data: it makes magnitudes of different layers comparable. Use it where nothing is
    trained afterwards. Criterion obs replaces training: it adapts the remaining weights to a few hundred images without
    labels. Criterion fisher needs labels and torch: pip install 'tightc[finetune]'. Both use the train split, or all
    images without splits.
    """
    from tightc.pruning.prune import prune as run

    options, data = parsed_options(PruneOptions, flags), parsed_options_if(DataOptions, flags, "data")
    if data and not options.needs_images:
        raise OptionError(
            f"--data: expected criterion obs or fisher, got {options.criterion}",
            "leave --data out, or add --criterion obs",
        )
    destination = Destination.of(output, display)
    network = read_model(model)
    seen = data_for(network, data, "train") if data else None
    with display.progress() as progress:
        result = run(network, options, seen, seed=seed, progress=progress)
    finish(result, destination, display)
