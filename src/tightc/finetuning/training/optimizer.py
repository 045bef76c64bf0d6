"""What moves the weights."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from tightc.bridge.module import TorchGraph
from tightc.finetuning.options import TrainingOptions
from tightc.finetuning.training.lr_schedules import cosine_rate, one_cycle

_SECOND_BETA = 0.999


def make_optimizer(student: TorchGraph, options: TrainingOptions) -> Optimizer:
    """SGD with Nesterov's momentum, or AdamW; weights decay, biases, scales, shifts and slopes do not."""
    weights = student.weights()
    others = [student.parameter(name) for name, role in student.roles.items() if role != "weight"]
    groups = [
        {"params": weights, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(options.momentum, _SECOND_BETA))
    return torch.optim.SGD(
        groups, lr=options.learning_rate, momentum=options.momentum, nesterov=options.momentum > 0
    )


def set_rate(optimizer: Optimizer, options: TrainingOptions, step: int, steps: int) -> float:
    """Sets learning rate and momentum for `step` of `steps`; gives the rate."""
    if options.rate == "cosine":
        rate, momentum = cosine_rate(step, steps, options.learning_rate, options.warm_up), None
    else:
        rate, momentum = one_cycle(step, steps, options.learning_rate, options.momentum, options.warm_up)
    for group in optimizer.param_groups:
        group["lr"] = rate
        if momentum is not None and options.optimizer == "adamw":
            group["betas"] = (momentum, _SECOND_BETA)
        elif momentum:
            group["momentum"] = momentum
    return rate
