"""Options of simulate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tightc.config.extent import ExtentOptions
from tightc.simulation.energy import EnergyTable, default_table
from tightc.tiles.array import ArrayShape


class SimulateOptions(ExtentOptions):
    """The array that the model runs on."""

    array: ArrayShape | None = Field(
        None,
        description="size of the array, rows x columns; default: the one the model was arranged for, else 32x32",
    )
    dataflow: Literal["ws", "os", "is"] = Field(
        "ws", description="what stays in the array: ws (weights), os (outputs) or is (inputs)"
    )
    energy: EnergyTable = Field(
        default_factory=default_table,
        description="energy per event, a YAML file (in a recipe also its keys); default: horowitz-45nm",
    )
