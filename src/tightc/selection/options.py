"""Which weights to keep: the options that prune and gradual finetuning share."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tightc.config.options import Options, invalid_combination
from tightc.selection.budget import Budget
from tightc.tile.array import ArrayShape


class SelectionOptions(Options):
    """How many weights go, where from, and in which units."""

    sparsity: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="share of the weights to be zero afterwards, at least 0 and below 1, such as 0.9"
    )
    scope: Literal["global", "layer"] = Field(
        "global",
        description="what the share is taken of: global (the least of the network) or layer (of each layer)",
    )
    keep: tuple[str, ...] = Field(
        (),
        description="a layer to leave alone, by name or pattern such as 'layer1.*'; may be given several times",
        strict=False,
    )
    floor: float = Field(
        0.0,
        ge=0,
        le=1,
        description="least density of any layer, as a share of the density asked for, so that none collapses: "
        "0 (one weight) to 1",
    )
    granularity: Literal["weight", "filter", "subword"] = Field(
        "weight",
        description="what goes as a whole: weight (each alone), filter (all weights of an output channel, with "
        "the inputs of later layers that read nothing but that channel) or subword (each digit of int8 weights)",
    )
    subword_bits: Literal[2, 4] | None = Field(
        None, description="bits of a digit, with granularity subword: 2 or 4; default: 4"
    )
    align: ArrayShape | None = Field(
        None,
        description="keep a filter's weights in whole parts of as many as this array has rows, so that lanes are full: "
        "ROWSxCOLUMNS, such as 32x32",
    )
    budget: Budget | None = Field(
        None,
        description="with align, instead of a sparsity: compression=10 (a tenth of the area) "
        "or speedup=8 (an eighth of the cycles, in whole tiles)",
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.budget is not None and self.sparsity is not None:
            raise invalid_combination(
                "a sparsity and a budget at once", "give --sparsity or --budget", "budget"
            )
        if self.budget is not None and self.align is None:
            raise invalid_combination(
                f"{self.budget} needs the array that it is meant for", "add --align 32x32", "budget"
            )
        if self.align is not None and self.granularity == "filter":
            raise invalid_combination(
                "filters that go as a whole leave no parts to align",
                "give --align or --granularity filter",
                "granularity",
            )
        if self.subword_bits is not None and self.granularity != "subword":
            raise invalid_combination(
                "weights go as a whole", "leave it out, or add --granularity subword", "subword_bits"
            )
        if self.align is not None and self.scope == "layer" and self.budget is not None:
            raise invalid_combination("a budget is of the network", "leave --scope layer out", "scope")
        return self

    @property
    def digit_bits(self) -> int:
        """Bits of a digit, where those are pruned."""
        return self.subword_bits or 4

    @property
    def share(self) -> float | None:
        """The share of the cost (weights, area or cycles) to be left; None where nothing was asked for."""
        if self.budget is not None:
            return 1 / self.budget.factor
        return None if self.sparsity is None else 1 - self.sparsity
