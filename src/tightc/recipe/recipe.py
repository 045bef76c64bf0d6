"""What a recipe file holds: a model, data, and a list of stages in an order that makes sense."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from tightc.config.options import Options, rule_broken
from tightc.data.options import DataOptions
from tightc.evaluation.options import EvaluateOptions
from tightc.finetuning.options import FinetuneOptions
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions
from tightc.simulation.options import SimulateOptions

# a stage may follow those of the same or a lower rank, and finetune, which keeps zeros and arrangement, permute too;
# simulate and evaluate fit anywhere
_RANKS = {"prune": 0, "finetune": 0, "permute": 1, "pack": 2}
_FOLLOWS = {**_RANKS, "finetune": _RANKS["permute"]}


class TeachableFinetune(FinetuneOptions):
    """Finetune in a recipe."""

    teacher: bool = Field(False, description="whether the recipe's own dense model teaches: true or false")


class Nothing(Options):
    """A stage without options."""


class Step(Options):
    """One stage: its name and, where it has some, its options."""

    prune: PruneOptions | None = Field(None, description="options of prune, such as {sparsity: 0.9}")
    finetune: TeachableFinetune | None = Field(None, description="options of finetune, such as {epochs: 5}")
    permute: PermuteOptions | None = Field(None, description="options of permute, such as {fan_in: 16}")
    pack: Nothing | None = Field(None, description="no options")
    simulate: SimulateOptions | None = Field(None, description="options of simulate, such as {array: 32x32}")
    evaluate: EvaluateOptions | None = Field(
        None, description="options of evaluate, such as {batch_size: 64}"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        """`- pack` means the same as `- pack: {}`, and so does `- pack:`."""
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {key: {} if options is None else options for key, options in value.items()}
        return value

    @model_validator(mode="after")
    def _one_stage(self) -> Self:
        if len(self.model_fields_set) != 1:
            stages = ", ".join(type(self).model_fields)
            raise rule_broken(f"{len(self.model_fields_set)} stages in one entry", f"give one of {stages}")
        return self

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return next(iter(self.model_fields_set))

    @property
    def options(self) -> Any:
        """Options of the stage."""
        return getattr(self, self.stage)


class Recipe(Options):
    """The whole chain; paths are relative to the recipe's own folder."""

    model: str = Field(description="path of the ONNX model to start from", min_length=1)
    data: DataOptions | None = Field(None, description="images for finetune and for the accuracy column")
    seed: int = Field(0, ge=0, description="seed of all randomness, a whole number from 0")
    stages: tuple[Step, ...] = Field(
        description=f"a list of stages in order: {', '.join(Step.model_fields)}", min_length=1, strict=False
    )

    @field_validator("stages")
    @classmethod
    def _in_order(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        ranked = [(i, step.stage) for i, step in enumerate(steps) if step.stage in _RANKS]
        before = "prune"
        for at, stage in ranked:
            if _FOLLOWS[stage] < _RANKS[before]:
                raise rule_broken(
                    f"{stage} after {before} would undo it", f"move {stage} before {before}", at
                )
            before = max(before, stage, key=_RANKS.__getitem__)
        names = [stage for _, stage in ranked]
        for at, stage in ranked:
            if stage == "pack" and "permute" not in names:
                raise rule_broken("pack without permute", "put permute before pack", at)
            if stage == "pack" and names.count("pack") > 1:
                raise rule_broken("pack twice", "keep one", at)
        return steps

    @field_validator("stages")
    @classmethod
    def _on_one_array(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        arranged: PermuteOptions | None = None
        for at, step in enumerate(steps):
            arranged = step.permute or arranged
            if arranged is None or step.simulate is None:
                continue
            if step.simulate.array not in (None, arranged.array):
                sizes = f"{step.simulate.array}, the tiles are for {arranged.array}"
                raise rule_broken(f"simulate on {sizes}", "leave its array out", at)
            if step.simulate.dataflow != "ws":
                sentence = f"simulate in dataflow {step.simulate.dataflow}, but tiles are weight-stationary"
                raise rule_broken(sentence, "use ws, or simulate before permute", at)
        return steps

    @model_validator(mode="after")
    def _data_where_needed(self) -> Self:
        for at, step in enumerate(self.stages):
            if step.stage in ("finetune", "evaluate") and self.data is None:
                raise rule_broken(
                    f"{step.stage} needs data", "add data: {data: path of the images}", "stages", at
                )
        return self
