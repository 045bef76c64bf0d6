"""The training loss: cross-entropy, with optional distillation."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from tightc.finetuning.options import TrainingOptions


def training_loss(
    logits: Tensor, targets: Tensor, teacher_logits: Tensor | None, options: TrainingOptions
) -> Tensor:
    """Cross-entropy with the labels, averaged with the distillation loss where there is a teacher; () float32.

    `logits` and `teacher_logits`: (images, classes); `targets`: labels, (images,) int64, or class probabilities,
    (images, classes) float32. `options.distill_weight` is the weight of the distillation loss.
    """
    logits = logits.float()
    label_loss = functional.cross_entropy(logits, targets, label_smoothing=options.label_smoothing)
    if teacher_logits is None:
        return label_loss
    distillation = distillation_loss(logits, teacher_logits.float(), options.distill_temperature)
    return (1 - options.distill_weight) * label_loss + options.distill_weight * distillation


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the softmaxes at `temperature` T, averaged over images (Hinton et al. 2015).

    `logits` and `teacher_logits`: (images, classes) float32. Returns () float32.
    """
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
