"""Options of simulate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tightc.config.input_sizes import InputSizeOptions
from tightc.simulation.accelerator.energy_table import EnergyTable, default_table
from tightc.simulation.accelerator.hardware import Hardware
from tightc.tile.array import ArrayShape


class AcceleratorOptions(InputSizeOptions):
    """The hardware that models run on, and what its events cost."""

    hardware: Hardware | None = Field(
        None,
        description="array, buffers, DRAM and clock, a YAML file (in a recipe also its keys); default: an ideal chip, "
        "whose buffers hold everything and keep up",
    )
    array: ArrayShape | None = Field(
        None,
        description="size of the array, rows x columns; default: that of the hardware, else the one the model was "
        "arranged for, else 32x32",
    )
    arrays: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None,
        description="how many arrays work side by side, from 1 to 4096; default: those of the hardware, else 1",
    )
    prefetch_weights: bool | None = Field(
        None,
        description="load what stays in the array for the next pass while a pass runs: true or false; default: as the "
        "hardware says, else not",
    )
    side_by_side: bool | None = Field(
        None,
        description="put a tile that needs a part of the array only on its diagonal as often as it fits, each copy for "
        "a part of the vectors: true or false; default: as the hardware says, else not",
    )
    energy: EnergyTable = Field(
        default_factory=default_table,
        description="energy per event, a YAML file (in a recipe also its keys); default: horowitz-45nm",
    )


class SimulateOptions(AcceleratorOptions):
    """What is simulated, and how it is checked."""

    dataflow: Literal["ws", "os", "is"] = Field(
        "ws", description="what stays in the array: ws (weights), os (outputs) or is (inputs)"
    )
    verify: bool = Field(
        False,
        description="also run every layer cycle by cycle on what onnxruntime feeds it, and compare values and cycles",
    )
    inputs: str | None = Field(
        None,
        description="an .npz file with an array for each input of the model, for --trace and for verify, which it "
        "implies; default: random numbers",
    )
