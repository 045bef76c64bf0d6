"""The options of finetune."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from tightc.config.options import Options


class FinetuneOptions(Options):
    """How long, how fast and on what the weights that are left are trained."""

    epochs: int = Field(5, ge=1, description="times that every image is seen: a whole number from 1")
    batch_size: int = Field(128, ge=2, description="images a step: a whole number from 2")
    learning_rate: float = Field(
        0.05,
        gt=0,
        le=10,
        description="peak of the learning rate, from which it falls as a cosine: above 0, to 10",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of the descent: from 0, below 1")
    weight_decay: float = Field(
        0.0005, ge=0, le=1, description="pull of the weights (not biases or norms) towards 0: from 0 to 1"
    )
    device: str = Field("auto", description="where to train: auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="numbers to compute with: auto (bf16 where the device is fast at it), fp32 or bf16",
    )
    distil_temperature: float = Field(
        4.0, gt=0, le=100, description="softens the outputs that a teacher is matched at: above 0, to 100"
    )
    distil_weight: float = Field(
        0.5, ge=0, le=1, description="share of the teacher in the loss, where there is one: from 0 to 1"
    )
    unfold_norms: bool = Field(
        True,
        description="put batch normalisation between convolutions and their biases while training, "
        "and fold it away after: on or off",
    )
    augment: bool = Field(False, description="shift images at random by up to 1/8 and mirror them: on or off")

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise ValueError("should be auto, cpu, cuda or cuda:N")
        return device
