"""What training minimizes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from tightc.finetuning.options import TrainingOptions


def training_loss(
    logits: Tensor, targets: Tensor, teacher_logits: Tensor | None, options: TrainingOptions
) -> Tensor:
    """Cross-entropy with the labels and, where there is a teacher, the distance to it, by shares; () float32.

    `logits` and `teacher_logits`: (images, classes); `targets`: labels, (images,) int64, or chances of the classes,
    (images, classes) float32.
    """
    logits = logits.float()
    own = functional.cross_entropy(logits, targets, label_smoothing=options.label_smoothing)
    if teacher_logits is None:
        return own
    distance = distillation_loss(logits, teacher_logits.float(), options.distil_temperature)
    return (1 - options.distil_weight) * own + options.distil_weight * distance


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the softmaxes at temperature T, mean over images (Hinton et al. 2015)."""
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
