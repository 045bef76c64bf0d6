"""`tightc simulate`."""

from __future__ import annotations

from typing import Any

import click

from tightc.cli.common import Manner, manner_flags, model_argument, read_model, show
from tightc.cli.flags import chosen, flags_of
from tightc.simulation.options import SimulateOptions


@click.command(epilog="Example: tightc simulate packed.onnx --array 32x32 --json")
@model_argument
@flags_of(SimulateOptions)
@manner_flags
def simulate(model: str | None, manner: Manner, **flags: Any) -> None:
    """Count cycles and energy on a systolic array.

    Takes a dense, pruned, permuted or packed model and shows each layer beside the same layer dense. Cycles are
    exact closed forms; energy is a model, not a measurement.
    """
    from tightc.simulation.simulate import simulate as run

    options = chosen(SimulateOptions, flags)
    show(run(read_model(model), options), manner)
