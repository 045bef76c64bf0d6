"""`tightc evaluate`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, images_for, model_argument, read_model, show
from tightc.cli.flags import option_flags, parsed_options
from tightc.data.options import DataOptions
from tightc.evaluation.options import EvaluateOptions


@click.command(
    cls=StageCommand,
    epilog="Example: tightc evaluate model.onnx --data cifar10.tar.gz --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26",
)
@model_argument
@option_flags(DataOptions)
@option_flags(EvaluateOptions)
@display_flags
def evaluate(model: str | None, display: Display, **flags: Any) -> None:
    """Measure top-1 accuracy with onnxruntime.

    Uses the test split of the data, or all images without splits.
    """
    from tightc.evaluation.evaluate import evaluate as run

    data, options = parsed_options(DataOptions, flags), parsed_options(EvaluateOptions, flags)
    network = read_model(model)
    images = images_for(network, data, "test")
    with display.progress() as progress:
        report = run(network, images, data.normalization, options, progress=progress)
    show(report, display)
