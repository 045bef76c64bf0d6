"""Batch normalization's means and variances, measured anew."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.finetuning.process.device import ComputeDevice


@torch.no_grad()
def recalibrate_batchnorm(student: TorchGraph, batches: Iterable[Tensor], compute: ComputeDevice) -> None:
    """Sets every running mean and variance to the mean over `batches` of the batches' own.

    `batches`: (images, channels, height, width) float32 each. In training running statistics follow weights that still
    change, and look back only a few batches. Each batch is run with running statistics of 0, which then hold the
    batch's own times the share that a batch counts for.
    """
    statistics = student.statistics()
    if not statistics:
        return
    sums = [torch.zeros_like(buffer) for buffer, _ in statistics]
    count = 0
    student.train()
    for images in batches:
        for buffer, _ in statistics:
            buffer.zero_()
        with compute.precision():
            student(images)
        for total, (buffer, share) in zip(sums, statistics, strict=True):
            total.add_(buffer / share)
        count += 1
    for total, (buffer, _) in zip(sums, statistics, strict=True):
        buffer.copy_(total / count)
    student.eval()
