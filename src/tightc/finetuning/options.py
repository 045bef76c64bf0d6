"""Options of finetune."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from tightc.config.options import Options, invalid_combination
from tightc.selection.options import SelectionOptions

_DEVICE = "auto|cpu|cuda(:[0-9]+)?"
_BY_OPTIMIZER = {
    "sgd": {"learning_rate": 0.05, "weight_decay": 0.0005},
    "adamw": {"learning_rate": 0.002, "weight_decay": 0.02},
}
_OF_HARDWARE = {name for names in SelectionOptions.hardware_groups.values() for name in names}
_DISTILLATION = ("distill_temperature", "distill_weight", "distill_loss", "distill_values")
# recorded in the model only where they differ from their default: they are newer than the others
_RECORDED_IF_GIVEN = ("criterion", "distill_loss", "distill_values")


class TrainingOptions(Options):
    """Optimizer, learning rate schedule, regularization, augmentation and device."""

    epochs: int = Field(5, ge=1, description="number of training epochs: an integer from 1")
    batch_size: int = Field(128, ge=2, description="images per step: an integer from 2")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="optimizer: sgd (with Nesterov momentum) or adamw"
    )
    learning_rate: float = Field(
        0.05, gt=0, le=10, description="peak learning rate (adamw default 0.002): above 0, to 10"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD momentum or AdamW beta1: from 0, below 1")
    weight_decay: float = Field(
        0.0005,
        ge=0,
        le=1,
        description="weight decay, not of biases and norms (adamw default 0.02): from 0 to 1",
    )
    lr_schedule: Literal["cosine", "one-cycle"] = Field(
        "cosine", description="learning rate schedule: cosine or one-cycle (which cycles momentum inversely)"
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="warmup, as a fraction of all steps: from 0, below 1")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="label smoothing: from 0, below 1")
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of the weight EMA (the EMA weights are saved): 0 (off), below 1",
    )
    bn_recalibration_images: int = Field(
        0, ge=0, description="training images for a final BatchNorm recalibration: from 0 (off)"
    )
    distill_temperature: float = Field(
        4.0, gt=0, le=100, description="softmax temperature of the distillation loss: above 0, to 100"
    )
    distill_weight: float = Field(
        0.5, ge=0, le=1, description="weight of the distillation loss, with a teacher: from 0 to 1"
    )
    distill_loss: Literal["auto", "kl", "mse"] = Field(
        "auto",
        description="distillation loss: kl (of class probabilities), mse (relative to the teacher's mean square) "
        "or auto (kl for logits, else mse)",
    )
    distill_values: tuple[str, ...] = Field(
        (),
        description="values of the network to match with the teacher's, by name; repeatable; default: all outputs",
        strict=False,
    )
    unfold_batchnorm: bool = Field(
        True,
        description="insert BatchNorm after convolutions without it, and fold it after training: on or off",
    )
    augment: bool = Field(False, description="random shifts by up to 1/8 and random mirroring: on or off")
    mixup: float = Field(
        0.0, ge=0, le=0.5, description="maximum mixup ratio of a second image: 0 (off) to 0.5"
    )
    validation: int = Field(
        0,
        ge=0,
        description="size of the held-out validation split, which selects the best epoch: from 0 (off)",
    )
    device: str = Field(
        "auto",
        description="training device: auto, cpu, cuda or cuda:N",
        json_schema_extra={"pattern": f"^({_DEVICE})$"},
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="compute dtype: float32, bfloat16 or auto (bfloat16 where the device accelerates it)",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_optimizer(cls, given: Any) -> Any:
        if isinstance(given, dict) and str(given.get("optimizer")) in _BY_OPTIMIZER:
            return {**_BY_OPTIMIZER[given["optimizer"]], **given}
        return given

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(_DEVICE, device):
            raise ValueError("should be auto, cpu, cuda or cuda:N")
        return device

    def unused_distillation(self) -> str | None:
        """The first distillation option that differs from its default, for a run without a teacher."""
        fields = type(self).model_fields
        return next((name for name in _DISTILLATION if getattr(self, name) != fields[name].default), None)


class FinetuneOptions(SelectionOptions, TrainingOptions):
    """Training, optional gradual pruning while training, and checkpoints."""

    criterion: Literal["magnitude", "balanced"] = Field(
        "magnitude",
        description="saliency of a weight while training: magnitude, or balanced between layers",
    )
    pruning_schedule: Literal["cubic", "linear", "one-shot"] = Field(
        "cubic",
        description="how the sparsity rises while training: cubic (fast, then slow), linear or one-shot",
    )
    pruning_start: float = Field(
        0.0, ge=0, lt=1, description="start of pruning, as a fraction of all steps: from 0, below 1"
    )
    pruning_end: float = Field(
        0.5, ge=0, le=1, description="end of pruning, as a fraction of all steps: from 0 to 1"
    )
    pruning_interval: int = Field(
        32, ge=1, description="steps between two pruning updates: an integer from 1"
    )
    regrow: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="initial fraction of weights exchanged for high-gradient zeros at each update: 0 (off) to 0.5",
    )
    regrow_end: float = Field(
        0.75, ge=0, le=1, description="end of regrowing, as a fraction of all steps: from 0 to 1"
    )
    checkpoint: str | None = Field(None, description="checkpoint file, from which the same command resumes")
    checkpoint_minutes: float = Field(
        10.0,
        ge=0,
        description="time between two checkpoints within an epoch (one ends each epoch): minutes, from 0",
    )

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Training": ("epochs", "batch_size", "device", "dtype"),
        "Data": ("augment", "mixup", "validation"),
        "Optimizer": ("optimizer", "learning_rate", "lr_schedule", "warmup", "momentum", "ema_decay"),
        "Regularization": ("weight_decay", "label_smoothing"),
        "Distillation": ("distill_loss", "distill_values", "distill_weight", "distill_temperature"),
        "Pruning": (
            *(name for name in SelectionOptions.model_fields if name not in _OF_HARDWARE),
            "criterion",
            "pruning_schedule",
            "pruning_start",
            "pruning_end",
            "pruning_interval",
            "regrow",
            "regrow_end",
        ),
        "Batch normalization": ("unfold_batchnorm", "bn_recalibration_images"),
        "Checkpoint": ("checkpoint", "checkpoint_minutes"),
        **SelectionOptions.hardware_groups,
    }
    advanced: ClassVar[frozenset[str]] = SelectionOptions.advanced | {
        "bn_recalibration_images",
        "checkpoint_minutes",
        "criterion",
        "distill_loss",
        "distill_temperature",
        "distill_values",
        "dtype",
        "energy",
        "fan_in",
        "fill_passes",
        "hardware",
        "label_smoothing",
        "mixup",
        "momentum",
        "pruning_interval",
        "pruning_start",
        "regrow",
        "regrow_end",
        "scope",
        "subword_bits",
        "tile_heights",
        "unfold_batchnorm",
        "warmup",
    }

    @model_validator(mode="after")
    def _pruning_has_a_target(self) -> Self:
        for name in sorted(_needs_target(type(self)) & self.model_fields_set):
            zero_subwords = name == "granularity" and self.granularity == "subword"  # zero subwords stay zero
            default = type(self).model_fields[name].default
            if self.kept_fraction is None and not zero_subwords and getattr(self, name) != default:
                raise invalid_combination(
                    "expected a pruning target, got none", "add --sparsity or --budget", name
                )
        return self

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.pruning_end < self.pruning_start:
            raise invalid_combination(
                f"expected an end from --pruning-start {self.pruning_start:g} on, got {self.pruning_end:g}",
                "raise --pruning-end, or lower --pruning-start",
                "pruning_end",
            )
        if self.regrow and self.granularity != "weight":
            raise invalid_combination(
                f"expected 0 with granularity {self.granularity}, got {self.regrow:g}",
                "leave --regrow out, or take --granularity weight",
                "regrow",
            )
        return self

    def recorded(self) -> dict[str, Any]:
        """The options that the result depends on, as JSON values."""
        fields = type(self).model_fields
        as_before = {name for name in _RECORDED_IF_GIVEN if getattr(self, name) == fields[name].default}
        excluded = {"checkpoint", "checkpoint_minutes", *as_before, *self.unrecorded()}
        return self.model_dump(mode="json", exclude=excluded)


def _needs_target(options: type[FinetuneOptions]) -> set[str]:
    """The options that only make sense with a sparsity or budget."""
    targets = {"sparsity", "budget", "subword_bits"}  # subword_bits is checked against granularity
    return set(options.groups["Pruning"]) - targets
