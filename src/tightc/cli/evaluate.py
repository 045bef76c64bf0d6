"""`tightc evaluate`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.common import Manner, images_for, manner_flags, model_argument, read_model, show
from tightc.cli.flags import chosen, flags_of
from tightc.data.options import DataOptions
from tightc.evaluation.options import EvaluateOptions


@click.command(
    epilog="Example: tightc evaluate model.onnx --data cifar10.tar.gz --mean 0.49,0.48,0.45 --std 0.25,0.24,0.26"
)
@model_argument
@flags_of(DataOptions)
@flags_of(EvaluateOptions)
@manner_flags
def evaluate(model: str | None, manner: Manner, **flags: Any) -> None:
    """Measure top-1 accuracy with onnxruntime.

    Takes the test images where the data has a test and a train part, else all.
    """
    from tightc.evaluation.evaluate import evaluate as run

    data, options = chosen(DataOptions, flags), chosen(EvaluateOptions, flags)
    network = read_model(model)
    images = images_for(network, data, "test")
    with manner.progress() as listener:
        report = run(network, images, data.normalisation, options, listener=listener)
    show(report, manner)
