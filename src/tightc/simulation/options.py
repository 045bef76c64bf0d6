"""Options of simulate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tightc.config.options import Options
from tightc.simulation.energy import EnergyTable, default_table
from tightc.tiles.array import ArrayShape


class SimulateOptions(Options):
    """The array that the model runs on."""

    array: ArrayShape | None = Field(
        None,
        description="size of the array, rows x columns; default: the one the model was arranged for, else 32x32",
    )
    dataflow: Literal["ws", "os", "is"] = Field(
        "ws", description="what stays in the array: ws (weights), os (outputs) or is (inputs)"
    )
    batch: Annotated[int, Field(ge=1)] | None = Field(
        None, description="images at a time, at least 1; default: the model's own batch, else 1"
    )
    energy: EnergyTable = Field(
        default_factory=default_table, description="a YAML file with energy per event; default: horowitz-45nm"
    )
