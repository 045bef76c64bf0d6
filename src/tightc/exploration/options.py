"""Options of explore: the axes of the grid, and what all its points have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tightc.accelerator.options import AcceleratorOptions
from tightc.config.address import Address
from tightc.config.listed import Listed
from tightc.config.options import invalid_combination
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import LARGEST_FAN_IN, MethodName
from tightc.permutation.pattern import TWO_OF_FOUR, Pattern
from tightc.tile.array import ArrayShape

Measure = Literal["cycles", "energy", "area", "bytes", "accuracy"]
_FanIn = Annotated[int, Field(ge=1, le=LARGEST_FAN_IN)]
_Sparsity = Annotated[float, Field(ge=0, lt=1)]


class ExploreOptions(AcceleratorOptions):
    """The axes of the grid, the measures of the front, and the accelerator that all points share."""

    groups: ClassVar = {
        "Axes": ("array", "fan_in", "sparsity", "method", "pattern"),
        "Front": ("front", "exhaustive"),
        "Search": ("temp_schedule", "jobs", "dask"),
        "Hardware": tuple(name for name in AcceleratorOptions.groups["Hardware"] if name != "array"),
        "Energy and area": AcceleratorOptions.groups["Energy and area"],
        "Model inputs": AcceleratorOptions.groups["Model inputs"],
    }
    advanced: ClassVar = AcceleratorOptions.advanced | {"dask", "pattern", "arrays", "batch", "input_shape"}

    array: Annotated[tuple[ArrayShape, ...], Listed(str, "arrays")] = Field(  # type: ignore[assignment]
        (),
        description="sizes of the array, rows x columns, such as 16x16,32x32; default: that of the hardware, else "
        "8x8,16x16,32x32",
    )
    fan_in: Annotated[tuple[_FanIn, ...], Listed(int, "integers")] = Field(
        (4, 8, 16), description=f"inputs per lane: 1 to {LARGEST_FAN_IN}", min_length=1
    )
    sparsity: Annotated[tuple[_Sparsity, ...], Listed(float, "numbers")] = Field(
        (),
        description="fractions of weights to prune, from 0 to below 1, such as 0.8,0.9; default: none, each model has "
        "the zeros that it has",
    )
    method: Annotated[tuple[MethodName, ...], Listed(str, "names")] = Field(
        ("tight",),
        description="packing methods: tight, first-fit, column-combine, nm, row-nm, series-nm, displace, vusa, "
        "whole-filters, structured, dense or plugins",
        min_length=1,
    )
    pattern: Pattern = Field(TWO_OF_FOUR, description="weights kept of so many inputs, for nm: 1:2 to 15:16")
    front: Annotated[tuple[Measure, ...], Listed(str, "names")] = Field(
        (),
        description="measures of the front: cycles, energy, area, bytes, accuracy; default: all known ones but bytes",
    )
    exhaustive: bool = Field(False, description="evaluate every point, and skip none by a bound")
    temp_schedule: TemperatureSchedule = Field(
        TemperatureSchedule(), description="temperature schedule, a YAML file without a time limit"
    )
    jobs: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="search threads, 1 to 1024, or 0 for one per core"
    )
    dask: Address = Field(
        None, description="Dask scheduler to search on instead of threads, such as tcp://host:8786"
    )

    @model_validator(mode="after")
    def _is_repeatable(self) -> Self:
        if self.temp_schedule.time_limit is not None:
            raise invalid_combination(
                "expected a schedule without time_limit, since with one a point depends on the load of the machine",
                "leave time_limit out, and lower moves_per_weight to search shorter",
                "temp_schedule",
            )
        return self

    @model_validator(mode="after")
    def _area_is_known(self) -> Self:
        if "area" in self.front and self.area is None:
            raise invalid_combination(
                "expected an area table beside area, got none", "add --area, or leave area out", "front"
            )
        return self

    @property
    def arrays_tried(self) -> tuple[ArrayShape, ...]:
        """The arrays of the grid, each once."""
        default = (
            (self.hardware.array,)
            if self.hardware
            else (ArrayShape(8, 8), ArrayShape(16, 16), ArrayShape(32, 32))
        )
        return tuple(dict.fromkeys(self.array or default))
