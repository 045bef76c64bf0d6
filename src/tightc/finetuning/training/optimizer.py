"""The optimizer, and its learning rate at each step."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from tightc.bridge.module import TorchGraph
from tightc.finetuning.options import TrainingOptions
from tightc.finetuning.training.lr_schedules import cosine_lr, one_cycle

_BETA2 = 0.999


def make_optimizer(student: TorchGraph, options: TrainingOptions) -> Optimizer:
    """The optimizer of `student`, SGD with Nesterov momentum or AdamW, as `options` say; only weights decay."""
    weights = student.weights()
    others = [student.parameter(name) for name, role in student.roles.items() if role != "weight"]
    groups = [
        {"params": weights, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(options.momentum, _BETA2))
    return torch.optim.SGD(
        groups, lr=options.learning_rate, momentum=options.momentum, nesterov=options.momentum > 0
    )


def set_lr(optimizer: Optimizer, options: TrainingOptions, step: int, steps: int) -> float:
    """Sets learning rate and momentum of `optimizer` for `step` of `steps`; returns the learning rate.

    `options` give the schedule and its peak.
    """
    if options.lr_schedule == "cosine":
        lr, momentum = cosine_lr(step, steps, options.learning_rate, options.warmup), None
    else:
        lr, momentum = one_cycle(step, steps, options.learning_rate, options.momentum, options.warmup)
    for group in optimizer.param_groups:
        group["lr"] = lr
        if momentum is not None and options.optimizer == "adamw":
            group["betas"] = (momentum, _BETA2)
        elif momentum:
            group["momentum"] = momentum
    return lr
