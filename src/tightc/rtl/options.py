"""Options of rtl."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tightc.config.input_sizes import InputSizeOptions
from tightc.tile.array import ArrayShape


class RtlOptions(InputSizeOptions):
    """The array that is written, and the inputs that fill its memories."""

    groups: ClassVar = {
        "Array": (
            "array",
            "fan_in",
            "multiplexer",
            "columns_per_lane_register",
            "prefetch_weights",
            "overlap_drain",
            "accumulator_bypass",
        ),
        "Simulation": ("simulate", "chain"),
        "Model inputs": ("inputs", "batch", "input_shape"),
    }

    array: ArrayShape | None = Field(
        None,
        description="size of the array, rows x columns, such as 32x32; default: the permuted model's, else 32x32",
    )
    fan_in: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="inputs of each multiplexer, at least the tiles' fan-in; default: the tiles'"
    )
    multiplexer: Literal["tree", "one-hot"] = Field(
        "tree", description="multiplexer of a PE: tree of 2:1, or one-hot with an AND-OR of all inputs"
    )
    columns_per_lane_register: Annotated[int, Field(ge=1, le=4096)] = Field(
        1, description="columns that share a register on each lane; 1: a register in every PE"
    )
    prefetch_weights: bool = Field(
        False, description="shadow registers, to load the next tile's weights while a tile runs: on or off"
    )
    overlap_drain: bool = Field(
        False,
        description="start of the next tile before the array is empty, with prefetch_weights: on or off",
    )
    accumulator_bypass: bool = Field(
        False, description="requantization of complete sums as they leave the array: on or off"
    )
    simulate: Literal["icarus", "verilator"] | None = Field(
        None, description="simulator that runs the testbench: icarus or verilator; default: none"
    )
    chain: bool = Field(
        False,
        description="simulated layers read what the layers before them have written, with simulate: on or off",
    )
    inputs: str | None = Field(
        None,
        description="NumPy .npz file with an array for each model input; default: random values",
    )
