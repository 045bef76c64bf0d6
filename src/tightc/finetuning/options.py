"""The options of finetune."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tightc.config.options import Options, invalid_combination
from tightc.selection.options import SelectionOptions

_BY_OPTIMIZER = {
    "sgd": {"learning_rate": 0.05, "weight_decay": 0.0005},
    "adamw": {"learning_rate": 0.002, "weight_decay": 0.02},
}
_OF_PRUNING = {
    "align",
    "granularity",
    "min_density",
    "prune_every",
    "prune_from",
    "prune_until",
    "regrow",
    "regrow_until",
    "schedule",
    "scope",
    "skip",
}
_OF_TEACHING = ("distil_temperature", "distil_weight")


class TrainingOptions(Options):
    """How long, how fast and on what the weights that are left are trained."""

    epochs: int = Field(5, ge=1, description="times that every image is seen: a whole number from 1")
    batch_size: int = Field(128, ge=2, description="images a step: a whole number from 2")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="the descent: sgd (with Nesterov's momentum) or adamw"
    )
    learning_rate: float = Field(
        0.05,
        gt=0,
        le=10,
        description="peak of the learning rate, where none is given 0.002 for adamw: above 0, to 10",
    )
    momentum: float = Field(
        0.9, ge=0, lt=1, description="momentum of the descent, the first beta of adamw: from 0, below 1"
    )
    weight_decay: float = Field(
        0.0005,
        ge=0,
        le=1,
        description="pull of the weights (not biases or norms) towards 0, where none is given 0.02 for adamw: "
        "from 0 to 1",
    )
    rate: Literal["cosine", "one-cycle"] = Field(
        "cosine",
        description="course of the learning rate: cosine (down from the peak) or one-cycle (up and down as cosines, "
        "the momentum the other way)",
    )
    warm_up: float = Field(
        0.05, ge=0, lt=1, description="share of the steps over which the rate rises: from 0, below 1"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of a label spread over all classes: from 0, below 1"
    )
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay a step of a running mean of all that is trained, which is kept in its place: "
        "0 (none), else such as 0.999",
    )
    renorm_images: int = Field(
        0,
        ge=0,
        description="images on which batch normalization's means and variances are measured anew at the end: from 0",
    )
    distil_temperature: float = Field(
        4.0, gt=0, le=100, description="softens the outputs that a teacher is matched at: above 0, to 100"
    )
    distil_weight: float = Field(
        0.5, ge=0, le=1, description="share of the teacher in the loss, where there is one: from 0 to 1"
    )
    unfold_norms: bool = Field(
        True,
        description="put batch normalization between convolutions and their biases while training, "
        "and fold it away after: on or off",
    )
    augment: bool = Field(False, description="shift images at random by up to 1/8 and mirror them: on or off")
    mixup: float = Field(
        0.0, ge=0, le=0.5, description="largest share of another image blended into each: 0 (none) to 0.5"
    )
    validation: int = Field(
        0,
        ge=0,
        description="images held apart, the same for every seed; the epoch that does best on them is kept: from 0",
    )
    device: str = Field("auto", description="where to train: auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="numbers to compute with: auto (bf16 where the device is fast at it), fp32 or bf16",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_optimizer(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("optimizer") in _BY_OPTIMIZER:
            return {**_BY_OPTIMIZER[given["optimizer"]], **given}
        return given

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise ValueError("should be auto, cpu, cuda or cuda:N")
        return device


class FinetuneOptions(SelectionOptions, TrainingOptions):
    """How the weights that are left are trained, how ever fewer are left while they are, and what survives."""

    schedule: Literal["cubic", "linear", "one-shot"] = Field(
        "cubic",
        description="with a sparsity or budget, how it is come to while training: cubic (fast, then slow), linear "
        "or one-shot",
    )
    prune_from: float = Field(
        0.0, ge=0, lt=1, description="share of the steps after which pruning begins: from 0, below 1"
    )
    prune_until: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the steps after which the sparsity or budget is met, but with one-shot, which meets it "
        "where it begins: from 0 to 1",
    )
    prune_every: int = Field(32, ge=1, description="steps between two prunings: a whole number from 1")
    regrow: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="share of each filter's weights exchanged in a pruning for zeros with the largest gradients, "
        "falling to none: from 0 (never) to 0.5",
    )
    regrow_until: float = Field(
        0.75, ge=0, le=1, description="share of the steps until which weights are exchanged: from 0 to 1"
    )
    checkpoint: str | None = Field(
        None, description="file to keep the training in while it runs; the same command goes on from it"
    )
    checkpoint_minutes: float = Field(
        10.0,
        ge=0,
        description="least time between two writings of the checkpoint while it trains: minutes, from 0",
    )

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        for name in sorted(_OF_PRUNING & self.model_fields_set):
            fixed = name == "granularity" and self.granularity == "subword"  # zero digits stay zero
            if (
                self.kept_fraction is None
                and not fixed
                and getattr(self, name) != type(self).model_fields[name].default
            ):
                raise invalid_combination(
                    "nothing is pruned, for no share is asked for", "add --sparsity or --budget", name
                )
        return self

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.prune_until < self.prune_from:
            raise invalid_combination(
                f"pruning would end at {self.prune_until:g}, before it begins at {self.prune_from:g}",
                "give --prune-from at most --prune-until",
                "prune_until",
            )
        if self.regrow and self.granularity != "weight":
            which = "whole filters" if self.granularity == "filter" else "a choice of digits"
            raise invalid_combination(
                f"weights that come back one by one would undo {which}", "leave --regrow out", "regrow"
            )
        return self

    def taught_in_vain(self) -> str | None:
        """The option that says how to learn from a teacher, where one is set otherwise than it is by itself."""
        fields = type(self).model_fields
        return next((name for name in _OF_TEACHING if getattr(self, name) != fields[name].default), None)

    def that_matter(self) -> dict[str, Any]:
        """The options that the result depends on, as JSON has them."""
        return self.model_dump(mode="json", exclude={"checkpoint", "checkpoint_minutes"})
