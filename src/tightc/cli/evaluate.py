"""`tightc evaluate`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, data_for, display_flags, model_argument, read_model, show
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
@click.option("--teacher", metavar="MODEL", help="Model to measure the agreement with.")
@display_flags
def evaluate(model: str | None, teacher: str | None, display: Display, **flags: Any) -> None:
    """Measure accuracy, or another metric, with onnxruntime.

    Top-1 accuracy by default. With --teacher the agreement with another model: images of the same class, or the error
    of other outputs. Metric auc takes labels 0 and 1, and the output or the reconstruction error as the score; mae
    compares with the labels. A function is called as function(outputs, labels), or with the inputs as a third argument.
    Uses the test split of the data, or all of it without splits.
    """
    from tightc.data.images import Normalization
    from tightc.data.samples import Samples
    from tightc.evaluation.evaluate import evaluate as run
    from tightc.model.file import load_model

    data, options = parsed_options(DataOptions, flags), parsed_options(EvaluateOptions, flags)
    network = read_model(model)
    other = load_model(teacher) if teacher else None
    labeled = other is None and options.metric in (None, "accuracy")
    seen = data_for(network, data, "test", labeled=labeled)
    images, normalization = (
        (seen, Normalization()) if isinstance(seen, Samples) else (seen.images, seen.normalization)
    )
    with display.progress() as progress:
        report = run(network, images, normalization, options, teacher=other, progress=progress)
    show(report, display)
