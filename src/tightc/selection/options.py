"""Options of selection, shared by prune and by pruning while finetuning."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tightc.config.options import Options, invalid_combination
from tightc.selection.budget import Budget
from tightc.tile.array import ArrayShape


class SelectionOptions(Options):
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
        description="target in place of sparsity, with align: compression=10 (area) or speedup=8 (cycles)",
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.budget is not None and self.sparsity is not None:
            raise invalid_combination(
                "expected one target, got a sparsity and a budget", "give --sparsity or --budget", "budget"
            )
        if self.budget is not None and self.align is None:
            raise invalid_combination(
                f"expected an array to align to with {self.budget}, got none", "add --align 32x32", "budget"
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
        """The fraction of the cost (weights, area or cycles) to keep; None without a target."""
        if self.budget is not None:
            return 1 / self.budget.factor
        return None if self.sparsity is None else 1 - self.sparsity
