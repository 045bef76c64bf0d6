"""Batch normalization for networks whose own was folded away: put in to train, folded back after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.model.onnx_proto.graph import Array, Graph, Node

_EPSILON = 1e-5
_MOMENTUM = 0.9
_SIZE = 2.0  # layers of ResNet-20 that were trained with norms have 1.2 to 2.2


@dataclass(frozen=True)
class Norm:
    """A normalization between the convolution `node` and its bias; its tensors go by names of their own."""

    node: Node
    scale: str
    shift: str
    mean: str
    variance: str


def foldable_norms(graph: Graph) -> list[Norm]:
    """A normalization for each Conv that can take it up: its weight and bias are constants that it alone reads."""
    readers = graph.consumers()
    norms = []
    for node in graph.nodes:
        if node.op != "Conv" or len(node.inputs) < 3 or node.outputs[0] in graph.outputs:
            continue
        alone = all(name in graph.tensors and len(readers[name]) == 1 for name in node.inputs[1:])
        normed = any(reader.op == "BatchNormalization" for reader in readers.get(node.outputs[0], []))
        if alone and not normed and graph.tensors[node.inputs[1]].dtype == np.float32:
            name = node.outputs[0]
            norms.append(Norm(node, *(f"{name}/{part}" for part in ("scale", "shift", "mean", "variance"))))
    return norms


def unfolded(
    graph: Graph,
    norms: list[Norm],
    batches: Sequence[Tensor],
    device: torch.device,
    teacher: Graph | None = None,
) -> tuple[Graph, dict[str, float]]:
    """`graph` with `norms` put in, which leave what it computes on `batches` as it is.

    With a teacher's graph that has the same convolutions they give each channel the teacher's mean and variance
    instead: pruning shrinks them, layer by layer, until the last ones are deaf. Every layer's weights are multiplied to
    one size, which the norms take back, as in networks that were trained with norms: folding leaves layers of any size,
    which learn at different paces and whose weights cannot be compared. Also gives those factors, by weight.
    """
    own = _statistics(graph, norms, batches, device)
    wanted = own
    if teacher is not None and all(_has(teacher, norm, graph) for norm in norms):
        wanted = _statistics(teacher, norms, batches, device)
    tensors, factors = dict(graph.tensors), {}
    for norm, (mean, variance), (wanted_mean, wanted_variance) in zip(norms, own, wanted, strict=True):
        name, bias = norm.node.inputs[1:]
        factor = factors[name] = _to_one_size(tensors[name])
        tensors[name] = (tensors[name] * factor).astype(np.float32)
        tensors[norm.mean] = ((mean - tensors[bias]) * factor).astype(np.float32)
        tensors[norm.variance] = (variance * factor**2).astype(np.float32)
        # so that the norm, with its epsilon, gives what it would give of the filter as it was
        epsilon_alike = np.sqrt((variance + _EPSILON / factor**2) / (variance + _EPSILON))
        alike = np.where(variance > 0, epsilon_alike, 1)
        tensors[norm.scale] = (np.sqrt(wanted_variance + _EPSILON) * alike).astype(np.float32)
        tensors[norm.shift] = wanted_mean
    by_output = {norm.node.outputs[0]: norm for norm in norms}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.outputs[0] not in by_output:
            nodes.append(node)
            continue
        norm = by_output[node.outputs[0]]
        raw = f"{node.outputs[0]}/raw"
        nodes.append(replace(node, inputs=node.inputs[:2], outputs=(raw,)))
        inputs = (raw, norm.scale, norm.shift, norm.mean, norm.variance)
        attributes = {"epsilon": _EPSILON, "momentum": _MOMENTUM}
        nodes.append(Node("BatchNormalization", "", f"{node.label}/norm", inputs, node.outputs, attributes))
    return replace(graph, nodes=tuple(nodes), tensors=tensors), factors


def folded(
    trained: Mapping[str, Array], norms: list[Norm]
) -> tuple[dict[str, Array], dict[str, NDArray[np.float64]]]:
    """The trained tensors of the graph as it was: each norm taken up by the weight and bias before it.

    And by what the filters of each such weight were multiplied: (filters,).
    """
    tensors = dict(trained)
    factors = {}
    for norm in norms:
        scale, shift, mean, variance = (
            tensors.pop(name).astype(np.float64)
            for name in (norm.scale, norm.shift, norm.mean, norm.variance)
        )
        factor = scale / np.sqrt(variance + _EPSILON)
        weight = tensors[norm.node.inputs[1]]
        per_filter = factor.reshape(-1, *[1] * (weight.ndim - 1))
        tensors[norm.node.inputs[1]] = (weight * per_filter).astype(np.float32) + np.float32(0)  # no -0.0
        tensors[norm.node.inputs[2]] = (shift - mean * factor).astype(np.float32)
        factors[norm.node.inputs[1]] = factor
    return tensors, factors


def _to_one_size(weight: Array) -> float:
    """By what to multiply a layer for filters of the norm `_SIZE`: the root of the mean square of those not empty."""
    norms = np.square(weight, dtype=np.float64).reshape(len(weight), -1).sum(axis=1)
    some = norms[norms > 0]
    return float(_SIZE / np.sqrt(some.mean())) if some.size else 1.0


def _has(teacher: Graph, norm: Norm, graph: Graph) -> bool:
    """Whether the teacher computes the same value by a convolution of the same shape."""
    twin = next((node for node in teacher.nodes if norm.node.outputs[0] in node.outputs), None)
    if twin is None or twin.op != "Conv" or twin.inputs[1] not in teacher.tensors:
        return False
    return teacher.tensors[twin.inputs[1]].shape == graph.tensors[norm.node.inputs[1]].shape


def _statistics(
    graph: Graph, norms: list[Norm], batches: Sequence[Tensor], device: torch.device
) -> list[tuple[Array, Array]]:
    """Mean and variance of each channel of the convolutions' outputs, (filters,) float32 each."""
    probe = TorchGraph(replace(graph, outputs=tuple(norm.node.outputs[0] for norm in norms)))
    probe = probe.to(device).eval()
    with torch.no_grad():
        sums = [[_moments(output) for output in probe(images)] for images in batches]
    found = []
    for moments in zip(*sums, strict=True):
        mean = torch.stack([first for first, _ in moments]).mean(0)
        variance = torch.stack([second for _, second in moments]).mean(0) - mean**2
        found.append((mean.float().cpu().numpy(), variance.clamp(min=0).float().cpu().numpy()))
    return found


def _moments(output: Tensor) -> tuple[Tensor, Tensor]:
    axes = [axis for axis in range(output.dim()) if axis != 1]
    values = output.double()
    return values.mean(axes), values.square().mean(axes)
