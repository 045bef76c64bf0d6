"""The training loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tightc.bridge.module import TorchGraph
from tightc.finetuning.batches.augment import blend, draw_shares
from tightc.finetuning.batches.batches import Batches
from tightc.finetuning.network.fake_quantization import FakeQuantization
from tightc.finetuning.network.masks import Masks
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process.checkpoint import Checkpoint
from tightc.finetuning.process.device import ComputeDevice
from tightc.finetuning.process.interrupt import Stop, noted
from tightc.finetuning.process.metrics import TrainingMetrics, TrainingOutcome
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training.batchnorm_recalibration import recalibrate_batchnorm
from tightc.finetuning.training.gradual_pruning import GradualPruning
from tightc.finetuning.training.loss import training_loss
from tightc.finetuning.training.optimizer import make_optimizer, set_rate
from tightc.finetuning.training.weight_ema import WeightEma
from tightc.progress import Progress
from tightc.selection.network.prunable import Prunable


@dataclass(frozen=True)
class TrainingSetup:
    """What is trained to tell so many `classes` apart, by whom, on what, where.

    `layers` are those to prune meanwhile, if a share was asked for; `grid` holds the weights that are whole numbers.
    """

    student: TorchGraph
    classes: int
    teacher: TorchGraph | None
    batches: Batches
    validation: Batches | None
    layers: list[Prunable]
    compute: ComputeDevice
    team: ProcessGroup
    grid: FakeQuantization | None = None


class Training:
    """A lesson in progress: everything that the next step depends on."""

    def __init__(self, lesson: TrainingSetup, options: FinetuneOptions, seed: int) -> None:
        self.lesson, self.options, self.seed = lesson, options, seed
        self.steps = options.epochs * len(lesson.batches)
        self.step = 0
        self.generator = torch.Generator().manual_seed(seed)
        self.order: Tensor | None = None
        self.optimizer = make_optimizer(lesson.student, options)
        self.gradual = None
        if options.kept_fraction is not None:
            self.gradual = GradualPruning(lesson.student, lesson.layers, options, self.steps, lesson.grid)
            self.masks = self.gradual.masks
        else:
            self.masks = Masks([weight for weight in lesson.student.weights() if bool((weight == 0).any())])
        self.mean = WeightEma(lesson.student.parameters(), options.average) if options.average else None
        self.best: dict[str, Any] | None = None

    def run(self, progress: Progress, checkpoint: Checkpoint | None) -> TrainingOutcome:
        """Trains to the end, from the checkpoint if there is one; on one CPU the seed alone decides the result.

        Ctrl-C ends it behind the step at hand. ModelError, with epoch, step and learning rate, once the loss is not
        finite.
        """
        batches, options = self.lesson.batches, self.options
        team = self.lesson.team
        course = TrainingMetrics(options.epochs, len(batches), batches.batch_size, progress, team)
        with torch.random.fork_rng(enabled=True), noted(alone=team.size == 1) as stop:
            torch.manual_seed(self.seed)  # Dropout draws from torch's own generator
            saved = team.shared(checkpoint.read) if checkpoint else None
            if saved is not None:
                self._load(saved)
                course.load(saved["course"])
            try:
                self._go_on(course, checkpoint, stop)
            except KeyboardInterrupt:
                self._finish(course, complete=False)
                reached = None if self._complete else self.step / len(batches)
                return course.outcome(interrupted=True, reached=reached)
            self._finish(course, complete=True)
        return course.outcome(interrupted=stop.asked)

    def _go_on(self, course: TrainingMetrics, checkpoint: Checkpoint | None, stop: Stop) -> None:
        batches, team, compute = self.lesson.batches, self.lesson.team, self.lesson.compute
        forward: nn.Module = self.lesson.student
        if team.size > 1:
            devices = [compute.device] if compute.device.type == "cuda" else None
            forward = nn.parallel.DistributedDataParallel(forward, devices, find_unused_parameters=True)
        self.lesson.student.train()
        while self.step < self.steps:
            epoch, place = divmod(self.step, len(batches))
            if self.order is None:
                self.order = batches.order(self.generator)
                course.start(epoch)
            images, labels = batches.batch(self.order[place], self.generator, team)
            rate = set_rate(self.optimizer, self.options, self.step, self.steps)
            loss, logits = self._update(forward, *self._blended(images, labels))
            self.step += 1
            course.add(rate, loss, (logits.argmax(1) == labels).sum())
            if place + 1 == len(batches):
                self.order = None
                self._validate(course)
            due = checkpoint is not None and (checkpoint.due or stop.asked or self._complete)
            if checkpoint is not None and due and team.leads and (team.size == 1 or course.level):
                course.look()  # a team's members look together, behind the same steps
                course.unkept = checkpoint.write({**self._state(), "course": course.state()})
            if stop.asked and not self._complete:
                raise KeyboardInterrupt

    @property
    def _complete(self) -> bool:
        return self.step == self.steps

    def _blended(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images and what to learn of them, with a part of another image in each where that is asked for."""
        if not self.options.mixup:
            return images, labels
        team, size = self.lesson.team, self.lesson.batches.batch_size
        shares = draw_shares(size, self.options.mixup, self.generator)[team.rank :: team.size]
        return blend(images, labels, shares.to(images.device), self.lesson.classes)

    def _update(self, forward: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One step; gives the loss, () float32, and the logits, (images, classes), on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._pressed():
            with self.lesson.compute.precision():
                (logits,) = forward(images)
                teacher_logits = None
                if self.lesson.teacher is not None:
                    with torch.no_grad():
                        (teacher_logits,) = self.lesson.teacher(images)
            loss = training_loss(logits, targets, teacher_logits, self.options)
            loss.backward()  # type: ignore[no-untyped-call]
        if self.gradual is not None:
            self.gradual.act(self.step)
        self.masks.before_update()
        self.optimizer.step()
        self.masks.after_update(self.optimizer)
        if self.mean is not None:
            self.mean.add()
        return loss.detach(), logits.detach()

    def _validate(self, course: TrainingMetrics) -> None:
        """Looks at the images held apart, and keeps what does best on them once no more is to be pruned."""
        if self.lesson.validation is None or not self.lesson.team.leads:
            return
        with self._shown():
            course.validation = self._accuracy(self.lesson.validation)
            final = self.gradual is None or self.gradual.settled
            if final and (self.best is None or course.validation > self.best["accuracy"]):
                held = {
                    name: value.detach().clone() for name, value in self.lesson.student.state_dict().items()
                }
                self.best = {"accuracy": course.validation, "student": held}
        self.lesson.student.train()

    @torch.no_grad()
    def _accuracy(self, batches: Batches) -> float:
        self.lesson.student.eval()
        right = seen = 0
        with self._pressed():
            for images, labels in batches.plain():
                with self.lesson.compute.precision():
                    (logits,) = self.lesson.student(images)
                right += int((logits.argmax(1) == labels).sum())
                seen += len(labels)
        return 100 * right / seen

    def _finish(self, course: TrainingMetrics, *, complete: bool) -> None:
        """Leaves in the student what is kept."""
        student = self.lesson.student
        if complete and self.gradual is not None:
            self.gradual.close()
        if self.best is not None:
            student.load_state_dict(self.best["student"])
        elif self.mean is not None:
            self.mean.swap()
        self.masks.clear()
        if self.lesson.grid is not None:
            self.lesson.grid.press()
        if self.options.renorm_images:
            drawn = self.lesson.batches.drawn(self.options.renorm_images, self.seed)
            recalibrate_batchnorm(student, drawn, self.lesson.compute)
        if complete:
            self.lesson.team.follow(student)
        if self.lesson.validation is not None:
            course.validation = self._accuracy(self.lesson.validation)
        student.eval()

    def _pressed(self) -> AbstractContextManager[None]:
        """Whole numbers in place of the real ones behind them for a while, where weights are whole."""
        return nullcontext() if self.lesson.grid is None else self.lesson.grid.pressed()

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """The running mean, if there is one, in the student's place for a while."""
        if self.mean is None:
            yield
            return
        self.mean.swap()
        self.masks.clear()
        try:
            yield
        finally:  # Ctrl-C too leaves each in its place
            self.mean.swap()

    def _state(self) -> dict[str, Any]:
        on_cuda = self.lesson.compute.device.type == "cuda"
        return {
            "step": self.step,
            "student": self.lesson.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "masks": list(self.masks.masks),
            "allowed": {} if self.lesson.grid is None else dict(self.lesson.grid.allowed),
            "settled": self.gradual is not None and self.gradual.settled,
            "mean": None if self.mean is None else {"steps": self.mean.steps, "means": list(self.mean.means)},
            "best": self.best,
            "generator": self.generator.get_state(),
            "order": self.order,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.lesson.compute.device) if on_cuda else None,
        }

    def _load(self, state: dict[str, Any]) -> None:
        self.step, self.best, self.order = state["step"], state["best"], state["order"]
        self.lesson.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.masks.load(state["masks"])
        if self.lesson.grid is not None:
            self.lesson.grid.load(state["allowed"])
        if self.gradual is not None:
            self.gradual.settled = state["settled"]
        if self.mean is not None:
            self.mean.load(**state["mean"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.lesson.compute.device)
