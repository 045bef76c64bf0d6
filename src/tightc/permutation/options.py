"""Options of permute."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tightc.config.address import Address
from tightc.config.duration import Duration
from tightc.config.options import Options, invalid_combination
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.objective import Objective
from tightc.permutation.pattern import TWO_OF_FOUR, Pattern
from tightc.tile.array import ArrayShape


class PermuteOptions(Options):
    """What to arrange the weights for, and how to search."""

    array: ArrayShape = Field(
        ArrayShape(32, 32), description="size of the array, rows x columns, such as 32x32"
    )
    fan_in: Annotated[int, Field(ge=1, le=32767)] = Field(
        16, description="inputs that a lane can carry, from 1 (an ordinary array) to 32767"
    )
    subword_bits: Literal[2, 4] | None = Field(
        None,
        description="give every digit of 2 or 4 bits of int8 weights that is not zero a slot of its own, on an array "
        "of PEs for so many bits; default: whole weights",
    )
    method: Literal["tight", "first-fit", "column-combine", "nm", "structured", "dense"] = Field(
        "tight",
        description="how to arrange: tight (single weights, annealed), first-fit (the same without a search), "
        "column-combine (whole inputs share a lane; lossy for gamma above 0), nm (N:M sparsity, inputs in annealed "
        "order; lossy), structured (without empty filters and inputs) or dense",
    )
    alpha: Annotated[int, Field(ge=1, le=32767)] = Field(
        8,
        description="for column-combine: inputs that share a lane at most, from 1 to 32767, within the fan-in",
    )
    gamma: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="for column-combine: weights dropped for each filter and lane, on average at most, at least 0",
    )
    pattern: Pattern = Field(
        TWO_OF_FOUR,
        description="for nm: weights that a filter keeps of so many inputs, from 1:2 to 15:16, the latter within the "
        "fan-in",
    )
    temp_schedule: TemperatureSchedule = Field(
        TemperatureSchedule(), description="temperature schedule, a YAML file (in a recipe also its keys)"
    )
    objective: Objective = Field(
        "passes",
        description="what to make small first: passes, area, inputs (that lanes carry), cycles, which are passes with "
        "the time shared by what they take, side-by-side, which are cycles of an array that runs copies of small "
        "tiles side by side, or energy, which is that of an array among packings of fewest passes; then follow passes, "
        "area and inputs",
    )
    time_limit: Duration | None = Field(
        None,
        description="end with the best packing found by then, such as 30s or 5m; default: that of the schedule",
    )
    jobs: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="threads to search with, from 1 to 1024, or 0 for one on each core"
    )
    dask: Address = Field(
        None,
        description="search on the Dask cluster with this scheduler, such as tcp://host:8786, not on threads",
    )

    @model_validator(mode="after")
    def _digits_one_by_one(self) -> Self:
        if self.subword_bits is not None and self.method not in ("tight", "first-fit"):
            raise invalid_combination(
                f"{self.method} arranges whole weights",
                "take tight or first-fit, or leave it out",
                "subword_bits",
            )
        return self

    @model_validator(mode="after")
    def _within_the_fan_in(self) -> Self:
        if self.method == "column-combine" and self.alpha > self.fan_in:
            raise invalid_combination(
                f"alpha {self.alpha} is above the fan-in {self.fan_in} of the array",
                f"lower alpha to {self.fan_in} or raise fan_in to {self.alpha}",
                "alpha",
            )
        if self.method == "nm" and self.pattern.group > self.fan_in:
            raise invalid_combination(
                f"pattern {self.pattern} needs a fan-in of {self.pattern.group}, that of the array is {self.fan_in}",
                f"raise fan_in to {self.pattern.group}",
                "pattern",
            )
        return self
