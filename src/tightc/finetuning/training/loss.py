"""The training loss: cross-entropy with labels, distillation from a teacher, or both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tightc.finetuning.options import TrainingOptions

Outputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Objective:
    """What is minimized.

    `labeled`: whether the first output of the student is compared with labels. `matched`: the outputs of the student,
    by number, that are compared with those of the teacher, in its order. `axes`: the axis of the classes of each, for
    the KL divergence, or None for the squared error.
    """

    labeled: bool
    matched: tuple[int, ...] = (0,)
    axes: tuple[int | None, ...] = (1,)


def training_loss(
    outputs: Outputs,
    targets: Tensor | None,
    teacher_outputs: Outputs | None,
    objective: Objective,
    options: TrainingOptions,
) -> Tensor:
    """Cross-entropy with the labels, averaged with the distillation loss where there is a teacher; () float32.

    The first of `outputs` are logits, (images, classes), where the `objective` has labels. `targets`: labels, (images,)
    int64, or class probabilities, (images, classes) float32, or None. `options.distill_weight` is the weight of the
    distillation loss; without labels it is all.
    """
    label_loss = None
    if objective.labeled:
        assert targets is not None, "images of a labeled training have labels"
        label_loss = functional.cross_entropy(
            outputs[0].float(), targets, label_smoothing=options.label_smoothing
        )
        if teacher_outputs is None:
            return label_loss
    assert teacher_outputs is not None, "without labels there is a teacher"
    values = [outputs[place].float() for place in objective.matched]
    losses = [
        squared_error(value, wanted.float())
        if axis is None
        else distillation_loss(value, wanted.float(), options.distill_temperature, axis)
        for value, wanted, axis in zip(values, teacher_outputs, objective.axes, strict=True)
    ]
    distillation = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
    if label_loss is None:
        return distillation
    return (1 - options.distill_weight) * label_loss + options.distill_weight * distillation


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float, axis: int = 1) -> Tensor:
    """T^2 KL(teacher || student) of the softmaxes at `temperature` T, averaged over images (Hinton et al. 2015).

    `logits` and `teacher_logits`: (images, classes) float32, or of any shape with the classes along `axis`, where the
    average is over all other axes. Returns () float32.
    """
    student = functional.log_softmax(logits / temperature, dim=axis)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=axis)
    if logits.dim() == 2:
        return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
    divergences = functional.kl_div(student, teacher, reduction="none", log_target=True).sum(axis)
    return divergences.mean() * temperature**2


def squared_error(values: Tensor, wanted: Tensor) -> Tensor:
    """The mean square error of `values` relative to the mean square of the `wanted` ones; () float32.

    Relative, so that one learning rate serves outputs in any unit, and several values weigh the same.
    """
    scale = wanted.square().mean().clamp(min=torch.finfo(torch.float32).tiny)
    return functional.mse_loss(values, wanted) / scale
