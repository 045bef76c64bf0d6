"""Options of compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tightc.config.duration import Duration
from tightc.config.options import invalid_combination
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.objective import Objective
from tightc.permutation.pattern import TWO_OF_FOUR, Pattern
from tightc.simulation.options import AcceleratorOptions, SimulateOptions
from tightc.tile.array import ArrayShape

Method = Literal["dense", "structured", "column-combine", "nm", "first-fit", "tight"]
DEFAULT_FAN_IN = 16


def _listed(read: Callable[[str], Any], items: str) -> BeforeValidator:
    """Several values as a list or as text with commas between them, each read from its text by `read`."""

    def split(value: object) -> tuple[Any, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or isinstance(parts, Pattern):
            parts = [parts]
        try:
            return tuple(read(part.strip()) if isinstance(part, str) else part for part in parts)
        except ValueError:
            raise ValueError(f"should be {items} with commas between them") from None

    return BeforeValidator(split)


FanIn = Annotated[int, Field(ge=1, le=32767)]
Gamma = Annotated[float, Field(ge=0)]


class CompareOptions(AcceleratorOptions):
    """What is compared, on hardware that is the same for all."""

    method: Annotated[tuple[Method, ...], _listed(str, "names")] = Field(
        ("dense", "structured", "column-combine", "nm", "tight"),
        description="what to compare, a list or once for each: dense (all weights, zeros included), structured "
        "(without empty filters and inputs), column-combine (a row for each gamma), nm (one for each pattern), "
        "first-fit or tight (one for each fan-in)",
        min_length=1,
    )
    fan_in: Annotated[tuple[FanIn, ...], _listed(int, "whole numbers")] = Field(
        (),
        description="for tight and first-fit: inputs that a lane can carry, from 1 to 32767, a list such as 4,8,16 or "
        f"once for each; default: as many as the hardware's lanes carry, else {DEFAULT_FAN_IN}",
    )
    alpha: FanIn = Field(
        8,
        description="for column-combine: inputs that share a lane at most, from 1 to 32767; where the hardware's lanes "
        "carry fewer, as many as they do",
    )
    gamma: Annotated[tuple[Gamma, ...], _listed(float, "numbers")] = Field(
        (0.0, 0.5, 1.75),
        description="for column-combine: weights dropped for each filter and lane, on average at most, at least 0, a "
        "list or once for each",
        min_length=1,
    )
    pattern: Annotated[tuple[Pattern, ...], _listed(str, "patterns")] = Field(
        (TWO_OF_FOUR,),
        description="for nm: weights that a filter keeps of so many inputs, from 1:2 to 15:16, a list or once for each",
        min_length=1,
    )
    temp_schedule: TemperatureSchedule = Field(
        TemperatureSchedule(), description="temperature schedule, a YAML file"
    )
    objective: Annotated[tuple[Objective, ...], _listed(str, "names")] = Field(
        ("passes",),
        description="for tight: what to make small first, a list or once for each: passes, area, inputs (that lanes "
        "carry), cycles, side-by-side or energy, as in permute",
        min_length=1,
    )
    time_limit: Duration | None = Field(
        None,
        description="end each search with the best found by then, such as 30s or 5m; default: that of the schedule",
    )
    jobs: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="threads to search with, from 1 to 1024, or 0 for one on each core"
    )

    @model_validator(mode="after")
    def _within_the_hardware(self) -> Self:
        if self.hardware and max(self.fan_in, default=0) > self.hardware.fan_in:
            carried = self.hardware.fan_in
            raise invalid_combination(
                f"{max(self.fan_in)} is above {carried}, the inputs that a lane of {self.hardware.name} can carry",
                f"lower it to {carried} or leave it out",
                "fan_in",
            )
        return self

    @property
    def fan_ins(self) -> tuple[int, ...]:
        """The fan-ins of tight and first-fit, from the hardware where none are given."""
        return self.fan_in or (self.hardware.fan_in if self.hardware else DEFAULT_FAN_IN,)

    def simulated(self, array: ArrayShape) -> SimulateOptions:
        """What all variants are simulated with, on that array."""
        shared = {name: getattr(self, name) for name in AcceleratorOptions.model_fields}
        return SimulateOptions(**{**shared, "array": array})
