"""Normalizations, and Dropout; BatchNormalization and Dropout behave differently in training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import Build, Operator, scalar, unsupported
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


def layer_normalization(node: Node) -> Operator:
    """Over the axes from `axis` on: subtract the mean, divide by the standard deviation, multiply by scale, add bias.

    Further outputs are the mean and the inverse of the standard deviation.
    """
    first = int(node.attributes.get("axis", -1))
    epsilon = float(node.attributes.get("epsilon", 1e-5))

    def run(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
        values = x.float()  # in float32 as stash_type says, whatever x is
        y = functional.layer_norm(values, x.shape[first:], None, None, epsilon).to(x.dtype) * scale
        y = y if bias is None else y + bias
        if not any(node.outputs[1:]):
            return (y,)
        axes = list(range(first % x.dim(), x.dim()))
        variance, mean = torch.var_mean(values, axes, correction=0, keepdim=True)
        return y, mean, torch.rsqrt(variance + epsilon)

    return run


def rms_normalization(node: Node) -> Operator:
    """Over the axes from `axis` on: divide by the root mean square, multiply by scale."""
    first = int(node.attributes.get("axis", -1))
    epsilon = float(node.attributes.get("epsilon", 1e-5))

    def run(x: Tensor, scale: Tensor) -> Tensor:
        return functional.rms_norm(x.float(), x.shape[first:], None, epsilon).to(x.dtype) * scale

    return run


def instance_normalization(node: Node) -> Operator:
    """Per image and channel: subtract the mean, divide by the standard deviation, multiply by scale, add bias."""
    epsilon = float(node.attributes.get("epsilon", 1e-5))

    def run(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        along = [-1] + [1] * (x.dim() - 2)
        return _standardized(x, list(range(2, x.dim())), epsilon) * scale.view(along) + bias.view(along)

    return run


def group_normalization(node: Node) -> Operator:
    """Per image and group of channels: subtract the mean, divide by the deviation, multiply by scale, add bias.

    Scale and bias are one per channel, or one per group as up to opset 20.
    """
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    groups = int(node.attributes["num_groups"])

    def run(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        grouped = x.float().reshape(x.shape[0], groups, -1)
        y = _standardized(grouped, [2], epsilon).to(x.dtype).reshape(x.shape)
        along = [-1] + [1] * (x.dim() - 2)
        scale, bias = (
            each.repeat_interleave(x.shape[1] // groups) if each.numel() == groups else each
            for each in (scale, bias)
        )
        return y * scale.view(along) + bias.view(along)

    return run


def mean_variance_normalization(node: Node) -> Operator:
    """Over the given axes, by default all but the channels: subtract the mean, divide by the standard deviation."""
    axes = list(node.attributes.get("axes", (0, 2, 3)))
    return lambda x: _standardized(x, axes, 1e-9)


def lp_normalization(node: Node) -> Operator:
    """Along one axis: divide by the sum of magnitudes (p = 1) or by the root of the sum of squares (p = 2)."""
    axis = int(node.attributes.get("axis", -1))
    order = int(node.attributes.get("p", 2))
    if order not in (1, 2):
        unsupported(node, "p 1 or 2", order)

    def run(x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, order, axis, keepdim=True)
        return torch.where(norm == 0, 0, x / torch.where(norm == 0, 1, norm))

    return run


def local_response_normalization(node: Node) -> Operator:
    """x divided by a power of the mean square over neighboring channels."""
    size = int(node.attributes["size"])
    alpha = float(node.attributes.get("alpha", 0.0001))
    beta = float(node.attributes.get("beta", 0.75))
    bias = float(node.attributes.get("bias", 1.0))
    before, after = (size - 1) // 2, size // 2

    def run(x: Tensor) -> Tensor:
        spatial = [0, 0] * (x.dim() - 2)
        squares = functional.pad(x.square(), [*spatial, before, after])
        total = sum(squares.narrow(1, place, x.shape[1]) for place in range(size))
        return x / (total * (alpha / size) + bias) ** beta

    return run


def _standardized(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    """`x` minus its mean over `axes`, divided by its standard deviation."""
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + epsilon)


NORMALIZATIONS: dict[str, Build] = {
    "BatchNormalization": batch_normalization,
    "Dropout": dropout,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": local_response_normalization,
    "LayerNormalization": layer_normalization,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
    "RMSNormalization": rms_normalization,
}
