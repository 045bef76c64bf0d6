"""Options of compare."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from tightc.accelerator.options import AcceleratorOptions
from tightc.config.duration import Duration
from tightc.config.listed import Listed
from tightc.config.options import invalid_combination
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.objective import Objective
from tightc.permutation.options import MethodName
from tightc.permutation.pattern import TWO_OF_FOUR, Pattern
from tightc.permutation.registry import BUILT_IN, method_names
from tightc.simulation.options import SimulateOptions
from tightc.tile.array import ArrayShape

DEFAULT_FAN_IN = 8
ALL = "all"


def _with_all(names: Any) -> Any:
    """Every method in place of ALL: tightc's own from dense to tight, then those of packages."""
    if not isinstance(names, tuple) or ALL not in names:
        return names
    own = tuple(reversed(BUILT_IN))
    every = (*own, *(name for name in method_names() if name not in BUILT_IN))
    return tuple(one for name in names for one in (every if name == ALL else (name,)))


FanIn = Annotated[int, Field(ge=1, le=32767)]
Gamma = Annotated[float, Field(ge=0)]


class CompareOptions(AcceleratorOptions):
    """What is compared, on hardware that is the same for all."""

    groups: ClassVar = {
        "Methods": ("method", "fan_in", "objective", "alpha", "gamma", "pattern"),
        "Search": ("temp_schedule", "time_limit", "jobs"),
        **AcceleratorOptions.groups,
        "Energy and area": (*AcceleratorOptions.groups["Energy and area"], "equal_area"),
    }

    method: Annotated[tuple[MethodName, ...], BeforeValidator(_with_all), Listed(str, "names")] = Field(
        ("dense", "structured", "column-combine", "nm", "tight"),
        description="methods to compare: dense, structured, whole-filters, vusa, displace, series-nm, row-nm, nm, "
        "column-combine, first-fit, tight, plugins, or all",
        examples=[*BUILT_IN, ALL],
        min_length=1,
    )
    fan_in: Annotated[tuple[FanIn, ...], Listed(int, "integers")] = Field(
        (),
        description="inputs per lane, for tight and first-fit: 1 to 32767, such as 4,8,16; "
        f"default: that of the hardware, else {DEFAULT_FAN_IN}",
    )
    alpha: FanIn = Field(
        8,
        description="maximum inputs per lane, for column-combine: 1 to 32767; lowered to the hardware's fan-in",
    )
    gamma: Annotated[tuple[Gamma, ...], Listed(float, "numbers")] = Field(
        (0.0, 0.5, 1.75),
        description="maximum mean of weights dropped per filter and lane, for column-combine: from 0",
        min_length=1,
    )
    pattern: Annotated[tuple[Pattern, ...], Listed(str, "patterns")] = Field(
        (TWO_OF_FOUR,),
        description="weights kept of so many inputs, for nm: 1:2 to 15:16",
        min_length=1,
    )
    temp_schedule: TemperatureSchedule = Field(
        TemperatureSchedule(), description="temperature schedule: default, quick, thorough or a YAML file"
    )
    objective: Annotated[tuple[Objective, ...], Listed(str, "names")] = Field(
        ("passes",),
        description="measures for tight to minimize first: passes, area, inputs, cycles, replicated-cycles or energy",
        min_length=1,
    )
    equal_area: bool = Field(
        False,
        description="rank by speedup at equal area, each method on an array of its own fan-in, with --area",
    )
    time_limit: Duration | None = Field(
        None, description="time limit of each search, such as 30s or 5m; default: that of the schedule"
    )
    jobs: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="search threads, 1 to 1024, or 0 for one per core"
    )

    @model_validator(mode="after")
    def _within_the_hardware(self) -> Self:
        if self.hardware and max(self.fan_in, default=0) > self.hardware.fan_in:
            carried = self.hardware.fan_in
            raise invalid_combination(
                f"expected at most {carried}, the fan-in of {self.hardware.name}, got {max(self.fan_in)}",
                f"lower it to {carried} or leave it out",
                "fan_in",
            )
        return self

    @model_validator(mode="after")
    def _areas_are_known(self) -> Self:
        if self.equal_area and self.area is None:
            raise invalid_combination(
                "expected an area table beside it, got none",
                "add --area, or leave --equal-area out",
                "equal_area",
            )
        return self

    @property
    def fan_ins(self) -> tuple[int, ...]:
        """The fan-ins of tight and first-fit, from the hardware if none are given."""
        return self.fan_in or (self.hardware.fan_in if self.hardware else DEFAULT_FAN_IN,)

    def simulated(self, array: ArrayShape) -> SimulateOptions:
        """The options that all variants are simulated with, on that array."""
        shared = {name: getattr(self, name) for name in AcceleratorOptions.model_fields}
        return SimulateOptions(**{**shared, "array": array})
