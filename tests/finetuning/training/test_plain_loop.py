"""The training against the same one written by hand in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from helpers import training

STEPS, EPOCHS, BATCH = 12, 3, 16
NAMES = ("first_w", "first_b", "last_w", "last_b")


def forward(p: dict[str, Tensor], x: Tensor) -> Tensor:
    h = functional.max_pool2d(functional.conv2d(x, p["first_w"], p["first_b"], padding=1).relu(), 4)
    return functional.linear(h.flatten(1), p["last_w"], p["last_b"])


def batches(seed: int, mixup: float) -> list[tuple[Tensor, Tensor]]:
    """Images and class probabilities in the order of the seed: one permutation per epoch.

    Each image takes a share, drawn for each batch, of the one before it in the batch.
    """
    images, generator = training.quadrants(), torch.Generator().manual_seed(seed)
    pixels = (torch.from_numpy(images.pixels).float() / 255 - 0.5) / 0.25
    probabilities = functional.one_hot(torch.from_numpy(images.labels), 4).float()
    found = []
    for _ in range(EPOCHS):
        for chosen in torch.randperm(64, generator=generator).split(BATCH):
            s = mixup * torch.rand(BATCH, generator=generator) if mixup else torch.zeros(BATCH)
            mixes = list(zip(s, chosen, chosen[[-1, *range(BATCH - 1)]], strict=True))
            x = torch.stack([(1 - share) * pixels[k] + share * pixels[j] for share, k, j in mixes])
            y = torch.stack(
                [(1 - share) * probabilities[k] + share * probabilities[j] for share, k, j in mixes]
            )
            found.append((x, y))
    return found


def cosine(step: int) -> tuple[float, float]:
    return 0.05 * min(1.0, (step + 1) / 3) * 0.5 * (1 + math.cos(math.pi * step / STEPS)), 0.9


def one_cycle(step: int) -> tuple[float, float]:
    """Up for a quarter of the steps and down for the rest, each half a cosine."""
    if step < 3:
        up = 0.5 * (1 - math.cos(math.pi * step / 3))
        return 0.002 + (0.05 - 0.002) * up, 0.9 - 0.1 * up
    down = 0.5 * (1 - math.cos(math.pi * (step - 3) / 9))
    return 0.05 + (0.05e-4 - 0.05) * down, 0.8 + 0.1 * down


class Nesterov:
    """p -= rate * (g + m * v) with v = m * v + g, g the gradient plus weight decay."""

    def __init__(self, decay: float) -> None:
        self.decay, self.v = decay, dict.fromkeys(NAMES, 0.0)

    def update(self, p: dict[str, Tensor], masks: dict[str, Tensor], rate: float, momentum: float) -> None:
        for name in NAMES:
            g = p[name].grad + (self.decay * p[name] if name.endswith("_w") else 0)
            self.v[name] = (momentum * self.v[name] + g) * masks.get(name, 1)
            p[name] -= rate * (g + momentum * self.v[name])


class Adam:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), beta2 0.999."""

    def __init__(self, decay: float) -> None:
        self.decay, self.step = decay, 0
        self.m, self.v = dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, 0.0)
        self.betas = [1.0, 1.0]

    def update(self, p: dict[str, Tensor], masks: dict[str, Tensor], rate: float, momentum: float) -> None:
        self.step += 1
        for name in NAMES:
            g, mask = p[name].grad, masks.get(name, 1)
            if name.endswith("_w"):
                p[name] *= 1 - rate * self.decay
            self.m[name] = (momentum * self.m[name] + (1 - momentum) * g) * mask
            self.v[name] = (0.999 * self.v[name] + 0.001 * g * g) * mask
            m = self.m[name] / (1 - momentum**self.step)
            v = self.v[name] / (1 - 0.999**self.step)
            p[name] -= rate * m / (v.sqrt() + 1e-8)


def by_hand(
    seed: int,
    optimizer: Nesterov | Adam,
    rates: Callable[[int], tuple[float, float]],
    smoothing: float = 0.0,
    ema_decay: float = 0.0,
    left: int | None = None,
    mixup: float = 0.0,
) -> dict[str, np.ndarray]:
    """`left`: the number of weights kept after half of the steps."""
    given = training.tensors(training.network("folded", density=0.8))
    p = {name: torch.from_numpy(given[name].copy()).requires_grad_() for name in NAMES}
    masks = {name: (p[name] != 0).float() for name in ("first_w", "last_w")}
    means = {name: p[name].detach().clone() for name in NAMES}
    for step, (x, probabilities) in enumerate(batches(seed, mixup)):
        logits = forward(p, x)
        wanted = probabilities * (1 - smoothing) + smoothing / 4
        loss = -(wanted * logits.log_softmax(1)).sum(1).mean()
        for name in NAMES:
            p[name].grad = None
        loss.backward()
        with torch.no_grad():
            if left is not None and step == STEPS // 2:
                flat = torch.cat([p[name].flatten().abs() for name in masks])
                least = flat.sort(descending=True).values[left - 1]
                masks = {name: (p[name].abs() >= least).float() for name in masks}
                for name, mask in masks.items():
                    p[name] *= mask
            for name, mask in masks.items():
                p[name].grad *= mask
            optimizer.update(p, masks, *rates(step))
            for name, mask in masks.items():
                p[name] *= mask
            decay = min(ema_decay, (step + 1) / (step + 10))
            for name in NAMES:
                means[name] = decay * means[name] + (1 - decay) * p[name]
    for name, mask in masks.items():
        means[name] = means[name] * mask
    return {name: (means if ema_decay else p)[name].detach().numpy() for name in NAMES}


SGD, ADAMW = {"weight_decay": 0.1}, {"optimizer": "adamw", "weight_decay": 0.3, "momentum": 0.9}
COSINE, CYCLE = {"warmup": 0.25}, {"lr_schedule": "one-cycle", "warmup": 0.25}
ONE_SHOT = {
    "sparsity": 0.7,
    "pruning_schedule": "one-shot",
    "pruning_start": 0.5,
    "pruning_end": 0.5,
    "regrow": 0.0,
}


@pytest.mark.parametrize(
    ("options", "optimizer", "rates", "further"),
    [
        ({**SGD, **COSINE}, lambda: Nesterov(0.1), cosine, {}),
        ({**SGD, **CYCLE}, lambda: Nesterov(0.1), one_cycle, {}),
        ({**ADAMW, **COSINE}, lambda: Adam(0.3), cosine, {}),
        ({**ADAMW, **CYCLE}, lambda: Adam(0.3), one_cycle, {}),
        ({**SGD, **COSINE, "label_smoothing": 0.3}, lambda: Nesterov(0.1), cosine, {"smoothing": 0.3}),
        ({**SGD, **COSINE, "mixup": 0.5}, lambda: Nesterov(0.1), cosine, {"mixup": 0.5}),
        ({**SGD, **COSINE, "ema_decay": 0.6}, lambda: Nesterov(0.1), cosine, {"ema_decay": 0.6}),
        ({**SGD, **COSINE, **ONE_SHOT}, lambda: Nesterov(0.1), cosine, {"left": 60}),
        (
            {**ADAMW, **COSINE, **ONE_SHOT, "ema_decay": 0.6},
            lambda: Adam(0.3),
            cosine,
            {"left": 60, "ema_decay": 0.6},
        ),
    ],
    ids=[
        "sgd", "sgd, cycle", "adamw", "adamw, cycle", "smoothed", "mixed", "mean", "one stroke",
        "one stroke, adamw, mean",
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 3])
def test_training_equals_one_written_by_hand(
    options: dict[str, Any],
    optimizer: Callable[[], Nesterov | Adam],
    rates: Callable[[int], tuple[float, float]],
    further: dict[str, Any],
    seed: int,
) -> None:
    wanted = by_hand(seed, optimizer(), rates, **further)
    model = training.network("folded", density=0.8)
    settings = {
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "learning_rate": 0.05,
        "unfold_batchnorm": False,
        **options,
    }
    after, _ = training.train(model, seed=seed, **settings)
    before, found = training.tensors(model), training.tensors(after)
    for name in NAMES:
        assert not np.allclose(before[name], wanted[name], rtol=1e-2, atol=1e-3)
        np.testing.assert_allclose(found[name], wanted[name], rtol=2e-4, atol=2e-5, err_msg=name)
        assert ((found[name] == 0) == (wanted[name] == 0)).all()
