"""Options that describe the accelerator: for simulate, compare and permute alike, and for the budgets of pruning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.accelerator.hardware import MOST_ARRAYS, Hardware
from tightc.config.input_sizes import InputSizeOptions
from tightc.tile.array import LARGEST, ArrayShape


class HardwareOptions(InputSizeOptions):
    """The accelerator but for the size of its array, and the energy of its events."""

    hardware: Hardware | None = Field(
        None,
        description="hardware, a name of tightc hardware list or a YAML file: array, buffers, DRAM and clock; default: "
        "ideal, with unlimited buffers, no stalls and no DRAM",
    )
    arrays: Annotated[int, Field(ge=1, le=MOST_ARRAYS)] | None = Field(
        None, description=f"number of arrays, from 1 to {MOST_ARRAYS}; default: the hardware's, else 1"
    )
    prefetch_weights: bool | None = Field(
        None,
        description="load the next tile's weights while a tile runs; default: the hardware's, else off",
    )
    replicate_tiles: bool | None = Field(
        None,
        description="replicate small tiles on the array's diagonal to split the vectors; default: the "
        "hardware's, else off",
    )
    columns_per_lane_register: Annotated[int, Field(ge=1, le=LARGEST)] | None = Field(
        None,
        description=f"columns that share a register for a lane's inputs, from 1 to {LARGEST}; default: the "
        "hardware's, else 1, a register in every PE",
    )
    overlap_drain: bool | None = Field(
        None,
        description="start the next tile while the sums of a tile still leave, with --prefetch-weights; default: the "
        "hardware's, else off",
    )
    accumulator_bypass: bool | None = Field(
        None,
        description="let complete sums leave without being stored as partial sums; default: the hardware's, else off",
    )
    energy: EnergyTable = Field(
        default_factory=default_table,
        description="energy of each event: horowitz-45nm, nangate45, sg13g2 or a YAML file; default: horowitz-45nm",
    )


class AcceleratorOptions(HardwareOptions):
    """The accelerator that models run on, the energy of its events, and its area."""

    groups: ClassVar = {
        "Hardware": (
            "hardware",
            "array",
            "arrays",
            "prefetch_weights",
            "replicate_tiles",
            "columns_per_lane_register",
            "overlap_drain",
            "accumulator_bypass",
        ),
        "Energy and area": ("energy", "area"),
        "Model inputs": ("batch", "input_shape"),
    }
    advanced: ClassVar = frozenset(
        {
            "prefetch_weights",
            "replicate_tiles",
            "columns_per_lane_register",
            "overlap_drain",
            "accumulator_bypass",
        }
    )

    array: ArrayShape | None = Field(
        None,
        description="size of the array, rows x columns, such as 32x32; default: the hardware's, the permuted "
        "model's, else 32x32",
    )
    area: AreaTable | None = Field(
        None,
        description="area of each part of an array: nangate45, sg13g2 or a YAML file; default: none, no area in the "
        "report",
    )
