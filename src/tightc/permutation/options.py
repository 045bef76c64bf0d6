"""Options of permute."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tightc.config.address import Address
from tightc.config.duration import Duration
from tightc.config.options import Options, invalid_combination
from tightc.errors import OptionError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.objective import Objective
from tightc.permutation.pattern import TWO_OF_FOUR, Pattern
from tightc.permutation.registry import find_method
from tightc.tile.array import ArrayShape


def _known_method(name: str) -> str:
    try:
        return find_method(name).name
    except OptionError as fault:
        raise invalid_combination(fault.sentence, fault.remedy) from None


MethodName = Annotated[str, AfterValidator(_known_method)]


class PermuteOptions(Options):
    """The array to pack for, the method, and how it searches."""

    groups: ClassVar = {
        "Array": ("array", "fan_in", "subword_bits"),
        "Method": ("method", "objective", "alpha", "gamma", "pattern"),
        "Search": ("temp_schedule", "time_limit", "jobs", "dask"),
    }
    advanced: ClassVar = frozenset(("subword_bits", "dask"))

    array: ArrayShape = Field(ArrayShape(32, 32), description="array size, rows x columns, such as 32x32")
    fan_in: Annotated[int, Field(ge=1, le=32767)] = Field(
        16, description="inputs that a lane can carry, 1 (an ordinary array) to 32767"
    )
    subword_bits: Literal[2, 4] | None = Field(
        None, description="bits of the subwords of int8 weights that take a slot each, 2 or 4"
    )
    method: MethodName = Field(
        "tight",
        description="packing method: tight, first-fit, column-combine, nm, structured, dense or a plugin",
    )
    alpha: Annotated[int, Field(ge=1, le=32767)] = Field(
        8, description="maximum inputs per lane, for column-combine: from 1 to the fan-in"
    )
    gamma: Annotated[float, Field(ge=0)] = Field(
        0.0, description="maximum mean of weights dropped per filter and lane, for column-combine: from 0"
    )
    pattern: Pattern = Field(
        TWO_OF_FOUR, description="weights kept of so many inputs, for nm: 1:2 to 15:16, within the fan-in"
    )
    temp_schedule: TemperatureSchedule = Field(
        TemperatureSchedule(), description="temperature schedule, a YAML file (in a recipe also its keys)"
    )
    objective: Objective = Field(
        "passes",
        description="measure to minimize first: passes, area, inputs, cycles, replicated-cycles or energy",
    )
    time_limit: Duration | None = Field(
        None, description="time limit of the search, such as 30s or 5m; default: that of the schedule"
    )
    jobs: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="search threads, 1 to 1024, or 0 for one per core"
    )
    dask: Address = Field(
        None, description="Dask scheduler to search on instead of threads, such as tcp://host:8786"
    )

    @model_validator(mode="after")
    def _packs_subwords(self) -> Self:
        if self.subword_bits is not None and "subword_bits" not in find_method(self.method).options:
            raise invalid_combination(
                f"expected a method that packs subwords, got {self.method}",
                "choose tight or first-fit, or leave it out",
                "subword_bits",
            )
        return self

    @model_validator(mode="after")
    def _within_the_fan_in(self) -> Self:
        options = find_method(self.method).options
        if "alpha" in options and self.alpha > self.fan_in:
            raise invalid_combination(
                f"expected alpha up to {self.fan_in}, the fan-in of the array, got {self.alpha}",
                f"lower alpha to {self.fan_in} or raise fan_in to {self.alpha}",
                "alpha",
            )
        if "pattern" in options and self.pattern.group > self.fan_in:
            raise invalid_combination(
                f"expected a fan-in of {self.pattern.group} or more for pattern {self.pattern}, got {self.fan_in}",
                f"raise fan_in to {self.pattern.group}",
                "pattern",
            )
        return self
