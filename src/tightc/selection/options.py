"""Options of selection, shared by prune and by pruning while finetuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from tightc.accelerator.hardware import Hardware
from tightc.accelerator.options import HardwareOptions
from tightc.config.listed import Listed
from tightc.config.options import invalid_combination
from tightc.selection.budget import Budget
from tightc.tile.array import LARGEST, ArrayShape

_LARGEST_FAN_IN = 32767
_Height = Annotated[int, Field(ge=1, le=LARGEST)]
_OF_HARDWARE = frozenset({*HardwareOptions.model_fields, "fan_in"})
_RECORDED_IF_GIVEN = _OF_HARDWARE | {"fill_passes", "tile_heights"}  # newer than the others
# kinds of budgets that read an option of the hardware; the others are read by speedup and energy
_READ_BY = {"fan_in": ("speedup", "energy", "bits"), "energy": ("energy",)}


_OTHER_WORDS = {"area": "compression", "cycles": "speedup"}


class SelectionOptions(HardwareOptions):
    """How many weights are pruned, in which layers, and in which units."""

    sparsity: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="fraction of zero weights after pruning: from 0, below 1, such as 0.9"
    )
    scope: Literal["global", "layer"] = Field(
        "global", description="where the sparsity holds: global (whole network) or layer (each layer)"
    )
    skip: tuple[str, ...] = Field(
        (),
        description="layer to skip, by its name, node or weight, or a pattern such as 'layer1.*'; repeatable",
        strict=False,
    )
    min_density: float = Field(
        0.0, ge=0, le=1, description="minimum density of each layer, relative to the target density: 0 to 1"
    )
    granularity: Literal["weight", "filter", "subword"] = Field(
        "weight",
        description="unit of pruning: weight, filter (with the inputs that read it) or subword (of int8)",
    )
    subword_bits: Literal[2, 4] | None = Field(
        None, description="subword width, with granularity subword: 2 or 4 bits; default: 4"
    )
    align: ArrayShape | None = Field(
        None, description="array size for pruning in segments that fill its rows: ROWSxCOLUMNS, such as 32x32"
    )
    budget: Budget | None = Field(
        None,
        description="target in place of sparsity, with align: compression=10 (slots), speedup=8 (cycles), energy=5 or "
        "bits=12",
    )

    fill_passes: bool = Field(
        False,
        description="keep whole passes: slots that cost no further cycle count as kept, and are filled: on or off",
    )
    tile_heights: Annotated[tuple[_Height, ...], Listed(int, "integers", r"[1-9][0-9]{0,3}")] = Field(
        (),
        description="lanes of a tile, the best of several for each layer with a budget, such as 32,16,8; "
        "default: the array's rows",
    )
    fan_in: Annotated[int, Field(ge=1, le=_LARGEST_FAN_IN)] | None = Field(
        None,
        description=f"inputs that a lane can carry, 1 to {_LARGEST_FAN_IN}; default: the hardware's, else any number",
    )

    # the headings of what budgets read, in the groups of prune and finetune
    hardware_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Hardware of a budget": (
            "hardware",
            "fan_in",
            "energy",
            "arrays",
            "prefetch_weights",
            "replicate_tiles",
            "columns_per_lane_register",
            "overlap_drain",
            "accumulator_bypass",
        ),
        "Model inputs": ("batch", "input_shape"),
    }
    advanced: ClassVar[frozenset[str]] = (_OF_HARDWARE | {"tile_heights"}) - {"hardware", "fan_in", "energy"}

    @model_validator(mode="before")
    @classmethod
    def _array_of_the_hardware(cls, values: Any) -> Any:
        """The hardware's array is the one to align to, unless another is given."""
        hardware = values.get("hardware") if isinstance(values, Mapping) else None
        if isinstance(hardware, Hardware):
            return {"align": hardware.array, **values}
        if isinstance(hardware, Mapping) and "array" in hardware:
            return {"align": hardware["array"], **values}
        return values

    @field_validator("budget", mode="before")
    @classmethod
    def _in_the_words_of_reports(cls, value: Any) -> Any:
        kind, _, factor = str(value).partition("=")
        if kind in _OTHER_WORDS:
            own = _OTHER_WORDS[kind]
            raise invalid_combination(
                f"expected {own}, as reports call this gain, got {value}", f"give {own}={factor or 8}"
            )
        return value

    @model_validator(mode="after")
    def _hardware_of_a_budget(self) -> Self:
        kind = None if self.budget is None else self.budget.kind
        for name in sorted(_OF_HARDWARE):
            read_by = _READ_BY.get(name, ("speedup", "energy"))
            is_read = kind in read_by or (self.fill_passes and name != "energy")
            if not is_read and getattr(self, name) != self._default(name):
                kinds = " or ".join([", ".join(read_by[:-1]), read_by[-1]] if read_by[1:] else read_by)
                raise invalid_combination(
                    f"expected a budget of {kinds} beside it, got {self.budget or 'none'}",
                    f"{'add' if kind is None else 'give'} --budget {read_by[-1]}=4, or leave it out",
                    name,
                )
        if self.fill_passes and kind is None:
            raise invalid_combination(
                "expected a budget beside it, got none",
                "add --budget energy=4, or leave it out",
                "fill_passes",
            )
        if self.hardware is not None and self.fan_in is not None and self.fan_in > self.hardware.fan_in:
            most = self.hardware.fan_in
            raise invalid_combination(
                f"expected at most {most}, the fan-in of {self.hardware.name}, got {self.fan_in}",
                f"lower it to {most} or leave it out",
                "fan_in",
            )
        return self

    @model_validator(mode="after")
    def _heights_fit_the_array(self) -> Self:
        if self.tile_heights and self.budget is None:
            raise invalid_combination(
                "expected a budget beside it, got none",
                "add --budget energy=4, or leave it out",
                "tile_heights",
            )
        if self.align is not None and max(self.tile_heights, default=0) > self.align.rows:
            raise invalid_combination(
                f"expected at most the {self.align.rows} rows of the array, got {max(self.tile_heights)}",
                f"give lanes from 1 to {self.align.rows}",
                "tile_heights",
            )
        return self

    @classmethod
    def _default(cls, name: str) -> Any:
        return cls.model_fields[name].get_default(call_default_factory=True)

    def unrecorded(self) -> set[str]:
        """Options that the history leaves out where they were not given: they are newer than the others."""
        return {name for name in _RECORDED_IF_GIVEN if getattr(self, name) == self._default(name)}

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.budget is not None and self.sparsity is not None:
            raise invalid_combination(
                "expected one target, got a sparsity and a budget", "give --sparsity or --budget", "budget"
            )
        if self.budget is not None and self.align is None:
            own_array = (
                ", or --hardware such as tight-32x32" if self.budget.kind in ("speedup", "energy") else ""
            )
            raise invalid_combination(
                f"expected an array to align to with {self.budget}, got none",
                f"add --align 32x32{own_array}",
                "budget",
            )
        if self.align is not None and self.granularity == "filter":
            raise invalid_combination(
                "expected granularity weight or subword with --align, got filter",
                "give --align or --granularity filter",
                "granularity",
            )
        if self.subword_bits is not None and self.granularity != "subword":
            raise invalid_combination(
                f"expected granularity subword, got {self.granularity}",
                "leave it out, or add --granularity subword",
                "subword_bits",
            )
        if self.align is not None and self.scope == "layer" and self.budget is not None:
            raise invalid_combination(
                "expected scope global with a budget, got layer", "leave --scope layer out", "scope"
            )
        return self

    @property
    def bits_per_subword(self) -> int:
        """The subword width with its default, in bits."""
        return self.subword_bits or 4

    @property
    def kept_fraction(self) -> float | None:
        """The fraction of the cost (weights, or that of the budget) to keep; None without a target."""
        if self.budget is not None:
            return 1 / self.budget.factor
        return None if self.sparsity is None else 1 - self.sparsity
