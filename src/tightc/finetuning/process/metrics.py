"""What a training tells of its course."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from tightc.errors import ModelError
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.progress import Progress

_STEPS_BETWEEN_LOOKS = 10


@dataclass(frozen=True)
class TrainingOutcome:
    """Means over the last epoch, as seen in training: loss, and accuracy in percent.

    `validation_accuracy`: of what is kept, in percent, None where no images were held apart; `interrupted`: whether
    Ctrl-C was heard, `reached`: the epochs trained by then where that was before the last step; `unkept`: what kept the
    last checkpoint from being written.
    """

    loss: float
    accuracy: float
    validation_accuracy: float | None = None
    interrupted: bool = False
    reached: float | None = None
    unkept: str | None = None


class TrainingMetrics:
    """Gathers losses on the device, and looks at them every few steps: each look waits for the device and the team."""

    def __init__(
        self, epochs: int, steps: int, batch_size: int, progress: Progress, team: ProcessGroup
    ) -> None:
        self._epochs, self._steps, self._batch_size, self._listener = epochs, steps, batch_size, progress
        self._team = team
        self._began, self._skipped = perf_counter(), 0.0
        self._pending: list[tuple[float, Tensor, Tensor]] = []
        self.validation: float | None = None
        self.unkept: str | None = None
        self.start(0)

    def start(self, epoch: int) -> None:
        """Begins an epoch, counted from 0."""
        self._epoch = epoch
        self._seen = 0
        self._loss_sum = 0.0
        self._right = 0

    @property
    def level(self) -> bool:
        """Whether all that was noted has been looked at."""
        return not self._pending

    def add(self, rate: float, loss: Tensor, right: Tensor) -> None:
        """Notes a step: its learning rate, its loss, how many of this process's images were told right; both () on the
        device.
        """
        self._pending.append((rate, loss, right))
        if len(self._pending) == _STEPS_BETWEEN_LOOKS or self._seen + len(self._pending) == self._steps:
            self.look()

    def look(self) -> None:
        """Fetches what all of the team noted; ModelError, in each, where a loss is not finite.

        In a team all look behind the same steps.
        """
        if self.level:
            return
        losses, right = self._fetched()
        for (rate, _, _), loss in zip(self._pending, losses, strict=True):
            self._seen += 1
            if not math.isfinite(loss):
                place = f"epoch {self._epoch + 1}, step {self._seen}, learning rate {rate:.3g}"
                raise ModelError(f"the loss is {loss} ({place})", "lower --learning-rate")
            self._loss_sum += loss
        self._right += right
        self._pending.clear()
        self._tell()

    def _fetched(self) -> tuple[list[float], int]:
        """Of the steps not looked at: each one's loss, and how many images were told right; of the whole team."""
        losses = torch.stack([loss for _, loss, _ in self._pending])
        right = torch.stack([right for _, _, right in self._pending]).sum()
        return (self._team.sum(losses) / self._team.size).tolist(), int(self._team.sum(right))

    def outcome(self, *, interrupted: bool = False, reached: float | None = None) -> TrainingOutcome:
        """The figures by now."""
        seen = max(1, self._seen)
        accuracy = 100 * self._right / (seen * self._batch_size)
        return TrainingOutcome(
            self._loss_sum / seen, accuracy, self.validation, interrupted, reached, self.unkept
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it, after a look."""
        return {"epoch": self._epoch, "seen": self._seen, "loss_sum": self._loss_sum, "right": self._right}

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what `state` gave."""
        self._epoch, self._seen = state["epoch"], state["seen"]
        self._loss_sum, self._right = state["loss_sum"], state["right"]
        self._skipped = self._done()

    def _done(self) -> float:
        return (self._epoch * self._steps + self._seen) / (self._epochs * self._steps)

    def _tell(self) -> None:
        seconds, done = perf_counter() - self._began, self._done()
        here = max(done - self._skipped, 1e-12)
        left = round(seconds * (1 - done) / here)
        images = here * self._epochs * self._steps * self._batch_size
        now = self.outcome()
        figures = {
            "epoch": f"{self._epoch + 1}/{self._epochs}",
            "loss": f"{now.loss:.3f}",
            "accuracy": f"{now.accuracy:.1f} %",
            "img/s": f"{images / seconds:.0f}",
            "left": f"{left // 60}:{left % 60:02d}",
        }
        if self.validation is not None:
            figures["validation"] = f"{self.validation:.2f} %"
        if self.unkept is not None:
            figures["checkpoint"] = "not written"
        self._listener("finetune", done, figures)
