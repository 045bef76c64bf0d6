"""Options of compress."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tightc.accelerator.options import AcceleratorOptions
from tightc.compression.goals import Goal
from tightc.config.options import invalid_combination
from tightc.data.options import DataOptions
from tightc.finetuning.options import FinetuneOptions, TrainingOptions
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import LARGEST_FAN_IN, FanIn


class CompressOptions(DataOptions, AcceleratorOptions, TrainingOptions):
    """The goal, the drop that can be borne, the data, the hardware and the training."""

    max_drop: float = Field(
        ge=0, le=100, description="accuracy that may be lost, in points: from 0 to 100, such as 1"
    )
    goal: Goal = Field(
        "cycles",
        description="what to make small: cycles, energy, area (slots of the array) or bytes (the file)",
    )
    teacher: str | None = Field(
        None,
        description="teacher for distillation (ONNX file), such as MODEL itself; without labels the drop is the "
        "disagreement with it",
        min_length=1,
    )
    trials: int = Field(4, ge=1, le=30, description="short trainings that prune, at most: 1 to 30")
    trial_epochs: int | None = Field(
        None, ge=1, description="epochs of a short training; default: half of --epochs"
    )
    epochs: int = Field(20, ge=1, description="epochs of a full training: an integer from 1")
    margin: float = Field(
        1.0,
        ge=0,
        le=10,
        description="standard errors by which a held-out drop stays below --max-drop: 0 to 10",
    )
    validation: int = Field(
        0,
        ge=0,
        description="number of held-out images, which choose; 0: a fifth of the training images or half of the test "
        "images, at most 5000",
    )
    validation_from: Literal["train", "test"] = Field(
        "train",
        description="split that the held-out images come from; test where MODEL has seen all training images",
    )
    skip: tuple[str, ...] = Field(
        (),
        description="layer to leave unpruned, a name or pattern such as 'layer1.*'; repeatable",
        strict=False,
    )
    fan_in: FanIn = Field(
        8,
        description=f"inputs that a lane can carry, 1 to {LARGEST_FAN_IN}, or auto, which tries 2 to 16; that of the "
        "hardware where one is given",
    )
    temp_schedule: TemperatureSchedule = Field(
        TemperatureSchedule(), description="temperature schedule of permute, a YAML file"
    )
    jobs: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="search threads of permute, 1 to 1024, or 0 for one per core"
    )

    groups: ClassVar = {
        "Goal": ("max_drop", "goal", "trials", "trial_epochs", "margin"),
        "Data": (
            *DataOptions.groups["Data"],
            "validation",
            "validation_from",
            "augment",
            "mixup",
        ),
        "Hardware": ("fan_in", *AcceleratorOptions.groups["Hardware"]),
        "Energy and area": AcceleratorOptions.groups["Energy and area"],
        "Training": ("epochs", "batch_size", "device", "dtype"),
        "Optimizer": FinetuneOptions.groups["Optimizer"],
        "Regularization": FinetuneOptions.groups["Regularization"],
        "Distillation": ("teacher", *FinetuneOptions.groups["Distillation"]),
        "Pruning": ("skip",),
        "Batch normalization": FinetuneOptions.groups["Batch normalization"],
        "Search": ("temp_schedule", "jobs"),
        "Model inputs": AcceleratorOptions.groups["Model inputs"],
    }
    advanced: ClassVar = (
        AcceleratorOptions.advanced
        | (FinetuneOptions.advanced & TrainingOptions.model_fields.keys())
        | {"arrays", "batch", "input_shape", "lr_schedule", "ema_decay", "distill_weight"}
    )

    @model_validator(mode="after")
    def _distills_with_a_teacher(self) -> Self:
        name = None if self.teacher else self.unused_distillation()
        if name is not None:
            raise invalid_combination(
                "expected a teacher with it, got none", "add --teacher, or leave it out", name
            )
        return self

    @property
    def short_epochs(self) -> int:
        """Epochs of a short training."""
        return min(self.epochs, self.trial_epochs or max(1, self.epochs // 2))
