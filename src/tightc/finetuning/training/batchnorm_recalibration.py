"""BatchNorm recalibration: running means and variances, estimated anew on the final weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.finetuning.process.device import ComputeDevice


@torch.no_grad()
def recalibrate_batchnorm(
    student: TorchGraph, batches: Iterable[tuple[Tensor, ...]], compute: ComputeDevice
) -> None:
    """Sets every running mean and variance of `student` to the average of the batch statistics over `batches`.

    `batches`: a tensor for each input of the network, on the device of `compute`. The running statistics of
    training lag behind the weights and average only a few batches. Each batch runs with running statistics of 0, which
    then hold its own statistics times the update rate of the normalization.
    """
    statistics = student.running_statistics()
    if not statistics:
        return
    sums = [torch.zeros_like(buffer) for buffer, _ in statistics]
    count = 0
    student.train()
    for inputs in batches:
        for buffer, _ in statistics:
            buffer.zero_()
        with compute.autocast():
            student(*inputs)
        for total, (buffer, update_rate) in zip(sums, statistics, strict=True):
            total.add_(buffer / update_rate)
        count += 1
    for total, (buffer, _) in zip(sums, statistics, strict=True):
        buffer.copy_(total / count)
    student.eval()
