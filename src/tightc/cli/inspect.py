"""`tightc inspect`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, images_for, model_argument, read_model, show
from tightc.cli.flags import option_flags, parsed_options, parsed_options_if
from tightc.data.formats import FORMATS
from tightc.data.options import DataOptions
from tightc.inspection.options import InspectOptions, SensitivityOptions


@click.command(
    cls=StageCommand,
    epilog="\b\nExample: tightc inspect model.onnx\n"
    "         tightc inspect model.onnx --sensitivity images/ --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26",
)
@model_argument
@option_flags(InspectOptions)
@click.option(
    "--sensitivity",
    "data",
    metavar="DATA",
    help=f"Labeled images for the sensitivity of each layer: {FORMATS}.",
)
@option_flags(DataOptions, optional=True, exclude=("data",))
@option_flags(SensitivityOptions)
@display_flags
def inspect(model: str | None, display: Display, **flags: Any) -> None:
    """Show the layers of a model and what is not covered.

    A row for each layer: its matrix of N filters x K inputs, the M vectors that stream through it, its density.
    Operators that multiply but cannot be packed are listed with the reason.

    With --sensitivity each layer is also pruned alone, by magnitude. Its row then shows the drop of accuracy in points
    and the KL divergence of the class probabilities in nats. Uses the train split of the data, or all images without
    splits, so that the test split stays independent.
    """
    from tightc.inspection.inspect import inspect as run

    options, data = (
        parsed_options(InspectOptions, flags),
        parsed_options_if(DataOptions, flags, "data", "sensitivity"),
    )
    closely = parsed_options_if(SensitivityOptions, flags, "data", "sensitivity")
    network = read_model(model)
    report = run(network, options)
    if data and closely:
        from tightc.inspection.sensitivity import with_sensitivity

        images = images_for(network, data, "train")
        with display.progress() as progress:
            report = with_sensitivity(report, network, images, data.normalization, closely, progress=progress)
    show(report, display)
