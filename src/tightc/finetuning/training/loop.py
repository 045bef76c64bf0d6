"""The training loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tightc.bridge.module import TorchGraph
from tightc.deadline import Deadline
from tightc.finetuning.batches.augment import blend, draw_mixup_ratios, mixup
from tightc.finetuning.batches.batches import Batches
from tightc.finetuning.batches.sample_batches import SampleBatches
from tightc.finetuning.network.fake_quantization import FakeQuantization
from tightc.finetuning.network.masks import Masks
from tightc.finetuning.network.torch_network import Inputs
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process.checkpoint import Checkpoint
from tightc.finetuning.process.device import ComputeDevice
from tightc.finetuning.process.interrupt import graceful_interrupt
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training.batchnorm_recalibration import recalibrate_batchnorm
from tightc.finetuning.training.gradual_pruning import GradualPruning
from tightc.finetuning.training.loss import Objective, Outputs, training_loss
from tightc.finetuning.training.metrics import TrainingMetrics, TrainingResult
from tightc.finetuning.training.optimizer import make_optimizer, set_lr
from tightc.finetuning.training.weight_ema import WeightEma
from tightc.progress import Progress
from tightc.selection.network.prunable import Prunable


@dataclass(frozen=True)
class TrainingSetup:
    """Networks, data, objective and device of a training.

    `classes`: the number of classes of a labeled training, else 0. `prunable`: the layers to prune while training,
    empty without a target. `fake_quantization`: the int8 weights of the student, None where it has none.
    """

    student: TorchGraph
    classes: int
    teacher: TorchGraph | None
    objective: Objective
    batches: Batches | SampleBatches
    validation: Batches | SampleBatches | None
    prunable: list[Prunable]
    compute: ComputeDevice
    group: ProcessGroup
    fake_quantization: FakeQuantization | None = None


class Training:
    """A training with all state that its next step depends on."""

    def __init__(self, setup: TrainingSetup, options: FinetuneOptions, seed: int) -> None:
        self.setup, self.options, self.seed = setup, options, seed
        self.steps = options.epochs * len(setup.batches)
        self.step = 0
        self.threads = {torch.get_num_threads()}  # and those of the runs before, where one is resumed
        self.generator = torch.Generator().manual_seed(seed)
        self.order: Tensor | None = None
        student = setup.student
        self.optimizer = make_optimizer(student, options)
        self.pruning = None
        if options.kept_fraction is not None:
            self.pruning = GradualPruning(
                student, setup.prunable, options, self.steps, setup.fake_quantization
            )
            self.masks = self.pruning.masks
        else:
            self.masks = Masks([weight for weight in student.weights() if bool((weight == 0).any())])
        self.ema = WeightEma(student.parameters(), options.ema_decay) if options.ema_decay else None
        # the weights of the best epoch, and their accuracy, or without labels their loss times -1
        self.best: dict[str, Any] | None = None

    def run(self, progress: Progress, checkpoint: Checkpoint | None) -> TrainingResult:
        """Trains to the end, from the `checkpoint` if there is one; on one CPU the seed alone decides the result.

        `progress` is called every few steps. Ctrl-C ends the training after the current step. ModelError, with epoch,
        step and learning rate, where the loss is not finite.
        """
        batches, group = self.setup.batches, self.setup.group
        metrics = TrainingMetrics(self.options.epochs, len(batches), batches.batch_size, progress, group)
        metrics.labeled = self.setup.objective.labeled
        single_process = group.world_size == 1
        with torch.random.fork_rng(enabled=True), graceful_interrupt(enabled=single_process) as deadline:
            torch.manual_seed(self.seed)  # Dropout draws from torch's global generator
            saved = group.broadcast_result(checkpoint.read) if checkpoint else None
            if saved is not None:
                self._load_state(saved)
                metrics.load_state(saved["metrics"])
            try:
                self._train(metrics, checkpoint, deadline)
            except KeyboardInterrupt:
                self._finish(metrics, complete=False)
                epochs_done = None if self._complete else self.step / len(batches)
                return metrics.result(interrupted=True, epochs_done=epochs_done)
            self._finish(metrics, complete=True)
        return metrics.result(interrupted=deadline.passed())

    def _train(self, metrics: TrainingMetrics, checkpoint: Checkpoint | None, deadline: Deadline) -> None:
        """Runs the remaining steps; KeyboardInterrupt once the deadline has passed before the last."""
        setup = self.setup
        forward = self._data_parallel()
        setup.student.train()
        while self.step < self.steps:
            epoch, place = divmod(self.step, len(setup.batches))
            if self.order is None:
                self.order = setup.batches.shuffled(self.generator)
                metrics.start_epoch(epoch)
            inputs, labels = setup.batches.batch(self.order[place], self.generator, setup.group)
            lr = set_lr(self.optimizer, self.options, self.step, self.steps)
            loss, logits = self._update(forward, *self._mixed(inputs, labels))
            self.step += 1
            correct = None if labels is None else (logits.argmax(1) == labels).sum()
            metrics.add(lr, loss, correct)
            if place + 1 == len(setup.batches):
                self.order = None
                self._validate(metrics)
            if checkpoint is not None:
                checkpoint.due |= self.order is None
                if checkpoint.due or deadline.passed():
                    self._save(checkpoint, metrics)
            if deadline.passed() and not self._complete:
                raise KeyboardInterrupt

    @property
    def _complete(self) -> bool:
        return self.step == self.steps

    def _data_parallel(self) -> nn.Module:
        """The student, with gradients averaged over the process group."""
        if self.setup.group.world_size == 1:
            return self.setup.student
        device = self.setup.compute.device
        devices = [device] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(self.setup.student, devices, find_unused_parameters=True)

    def _mixed(self, inputs: Inputs, labels: Tensor | None) -> tuple[Inputs, Tensor | None]:
        """Inputs and targets, after mixup where it is on, which only images have."""
        if not self.options.mixup:
            return inputs, labels
        (images,) = inputs
        ratios = draw_mixup_ratios(self.setup.batches.batch_size, self.options.mixup, self.generator)
        ratios = self.setup.group.shard(ratios).to(images.device)
        if labels is None:
            return (blend(images, ratios),), None
        mixed, targets = mixup(images, labels, ratios, self.setup.classes)
        return (mixed,), targets

    def _update(self, forward: nn.Module, inputs: Inputs, targets: Tensor | None) -> tuple[Tensor, Tensor]:
        """One training step; returns the loss, () float32, and the first output, on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._fake_quantized():
            with self.setup.compute.autocast():
                outputs = forward(*inputs)
                teacher_outputs = self._teacher_outputs(inputs)
            loss = training_loss(outputs, targets, teacher_outputs, self.setup.objective, self.options)
            loss.backward()  # type: ignore[no-untyped-call]
        if self.pruning is not None:
            self.pruning.update(self.step)
        self.masks.mask_gradients()
        self.optimizer.step()
        self.masks.mask_update(self.optimizer)
        if self.ema is not None:
            self.ema.update()
        return loss.detach(), outputs[0].detach()

    @torch.no_grad()
    def _teacher_outputs(self, inputs: Inputs) -> Outputs | None:
        """What the teacher gives for `inputs`, None without one."""
        if self.setup.teacher is None:
            return None
        outputs: Outputs = self.setup.teacher(*inputs)
        return outputs

    def _validate(self, metrics: TrainingMetrics) -> None:
        """Measures the validation accuracy or loss, and keeps the best weights once pruning is finished."""
        if self.setup.validation is None or not self.setup.group.is_main_process:
            return
        student = self.setup.student
        with self._ema_weights():
            accuracy = self._measure(self.setup.validation, metrics)
            final = self.pruning is None or self.pruning.finished
            if final and (self.best is None or accuracy > self.best["accuracy"]):
                weights = {name: value.detach().clone() for name, value in student.state_dict().items()}
                self.best = {"accuracy": accuracy, "student": weights}
        student.train()

    def _measure(self, batches: Batches | SampleBatches, metrics: TrainingMetrics) -> float:
        """Measures the student on all of `batches` for `metrics`; returns what is to be large."""
        if self.setup.objective.labeled:
            metrics.validation_accuracy = self._accuracy(batches)
            return metrics.validation_accuracy
        metrics.validation_loss = self._loss(batches)
        return -metrics.validation_loss

    @torch.no_grad()
    def _accuracy(self, batches: Batches | SampleBatches) -> float:
        """Top-1 accuracy in percent on all images of `batches`."""
        self.setup.student.eval()
        correct = images_seen = 0
        with self._fake_quantized():
            for inputs, labels in batches.unaugmented():
                assert labels is not None, "an accuracy is of labeled images"
                with self.setup.compute.autocast():
                    logits = self.setup.student(*inputs)[0]
                correct += int((logits.argmax(1) == labels).sum())
                images_seen += len(labels)
        return 100 * correct / images_seen

    @torch.no_grad()
    def _loss(self, batches: Batches | SampleBatches) -> float:
        """The mean distillation loss on all samples of `batches`."""
        self.setup.student.eval()
        total, samples = 0.0, 0
        with self._fake_quantized():
            for inputs, _ in batches.unaugmented():
                with self.setup.compute.autocast():
                    outputs, wanted = self.setup.student(*inputs), self._teacher_outputs(inputs)
                loss = training_loss(outputs, None, wanted, self.setup.objective, self.options)
                total += float(loss) * len(inputs[0])
                samples += len(inputs[0])
        return total / samples

    def _save(self, checkpoint: Checkpoint, metrics: TrainingMetrics) -> None:
        """Writes the checkpoint in the main process; in a group only after a step at which all synchronized."""
        group = self.setup.group
        if group.is_main_process and (group.world_size == 1 or metrics.synchronized):
            metrics.synchronize()
            metrics.checkpoint_error = checkpoint.write({**self._state(), "metrics": metrics.state()})

    def _finish(self, metrics: TrainingMetrics, *, complete: bool) -> None:
        """Leaves the final weights in the student: the best, the EMA or the last ones."""
        setup, student = self.setup, self.setup.student
        if complete and self.pruning is not None:
            self.pruning.finish()
        if self.best is not None:
            student.load_state_dict(self.best["student"])
        elif self.ema is not None:
            self.ema.swap()
        self.masks.mask_weights()
        if setup.fake_quantization is not None:
            setup.fake_quantization.apply()
        if self.options.bn_recalibration_images:
            batches = setup.batches.sample_batches(self.options.bn_recalibration_images, self.seed)
            recalibrate_batchnorm(student, batches, setup.compute)
        if complete:
            setup.group.broadcast_module(student)
        if setup.validation is not None:
            self._measure(setup.validation, metrics)
        student.eval()

    def _fake_quantized(self) -> AbstractContextManager[None]:
        """The context in which the student's int8 weights are fake-quantized."""
        quantization = self.setup.fake_quantization
        return nullcontext() if quantization is None else quantization.applied()

    @contextmanager
    def _ema_weights(self) -> Iterator[None]:
        """The context in which the student holds the EMA weights, if there are any."""
        if self.ema is None:
            yield
            return
        self.ema.swap()
        self.masks.mask_weights()
        try:
            yield
        finally:  # also after Ctrl-C
            self.ema.swap()

    def _state(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        device, quantization = self.setup.compute.device, self.setup.fake_quantization
        ema = None if self.ema is None else {"steps": self.ema.steps, "shadow": list(self.ema.shadow)}
        return {
            "step": self.step,
            "threads": sorted(self.threads),
            "student": self.setup.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "masks": list(self.masks.masks),
            "allowed_subwords": {} if quantization is None else dict(quantization.allowed),
            "pruning_finished": self.pruning is not None and self.pruning.finished,
            "ema": ema,
            "best": self.best,
            "generator": self.generator.get_state(),
            "order": self.order,
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        """Restores what `_state` returned."""
        self.step, self.best, self.order = state["step"], state["best"], state["order"]
        self.threads.update(state.get("threads", ()))  # unknown in a checkpoint of tightc 0.3.0
        self.setup.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.masks.load_state(state["masks"])
        if self.setup.fake_quantization is not None:
            self.setup.fake_quantization.load_state(state["allowed_subwords"])
        if self.pruning is not None:
            self.pruning.finished = state["pruning_finished"]
        if self.ema is not None:
            self.ema.load_state(**state["ema"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_rng"])
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self.setup.compute.device)
