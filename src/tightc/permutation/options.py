"""Options of permute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, PlainValidator, model_validator

from tightc.accelerator.hardware import Hardware
from tightc.accelerator.options import AcceleratorOptions
from tightc.config.address import Address
from tightc.config.duration import Duration
from tightc.config.options import invalid_combination
from tightc.errors import OptionError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.objective import Objective
from tightc.permutation.pattern import TWO_OF_FOUR, Pattern
from tightc.permutation.registry import BUILT_IN, find_method
from tightc.selection.budget import Budget
from tightc.tile.array import ArrayShape


def _known_method(name: str) -> str:
    try:
        return find_method(name).name
    except OptionError as fault:
        raise invalid_combination(fault.sentence, fault.remedy) from None


def _fan_in(value: Any) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_FAN_IN:
        raise ValueError(f"should be an integer from 1 to {LARGEST_FAN_IN} or auto")
    return value


LARGEST_FAN_IN = 32767
MethodName = Annotated[str, AfterValidator(_known_method)]
# one validator, not one for each member of the union, so that a fault names the key alone
FanIn = Annotated[
    int | Literal["auto"],
    PlainValidator(
        _fan_in, json_schema_input_type=Annotated[int, Field(ge=1, le=LARGEST_FAN_IN)] | Literal["auto"]
    ),
]


class PermuteOptions(AcceleratorOptions):
    """The array to pack for, the method, and how it searches."""

    groups: ClassVar = {
        "Hardware": ("fan_in", "subword_bits", *AcceleratorOptions.groups["Hardware"]),
        "Method": ("method", "objective", "alpha", "gamma", "budget", "pattern"),
        "Search": ("temp_schedule", "time_limit", "jobs", "dask"),
        "Energy and area": AcceleratorOptions.groups["Energy and area"],
        "Model inputs": AcceleratorOptions.groups["Model inputs"],
    }
    advanced: ClassVar = AcceleratorOptions.advanced | {
        "subword_bits",
        "dask",
        "arrays",
        "batch",
        "input_shape",
    }

    array: ArrayShape = Field(
        ArrayShape(32, 32),
        description="array size, rows x columns, such as 32x32; that of the hardware where one is given",
    )
    fan_in: FanIn = Field(
        8,
        description=f"inputs that a lane can carry, 1 to {LARGEST_FAN_IN}, or auto, which tries 1 to 16; that of the "
        "hardware where one is given",
    )
    subword_bits: Literal[2, 4] | None = Field(
        None, description="bits of the subwords of int8 weights that take a slot each, 2 or 4"
    )
    method: MethodName = Field(
        "tight",
        description="packing method: tight, first-fit, column-combine, nm, row-nm, series-nm, displace, vusa, "
        "whole-filters, structured, dense or a plugin",
        examples=list(BUILT_IN),
    )
    alpha: Annotated[int, Field(ge=1, le=32767)] = Field(
        8, description="maximum inputs per lane, for column-combine: from 1 to the fan-in"
    )
    gamma: Annotated[float, Field(ge=0)] = Field(
        0.0, description="maximum mean of weights dropped per filter and lane, for column-combine: from 0"
    )
    budget: Budget | None = Field(
        None,
        description="gain to reach with column-combine: compression=5 (slots), speedup=4 (cycles), energy=4 or bits=6; "
        "the smallest weights are dropped",
    )
    pattern: Pattern = Field(
        TWO_OF_FOUR, description="weights kept of so many inputs, for nm: 1:2 to 15:16, within the fan-in"
    )
    temp_schedule: TemperatureSchedule = Field(
        TemperatureSchedule(),
        description="temperature schedule: default, quick, thorough or a YAML file (in a recipe also its keys)",
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

    @model_validator(mode="wrap")
    @classmethod
    def _of_the_hardware(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Array and fan-in are those of the hardware where they are not given; they do not count as given then."""
        hardware = values.get("hardware") if isinstance(values, Mapping) else None
        if isinstance(hardware, Hardware):
            hardware = {"array": hardware.array, "fan_in": hardware.fan_in}
        if not isinstance(hardware, Mapping):
            return validate(values)
        implied = {
            name: hardware[name] for name in ("array", "fan_in") if name in hardware and name not in values
        }
        options = validate({**values, **implied})
        options.model_fields_set.difference_update(implied)
        return options

    @model_validator(mode="after")
    def _within_the_hardware(self) -> Self:
        most = self.hardware.fan_in if self.hardware else LARGEST_FAN_IN
        if self.fan_in != "auto" and self.fan_in > most:
            assert self.hardware is not None
            raise invalid_combination(
                f"expected at most {most}, the fan-in of {self.hardware.name}, got {self.fan_in}",
                f"lower it to {most} or leave it out",
                "fan_in",
            )
        return self

    @model_validator(mode="after")
    def _chooses_a_fan_in(self) -> Self:
        if self.fan_in == "auto" and "fan_in" not in find_method(self.method).options:
            raise invalid_combination(
                f"expected an integer for method {self.method}, whose tiles do not depend on it, got auto",
                "give an integer, or choose tight",
                "fan_in",
            )
        return self

    @model_validator(mode="after")
    def _drops_for_a_budget(self) -> Self:
        if self.budget is not None and "budget" not in find_method(self.method).options:
            raise invalid_combination(
                f"expected method column-combine with a budget, got {self.method}, which keeps the weights that it is "
                "given",
                f"choose column-combine, or give tightc prune --budget {self.budget}",
                "budget",
            )
        return self

    @property
    def counts_vectors(self) -> bool:
        """Whether the result depends on the input vectors of each layer, and so on the sizes of the model's inputs."""
        by_budget = self.budget is not None and self.budget.kind in ("speedup", "energy")
        return by_budget or self.objective in ("cycles", "replicated-cycles", "energy")

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
        if self.fan_in == "auto":
            return self
        most = self.hardware.fan_in if self.hardware else LARGEST_FAN_IN
        if "alpha" in options and self.alpha > self.fan_in:
            raise invalid_combination(
                f"expected alpha up to {self.fan_in}, the fan-in of the array, got {self.alpha}",
                f"lower alpha to {self.fan_in}"
                + (f" or raise fan_in to {self.alpha}" if self.alpha <= most else ""),
                "alpha",
            )
        group = self.pattern.group
        if "pattern" in options and group > self.fan_in:
            raise invalid_combination(
                f"expected a fan-in of {group} or more for pattern {self.pattern}, got {self.fan_in}",
                f"raise fan_in to {group}" if group <= most else "give a pattern of fewer inputs",
                "pattern",
            )
        return self
