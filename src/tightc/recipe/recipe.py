"""The options of a recipe file: a model, data, and stages in a valid order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from tightc.config.options import Options, invalid_combination, raise_broken
from tightc.data.options import DataOptions
from tightc.evaluation.options import EvaluateOptions
from tightc.finetuning.options import FinetuneOptions
from tightc.packing.options import PackOptions
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions
from tightc.quantization.options import QuantizeOptions
from tightc.simulation.options import SimulateOptions

# the other stages, simulate and evaluate, can be anywhere
_ORDERED = ("prune", "finetune", "quantize", "permute", "pack")
REPORT_STAGES = ("simulate", "evaluate")  # stages that make no model


class RecipeFinetune(FinetuneOptions):
    """Options of finetune in a recipe."""

    teacher: bool = Field(False, description="distill from the recipe's dense model: true or false")

    @model_validator(mode="after")
    def _check_recipe(self) -> Self:
        """The run's folder keeps the checkpoint, and distillation needs the teacher."""
        if self.checkpoint is not None:
            raise invalid_combination(
                "the folder of the run keeps the checkpoint", "leave it out", "checkpoint"
            )
        without_effect = None if self.teacher else self.unused_distillation()
        if without_effect is not None:
            raise invalid_combination(
                "there is no teacher", "add teacher: true, or leave it out", without_effect
            )
        return self


class RecipeQuantize(QuantizeOptions):
    """Options of quantize in a recipe."""

    activations: bool = Field(
        False, description="quantize activations too, with the recipe's data: true or false"
    )


class RecipeEvaluate(EvaluateOptions):
    """Options of evaluate in a recipe."""

    teacher: bool = Field(
        False, description="measure the agreement with the recipe's dense model: true or false"
    )


class RecipeData(DataOptions):
    """The data of a recipe, and how much of it is held out."""

    validation: int = Field(
        0,
        ge=0,
        description="size of the held-out validation split, which the accuracies are of: from 0 (off)",
    )


class Step(Options):
    """One stage of a recipe: its name and its options."""

    prune: PruneOptions | None = Field(None, description="options of prune, such as {sparsity: 0.9}")
    finetune: RecipeFinetune | None = Field(None, description="options of finetune, such as {epochs: 5}")
    quantize: RecipeQuantize | None = Field(
        None, description="options of quantize, such as {activations: true}"
    )
    permute: PermuteOptions | None = Field(None, description="options of permute, such as {fan_in: 16}")
    pack: PackOptions | None = Field(None, description="options of pack, such as {strip: true}")
    simulate: SimulateOptions | None = Field(None, description="options of simulate, such as {array: 32x32}")
    evaluate: RecipeEvaluate | None = Field(None, description="options of evaluate, such as {batch_size: 64}")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """One stage with its options, or its name alone."""
        found = handler(schema)
        handler.resolve_ref_schema(found).update(minProperties=1, maxProperties=1)
        return {"anyOf": [found, {"enum": list(cls.model_fields)}]}

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        """`- pack` means the same as `- pack: {}`, and so does `- pack:`."""
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {key: {} if options is None else options for key, options in value.items()}
        if isinstance(value, cls):
            return value
        raise invalid_combination(
            f"expected a stage, such as pack or prune: {{sparsity: 0.9}}, got {value!r}",
            f"give one of {', '.join(cls.model_fields)}",
        )

    @model_validator(mode="after")
    def _require_one_stage(self) -> Self:
        if len(self.model_fields_set) != 1:
            stages = ", ".join(type(self).model_fields)
            raise invalid_combination(
                f"expected one stage in an entry, got {len(self.model_fields_set)}", f"give one of {stages}"
            )
        return self

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return next(iter(self.model_fields_set))

    @property
    def calibrates(self) -> bool:
        """Whether the stage looks at training images without their labels."""
        return (self.prune is not None and self.prune.needs_images) or (
            self.quantize is not None and self.quantize.activations
        )

    @property
    def needs_images(self) -> bool:
        """Whether the stage reads the recipe's data."""
        return self.stage in ("finetune", "evaluate") or self.calibrates

    @property
    def uses_seed(self) -> bool:
        """Whether the result depends on the seed."""
        return self.stage == "permute" or (self.needs_images and self.stage != "evaluate")

    @property
    def options(self) -> Any:
        """Options of the stage."""
        return getattr(self, self.stage)

    @property
    def drops_packings(self) -> bool:
        """Whether the stage changes which weights are zero, so that the model loses its packings."""
        gradual = self.finetune is not None and self.finetune.kept_fraction is not None
        return self.stage in ("prune", "quantize") or gradual


class Recipe(Options):
    """A model, data and the stages to run; paths are relative to the folder of the recipe."""

    model: str = Field(description="path of the ONNX model to start from", min_length=1)
    data: RecipeData | None = Field(
        None, description="images for finetune and for the accuracy column, such as {data: images.npz}"
    )
    seed: int = Field(0, ge=0, description="random seed, an integer from 0")
    stages: tuple[Step, ...] = Field(
        description=f"list of stages in order: {', '.join(Step.model_fields)}", min_length=1, strict=False
    )

    @field_validator("stages")
    @classmethod
    def _check_stages(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        raise_broken([*_wrong_order(steps), *_wrong_array(steps)])
        return steps

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        raise_broken([*self._missing_data(), *self._second_split()])
        return self

    def _missing_data(self) -> Iterator[PydanticCustomError]:
        """Stages that read images need data."""
        for index, step in enumerate(self.stages):
            if step.needs_images and self.data is None:
                yield invalid_combination(
                    f"{step.stage} needs data", "add data: {data: path of the images}", "stages", index
                )

    def _second_split(self) -> Iterator[PydanticCustomError]:
        """One validation split for all stages."""
        for index, step in enumerate(self.stages):
            if self.data and self.data.validation and step.finetune and step.finetune.validation:
                yield invalid_combination(
                    f"expected one validation split, got {self.data.validation} in data and "
                    f"{step.finetune.validation} in finetune",
                    "keep that of data",
                    "stages",
                    index,
                )


def _wrong_order(steps: tuple[Step, ...]) -> Iterator[PydanticCustomError]:
    """One pack, no stage after it that changes the model, and a permute after stages that drop packings.

    Prune may follow permute if another permute follows: column combining prunes, combines and trains in turns.
    Finetune without a sparsity or budget keeps zeros and packings.
    """
    names = [step.stage for step in steps]
    for index, step in enumerate(steps):
        before, after = names[:index], names[index + 1 :]
        if step.stage not in _ORDERED:
            continue
        if step.stage == "pack" and "pack" in after:
            yield invalid_combination("pack twice", "keep one", index)
        elif "pack" in before and step.stage != "pack":
            yield invalid_combination(
                f"{step.stage} after pack would undo it", f"move {step.stage} before pack", index
            )
        elif step.drops_packings and "permute" in before and "permute" not in after:
            which = "finetune with a sparsity or budget" if step.finetune else step.stage
            yield invalid_combination(
                f"{which} after permute would undo it",
                f"move {step.stage} before permute, or permute again after it",
                index,
            )
        elif step.stage == "pack" and "permute" not in before:
            yield invalid_combination("pack without permute", "put permute before pack", index)


def _wrong_array(steps: tuple[Step, ...]) -> Iterator[PydanticCustomError]:
    """A permuted model is simulated on the array of its tiles, in dataflow ws."""
    permuted: PermuteOptions | None = None
    for index, step in enumerate(steps):
        permuted = None if step.drops_packings else step.permute or permuted
        if permuted is None or step.simulate is None:
            continue
        if step.simulate.array not in (None, permuted.array):
            sizes = f"{step.simulate.array}, the tiles are for {permuted.array}"
            yield invalid_combination(f"simulate on {sizes}", "leave its array out", index)
        if step.simulate.dataflow != "ws":
            sentence = f"simulate in dataflow {step.simulate.dataflow}, but tiles are weight-stationary"
            yield invalid_combination(sentence, "use ws, or simulate before permute", index)
