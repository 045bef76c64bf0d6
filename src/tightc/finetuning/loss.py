"""What training minimises."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def training_loss(
    logits: Tensor, labels: Tensor, teacher_logits: Tensor | None, temperature: float, teacher_share: float
) -> Tensor:
    """Cross-entropy with the labels and, where there is a teacher, the distance to it, by shares; () float32.

    `logits` and `teacher_logits`: (images, classes); `labels`: (images,) int64.
    """
    logits = logits.float()
    if teacher_logits is None:
        return functional.cross_entropy(logits, labels)
    distance = distillation_loss(logits, teacher_logits.float(), temperature)
    return (1 - teacher_share) * functional.cross_entropy(logits, labels) + teacher_share * distance


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the softmaxes at temperature T, mean over images (Hinton et al. 2015)."""
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
