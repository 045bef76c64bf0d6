"""`tightc inspect`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.common import Manner, manner_flags, model_argument, read_model, show
from tightc.cli.flags import chosen, flags_of
from tightc.inspection.options import InspectOptions


@click.command(epilog="Example: tightc inspect model.onnx")
@model_argument
@flags_of(InspectOptions)
@manner_flags
def inspect(model: str | None, manner: Manner, **flags: Any) -> None:
    """Show the layers of a model and what is not covered.

    A row for each layer: its matrix of N filters x K inputs, the M vectors that stream through it, how dense it is.
    Operators that multiply but cannot be packed are listed with the reason.
    """
    from tightc.inspection.inspect import inspect as run

    options = chosen(InspectOptions, flags)
    show(run(read_model(model), options), manner)
