"""`tightc inspect`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.common import Manner, images_for, manner_flags, model_argument, read_model, show
from tightc.cli.flags import chosen, chosen_if, flags_of
from tightc.data.options import DataOptions
from tightc.data.source import FORMS
from tightc.inspection.options import InspectOptions, SensitivityOptions


@click.command(
    epilog="Example: tightc inspect model.onnx; "
    "tightc inspect model.onnx --sensitivity images/ --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26"
)
@model_argument
@flags_of(InspectOptions)
@click.option(
    "--sensitivity",
    "data",
    metavar="DATA",
    help=f"Measure what is lost when a layer alone is pruned, on labelled images: {FORMS}.",
)
@flags_of(DataOptions, spared=True, besides=("data",))
@flags_of(SensitivityOptions)
@manner_flags
def inspect(model: str | None, manner: Manner, **flags: Any) -> None:
    """Show the layers of a model and what is not covered.

    A row for each layer: its matrix of N filters x K inputs, the M vectors that stream through it, how dense it is.
    Operators that multiply but cannot be packed are listed with the reason.

    With --sensitivity each layer is also pruned alone, by magnitude: a row then tells how many points of accuracy that
    costs, and how far the chances of the classes move (Kullback-Leibler divergence, in nats). Takes the train images
    where the data has a train and a test part, else all: what is chosen by it can then be tested on others.
    """
    from tightc.inspection.inspect import inspect as run

    options, data = chosen(InspectOptions, flags), chosen_if(DataOptions, flags, "data", "sensitivity")
    closely = chosen_if(SensitivityOptions, flags, "data", "sensitivity")
    network = read_model(model)
    report = run(network, options)
    if data and closely:
        from tightc.inspection.sensitivity import with_sensitivity

        images = images_for(network, data, "train")
        with manner.progress() as listener:
            report = with_sensitivity(report, network, images, data.normalisation, closely, listener=listener)
    show(report, manner)
