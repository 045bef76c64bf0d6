"""Training of the detector with labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from detection.network import STRIDES, Detector, box_of, centers
from detection.scenes import SCALES, SIDE, Scenes

_LARGE_FROM = (
    SCALES[0][1] + SCALES[1][0]
) / 2  # pixels of a side: larger objects are found by the large scale
_RADIUS = 1.0  # cells around the center of an object that detect it (FCOS, center sampling)
_BOX_WEIGHT = 2.0
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 0.02
_BATCH = 32

Report = Callable[[int, float], None]


def train(scenes: Scenes, epochs: int, seed: int, report: Report) -> Detector:
    """A detector trained on `scenes`; `report` is told each epoch and its mean loss."""
    torch.manual_seed(seed)
    detector = Detector().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(detector.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    steps = epochs * (len(scenes.images) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    order = np.random.default_rng(seed)
    detector.train()
    for epoch in range(epochs):
        losses = []
        shuffled = order.permutation(len(scenes.images))
        for start in range(0, len(shuffled) - _BATCH + 1, _BATCH):
            chosen = shuffled[start : start + _BATCH]
            images = torch.from_numpy(scenes.images[chosen]).float() / 255
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16):
                values = detector(images.contiguous(memory_format=torch.channels_last))
            found = loss(tuple(value.float() for value in values), torch.from_numpy(scenes.boxes[chosen]))
            found.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(found.detach()))
        report(epoch + 1, float(np.mean(losses)))
    return detector.eval()


def loss(values: tuple[Tensor, ...], objects: Tensor) -> Tensor:
    """Cross entropy of all cells and classes, and generalized IoU of the boxes, per cell that holds an object.

    `objects`: (batch, objects, 5): left, top, right, bottom, class, -1 for none.
    """
    total, positives = torch.zeros(()), 0
    for scale, (boxes, classes) in enumerate((values[:2], values[2:])):
        wanted, held = assigned(objects, scale)
        target = torch.zeros_like(classes)
        rows = held.nonzero(as_tuple=True)
        target[rows[0], wanted[held][:, 4].long(), rows[1], rows[2]] = 1
        total = total + functional.binary_cross_entropy_with_logits(classes, target, reduction="sum")
        found = box_of(boxes, STRIDES[scale]).permute(0, 2, 3, 1)[held]
        total = total + _BOX_WEIGHT * (1 - generalized_iou(found, wanted[held][:, :4])).sum()
        positives += int(held.sum())
    return total / max(positives, 1)


def assigned(objects: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """The object of each cell, (batch, rows, columns, 5), and whether it has one: the smallest whose center is near."""
    stride = STRIDES[scale]
    x, y = centers(stride)
    cells = SIDE // stride
    left, top, right, bottom, kind = (part[:, :, None, None] for part in objects.unbind(2))
    side = right - left
    fits = (kind >= 0) & ((side >= _LARGE_FROM) == bool(scale))
    near = (((left + right) / 2 - x).abs() <= _RADIUS * stride) & (
        ((top + bottom) / 2 - y).abs() <= _RADIUS * stride
    )
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    cost = torch.where(fits & near & inside, side, torch.inf)
    least, which = cost.min(dim=1)
    wanted = objects.gather(1, which.reshape(len(objects), -1, 1).expand(-1, -1, 5))
    return wanted.reshape(len(objects), cells, cells, 5), least.isfinite()


def generalized_iou(one: Tensor, other: Tensor) -> Tensor:
    """Generalized intersection over union of pairs of boxes, (pairs, 4) each (Rezatofighi et al. 2019)."""
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    union = _area(one) + _area(other) - common
    around = torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])
    return common / union - 1 + union / around.prod(1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)
