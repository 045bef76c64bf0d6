"""Operators that behave differently in training: BatchNormalization, Dropout."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import Operator, scalar
from tightc.model.onnx_proto.graph import Node


def batch_normalization(node: Node) -> Operator:
    """Per channel: subtract the mean, divide by the standard deviation, multiply by scale, add bias.

    In training the batch statistics are used, and the running ones are updated in place. With training_mode the batch
    statistics are used always, and the updated running ones are further outputs.
    """
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    momentum = float(
        node.attributes.get("momentum", 0.9)
    )  # of the running value; torch's momentum is 1 - this
    always_of_batch = bool(node.attributes.get("training_mode", 0))

    def run(
        x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, training: bool
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        if not always_of_batch:
            return functional.batch_norm(
                x, mean, variance, scale, bias, training=training, momentum=1 - momentum, eps=epsilon
            )
        axes = [axis for axis in range(x.dim()) if axis != 1]
        batch_variance, batch_mean = torch.var_mean(x.detach(), axes, correction=0)
        new_mean = mean * momentum + batch_mean * (1 - momentum)
        new_variance = variance * momentum + batch_variance * (1 - momentum)
        if training:
            mean.copy_(new_mean)
            variance.copy_(new_variance)
        y = functional.batch_norm(x, None, None, scale, bias, training=True, momentum=0.0, eps=epsilon)
        return y, new_mean, new_variance

    return run


def dropout(_node: Node) -> Operator:
    """In training sets a random fraction of the values to zero and scales up the others; else does nothing."""

    def run(
        x: Tensor, ratio: Tensor | None = None, _training_mode: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        fraction = 0.5 if ratio is None else float(scalar(ratio))
        kept = torch.ones_like(x, dtype=torch.bool)
        if not training or fraction == 0.0:
            return x, kept
        kept = torch.rand_like(x, dtype=torch.float32) >= fraction
        return x * kept / (1 - fraction), kept

    return run
