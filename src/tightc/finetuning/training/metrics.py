"""Training metrics: loss, accuracy, speed and time left."""

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

_STEPS_BETWEEN_SYNCHRONIZATIONS = 10


@dataclass(frozen=True)
class TrainingResult:
    """Averages over the last epoch: loss, and accuracy in percent, on the training images as augmented.

    `accuracy` is None without labels. `validation_accuracy`: of the final weights, in percent, None without a
    validation split or labels. `validation_loss`: the same without labels. `interrupted`: whether
    Ctrl-C was received. `epochs_done`: the epochs trained before an interrupt, None for a complete training.
    `checkpoint_error`: why the last checkpoint could not be written.
    """

    loss: float
    accuracy: float | None
    validation_accuracy: float | None = None
    validation_loss: float | None = None
    interrupted: bool = False
    epochs_done: float | None = None
    checkpoint_error: str | None = None


class TrainingMetrics:
    """Collects losses on the device, and fetches them every few steps: each fetch waits for the device and the group.

    `steps`: per epoch; `batch_size`: images per step, over all processes.
    """

    def __init__(
        self, epochs: int, steps: int, batch_size: int, progress: Progress, group: ProcessGroup
    ) -> None:
        self._epochs, self._steps, self._batch_size, self._progress = epochs, steps, batch_size, progress
        self._group = group
        self._start, self._resumed_at = perf_counter(), 0.0
        self._pending: list[tuple[float, Tensor, Tensor]] = []
        self.labeled = True
        self.validation_accuracy: float | None = None
        self.validation_loss: float | None = None
        self.checkpoint_error: str | None = None
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Resets the averages at the start of an epoch, counted from 0."""
        self._epoch = epoch
        self._done_steps = 0
        self._loss_sum = 0.0
        self._correct = 0

    @property
    def synchronized(self) -> bool:
        """Whether all added steps have been fetched."""
        return not self._pending

    def add(self, lr: float, loss: Tensor, correct: Tensor | None) -> None:
        """Adds a step: learning rate `lr`, `loss` and `correct` predictions of this process, both () on the device.

        Without labels, nothing is correct. Synchronizes every few steps; see `synchronize`.
        """
        self._pending.append(
            (lr, loss, torch.zeros_like(loss, dtype=torch.int64) if correct is None else correct)
        )
        last = self._done_steps + len(self._pending) == self._steps
        if len(self._pending) == _STEPS_BETWEEN_SYNCHRONIZATIONS or last:
            self.synchronize()

    def synchronize(self) -> None:
        """Fetches the added steps of all processes; ModelError, in each process, where a loss is not finite.

        All processes of a group must call it after the same steps.
        """
        if self.synchronized:
            return
        losses, correct = self._fetched()
        for (lr, _, _), loss in zip(self._pending, losses, strict=True):
            self._done_steps += 1
            if not math.isfinite(loss):
                place = f"epoch {self._epoch + 1}, step {self._done_steps}, learning rate {lr:.3g}"
                raise ModelError(f"expected a finite loss, got {loss} ({place})", "lower --learning-rate")
            self._loss_sum += loss
        self._correct += correct
        self._pending.clear()
        self._report_progress()

    def _fetched(self) -> tuple[list[float], int]:
        """The loss of each pending step, and the number of correct predictions in all of them, over all processes."""
        losses = torch.stack([loss for _, loss, _ in self._pending])
        correct = torch.stack([correct for _, _, correct in self._pending]).sum()
        mean_losses = self._group.all_reduce_sum(losses) / self._group.world_size
        return mean_losses.tolist(), int(self._group.all_reduce_sum(correct))

    def result(self, *, interrupted: bool = False, epochs_done: float | None = None) -> TrainingResult:
        """The metrics so far, with `interrupted` and `epochs_done` as in TrainingResult."""
        steps = max(1, self._done_steps)
        return TrainingResult(
            loss=self._loss_sum / steps,
            accuracy=100 * self._correct / (steps * self._batch_size) if self.labeled else None,
            validation_accuracy=self.validation_accuracy,
            validation_loss=self.validation_loss,
            interrupted=interrupted,
            epochs_done=epochs_done,
            checkpoint_error=self.checkpoint_error,
        )

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint, once synchronized."""
        return {
            "epoch": self._epoch,
            "steps": self._done_steps,
            "loss_sum": self._loss_sum,
            "correct": self._correct,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores what `state` returned."""
        self._epoch, self._done_steps = state["epoch"], state["steps"]
        self._loss_sum, self._correct = state["loss_sum"], state["correct"]
        self._resumed_at = self._done()

    def _done(self) -> float:
        """The fraction of the training that is done."""
        return (self._epoch * self._steps + self._done_steps) / (self._epochs * self._steps)

    def _report_progress(self) -> None:
        seconds, done = perf_counter() - self._start, self._done()
        done_here = max(done - self._resumed_at, 1e-12)
        left = round(seconds * (1 - done) / done_here)
        images = done_here * self._epochs * self._steps * self._batch_size
        result = self.result()
        figures = {
            "epoch": f"{self._epoch + 1}/{self._epochs}",
            "loss": f"{result.loss:.3f}",
            **({} if result.accuracy is None else {"accuracy": f"{result.accuracy:.1f} %"}),
            "img/s": f"{images / seconds:.0f}",
            "left": f"{left // 60}:{left % 60:02d}",
        }
        if self.validation_accuracy is not None:
            figures["validation"] = f"{self.validation_accuracy:.2f} %"
        if self.validation_loss is not None:
            figures["validation"] = f"{self.validation_loss:.4g}"
        if self.checkpoint_error is not None:
            figures["checkpoint"] = "not written"
        self._progress("finetune", done, figures)
