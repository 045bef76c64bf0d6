"""The training loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.errors import ModelError
from tightc.finetuning.batches import Batches
from tightc.finetuning.compute import Compute
from tightc.finetuning.loss import training_loss
from tightc.finetuning.masks import ZeroMasks
from tightc.finetuning.options import FinetuneOptions
from tightc.report import Listener

_STEPS_BETWEEN_REPORTS = 10
_WARM_UP_SHARE = 0.05


@dataclass(frozen=True)
class Outcome:
    """Means over the last epoch, as seen in training: loss, and accuracy in percent."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Lesson:
    """What is trained, by whom, on what."""

    student: TorchGraph
    teacher: TorchGraph | None
    batches: Batches
    masks: ZeroMasks
    compute: Compute


def train(lesson: Lesson, options: FinetuneOptions, seed: int, listener: Listener) -> Outcome:
    """Trains the student in place; on the CPU the result depends on the seed alone.

    ModelError, with epoch, step and learning rate, once the loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = _optimizer(lesson.student, options)
    progress = _Progress(options.epochs, len(lesson.batches), lesson.batches.batch_size, listener)
    steps = options.epochs * len(lesson.batches)
    lesson.student.train()
    with torch.random.fork_rng(enabled=True):
        torch.manual_seed(seed)  # Dropout draws from torch's own generator
        for epoch in range(options.epochs):
            progress.start(epoch)
            for step, (images, labels) in enumerate(lesson.batches.epoch(generator)):
                rate = learning_rate(epoch * len(lesson.batches) + step, steps, options.learning_rate)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                loss, logits = _step(lesson, options, optimizer, images, labels)
                progress.add(step, rate, loss, (logits.argmax(1) == labels).sum())
    lesson.student.eval()
    return progress.outcome()


def learning_rate(step: int, steps: int, peak: float) -> float:
    """The rate at `step` of `steps`: a linear rise over the first twentieth and half a cosine down to 0."""
    warm_up = max(1, round(steps * _WARM_UP_SHARE))
    rise = min(1.0, (step + 1) / warm_up)
    return peak * rise * 0.5 * (1 + math.cos(math.pi * step / steps))


def _optimizer(student: TorchGraph, options: FinetuneOptions) -> torch.optim.SGD:
    weights = student.weights()
    others = [student.parameter(name) for name, role in student.roles.items() if role != "weight"]
    groups = [
        {"params": weights, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=options.learning_rate,
        momentum=options.momentum,
        nesterov=options.momentum > 0,
    )


def _step(
    lesson: Lesson, options: FinetuneOptions, optimizer: torch.optim.SGD, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """One update; gives the loss, () float32, and the logits, (images, classes), on the device."""
    with lesson.compute.precision():
        (logits,) = lesson.student(images)
        teacher_logits = None
        if lesson.teacher is not None:
            with torch.no_grad():
                (teacher_logits,) = lesson.teacher(images)
    loss = training_loss(logits, labels, teacher_logits, options.distil_temperature, options.distil_weight)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    lesson.masks.clear_gradients()
    optimizer.step()
    lesson.masks.clear_weights(optimizer)
    return loss.detach(), logits.detach()


class _Progress:
    """Gathers losses on the device, and looks at them every few steps: each look waits for the device."""

    def __init__(self, epochs: int, steps: int, batch_size: int, listener: Listener) -> None:
        self._epochs, self._steps, self._batch_size, self._listener = epochs, steps, batch_size, listener
        self._began = perf_counter()
        self.start(0)

    def start(self, epoch: int) -> None:
        self._epoch = epoch
        self._seen = 0
        self._loss_sum = 0.0
        self._right = 0
        self._pending: list[tuple[float, Tensor, Tensor]] = []

    def add(self, step: int, rate: float, loss: Tensor, right: Tensor) -> None:
        self._pending.append((rate, loss, right))
        if len(self._pending) == _STEPS_BETWEEN_REPORTS or step + 1 == self._steps:
            self._look()

    def outcome(self) -> Outcome:
        return Outcome(self._loss_sum / self._seen, 100 * self._right / (self._seen * self._batch_size))

    def _look(self) -> None:
        losses = torch.stack([loss for _, loss, _ in self._pending]).tolist()
        for (rate, _, _), loss in zip(self._pending, losses, strict=True):
            self._seen += 1
            if not math.isfinite(loss):
                place = f"epoch {self._epoch + 1}, step {self._seen}, learning rate {rate:.3g}"
                raise ModelError(
                    f"the loss is {loss} ({place})",
                    "lower --learning-rate",
                )
        self._loss_sum += sum(losses)
        self._right += int(torch.stack([right for _, _, right in self._pending]).sum())
        self._pending.clear()
        done = (self._epoch * self._steps + self._seen) / (self._epochs * self._steps)
        self._listener("finetune", done, self._figures(done))

    def _figures(self, done: float) -> dict[str, str]:
        seconds = perf_counter() - self._began
        left = round(seconds * (1 - done) / done)
        images = done * self._epochs * self._steps * self._batch_size
        now = self.outcome()
        return {
            "epoch": f"{self._epoch + 1}/{self._epochs}",
            "loss": f"{now.loss:.3f}",
            "accuracy": f"{now.accuracy:.1f} %",
            "img/s": f"{images / seconds:.0f}",
            "left": f"{left // 60}:{left % 60:02d}",
        }
