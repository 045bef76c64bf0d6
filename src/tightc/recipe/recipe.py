"""What a recipe file holds: a model, data, and a list of stages in an order that makes sense."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from tightc.config.options import Options, invalid_combination
from tightc.data.options import DataOptions
from tightc.evaluation.options import EvaluateOptions
from tightc.finetuning.options import FinetuneOptions
from tightc.packing.options import PackOptions
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions
from tightc.quantization.options import QuantizeOptions
from tightc.simulation.options import SimulateOptions

# simulate and evaluate fit anywhere
_IN_ORDER = ("prune", "finetune", "quantize", "permute", "pack")


class TeachableFinetune(FinetuneOptions):
    """Finetune in a recipe."""

    teacher: bool = Field(False, description="whether the recipe's own dense model teaches: true or false")

    @model_validator(mode="after")
    def _as_a_run_has_it(self) -> Self:
        if self.checkpoint is not None:
            raise invalid_combination(
                "the folder of the run keeps the checkpoint", "leave it out", "checkpoint"
            )
        vain = None if self.teacher else self.unused_distillation()
        if vain is not None:
            raise invalid_combination("there is no teacher", "add teacher: true, or leave it out", vain)
        return self


class SeeingQuantize(QuantizeOptions):
    """Quantize in a recipe, which has the data at hand."""

    activations: bool = Field(
        False, description="whether what streams into the layers is rounded too: true or false"
    )


class Step(Options):
    """One stage: its name and, where it has some, its options."""

    prune: PruneOptions | None = Field(None, description="options of prune, such as {sparsity: 0.9}")
    finetune: TeachableFinetune | None = Field(None, description="options of finetune, such as {epochs: 5}")
    quantize: SeeingQuantize | None = Field(
        None, description="options of quantize, such as {activations: true}"
    )
    permute: PermuteOptions | None = Field(None, description="options of permute, such as {fan_in: 16}")
    pack: PackOptions | None = Field(None, description="options of pack, such as {strip: true}")
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
            raise invalid_combination(
                f"{len(self.model_fields_set)} stages in one entry", f"give one of {stages}"
            )
        return self

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return next(iter(self.model_fields_set))

    @property
    def sees_images(self) -> bool:
        """Whether the stage needs data."""
        sees = (self.prune is not None and self.prune.sees_images) or (
            self.quantize is not None and self.quantize.activations
        )
        return self.stage in ("finetune", "evaluate") or sees

    @property
    def draws(self) -> bool:
        """Whether the seed matters."""
        return self.stage == "permute" or (self.sees_images and self.stage != "evaluate")

    @property
    def options(self) -> Any:
        """Options of the stage."""
        return getattr(self, self.stage)

    @property
    def disarranges(self) -> bool:
        """Whether the stage may set further weights to zero, which drops an arrangement."""
        gradual = self.finetune is not None and self.finetune.share is not None
        return self.stage in ("prune", "quantize") or gradual


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
        """Nothing after pack, one pack, and no arrangement that a later prune would leave the chain without.

        Prune may follow permute where permute follows it: column combining's training prunes, combines and trains by
        turns. Finetune without a sparsity or budget keeps zeros and arrangement.
        """
        names = [step.stage for step in steps]
        for at, step in enumerate(steps):
            before, after = names[:at], names[at + 1 :]
            if step.stage not in _IN_ORDER:
                continue
            if step.stage == "pack" and "pack" in after:
                raise invalid_combination("pack twice", "keep one", at)
            if "pack" in before:
                raise invalid_combination(
                    f"{step.stage} after pack would undo it", f"move {step.stage} before pack", at
                )
            if step.disarranges and "permute" in before and "permute" not in after:
                which = "finetune with a sparsity or budget" if step.finetune else step.stage
                raise invalid_combination(
                    f"{which} after permute would undo it",
                    f"move {step.stage} before permute, or permute again after it",
                    at,
                )
            if step.stage == "pack" and "permute" not in before:
                raise invalid_combination("pack without permute", "put permute before pack", at)
        return steps

    @field_validator("stages")
    @classmethod
    def _on_one_array(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        arranged: PermuteOptions | None = None
        for at, step in enumerate(steps):
            arranged = None if step.disarranges else step.permute or arranged
            if arranged is None or step.simulate is None:
                continue
            if step.simulate.array not in (None, arranged.array):
                sizes = f"{step.simulate.array}, the tiles are for {arranged.array}"
                raise invalid_combination(f"simulate on {sizes}", "leave its array out", at)
            if step.simulate.dataflow != "ws":
                sentence = f"simulate in dataflow {step.simulate.dataflow}, but tiles are weight-stationary"
                raise invalid_combination(sentence, "use ws, or simulate before permute", at)
        return steps

    @model_validator(mode="after")
    def _data_where_needed(self) -> Self:
        for at, step in enumerate(self.stages):
            if step.sees_images and self.data is None:
                raise invalid_combination(
                    f"{step.stage} needs data", "add data: {data: path of the images}", "stages", at
                )
        return self
