"""Batch normalization for networks whose own was folded: inserted for training, folded again after it."""

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
_FILTER_NORM = 2.0  # root mean square; the layers of a ResNet-20 trained with normalization have 1.2 to 2.2


@dataclass(frozen=True)
class InsertedNorm:
    """A BatchNormalization between the Conv `node` and its bias, with the names of its new tensors."""

    node: Node
    scale: str
    shift: str
    mean: str
    variance: str


def insertable_norms(graph: Graph) -> list[InsertedNorm]:
    """A BatchNormalization for each Conv that it can be folded into: no other node reads its weight and bias."""
    readers = graph.consumers()
    norms = []
    for node in graph.nodes:
        if node.op != "Conv" or len(node.inputs) < 3 or node.outputs[0] in graph.outputs:
            continue
        foldable = all(name in graph.tensors and len(readers[name]) == 1 for name in node.inputs[1:])
        normalized = any(reader.op == "BatchNormalization" for reader in readers.get(node.outputs[0], []))
        if foldable and not normalized and graph.tensors[node.inputs[1]].dtype == np.float32:
            name = node.outputs[0]
            names = (f"{name}/{part}" for part in ("scale", "shift", "mean", "variance"))
            norms.append(InsertedNorm(node, *names))
    return norms


def unfold(
    graph: Graph,
    norms: list[InsertedNorm],
    batches: Sequence[tuple[Tensor, ...]],
    device: torch.device,
    teacher: Graph | None = None,
) -> tuple[Graph, dict[str, float]]:
    """Inserts `norms` into `graph` so that its outputs on `batches` stay the same.

    `batches`: a tensor for each input of the graph, on `device`. Also returns the factor by which each weight
    was multiplied, by weight name.

    With the graph of a `teacher` that has the same convolutions, the norms give each channel the teacher's mean and
    variance instead: pruning shrinks the activations layer by layer, until the last layers get almost no signal.
    All weights are scaled to the same filter norm, and the inserted norms undo it. Folding leaves layers with different
    norms, which learn at different rates and whose magnitudes cannot be compared.
    """
    own = _statistics(graph, norms, batches, device)
    target = own
    if teacher is not None and all(_has_convolution(teacher, norm, graph) for norm in norms):
        target = _statistics(teacher, norms, batches, device)
    tensors, factors = dict(graph.tensors), {}
    for norm, (mean, variance), (target_mean, target_variance) in zip(norms, own, target, strict=True):
        name, bias = norm.node.inputs[1:]
        factor = factors[name] = _rescaling(tensors[name])
        tensors[name] = (tensors[name] * factor).astype(np.float32)
        tensors[norm.mean] = ((mean - tensors[bias]) * factor).astype(np.float32)
        tensors[norm.variance] = (variance * factor**2).astype(np.float32)
        # corrects the effect of epsilon on the rescaled variance
        correction = np.sqrt((variance + _EPSILON / factor**2) / (variance + _EPSILON))
        correction = np.where(variance > 0, correction, 1)
        tensors[norm.scale] = (np.sqrt(target_variance + _EPSILON) * correction).astype(np.float32)
        tensors[norm.shift] = target_mean
    return replace(graph, nodes=_with_norms(graph, norms), tensors=tensors), factors


def _with_norms(graph: Graph, norms: list[InsertedNorm]) -> tuple[Node, ...]:
    """The nodes of `graph` with a BatchNormalization in place of the bias of each convolution of `norms`."""
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
        nodes.append(
            Node(
                op="BatchNormalization",
                domain="",
                name=f"{node.label}/norm",
                inputs=inputs,
                outputs=node.outputs,
                attributes=attributes,
            )
        )
    return tuple(nodes)


def fold(
    trained: Mapping[str, Array], norms: list[InsertedNorm]
) -> tuple[dict[str, Array], dict[str, NDArray[np.float64]]]:
    """Folds `norms` into the weights and biases: the trained tensors of the original graph.

    Also returns the factors by which the filters of each weight were multiplied: (filters,) each, by weight name.
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


def _rescaling(weight: Array) -> float:
    """The factor that brings the root mean square norm of the nonzero filters of `weight` to `_FILTER_NORM`."""
    norms = np.square(weight, dtype=np.float64).reshape(len(weight), -1).sum(axis=1)
    nonzero = norms[norms > 0]
    return float(_FILTER_NORM / np.sqrt(nonzero.mean())) if nonzero.size else 1.0


def _has_convolution(teacher: Graph, norm: InsertedNorm, graph: Graph) -> bool:
    """Whether the teacher computes the same value by a convolution with a weight of the same shape."""
    twin = next((node for node in teacher.nodes if norm.node.outputs[0] in node.outputs), None)
    if twin is None or twin.op != "Conv" or twin.inputs[1] not in teacher.tensors:
        return False
    return teacher.tensors[twin.inputs[1]].shape == graph.tensors[norm.node.inputs[1]].shape


def _statistics(
    graph: Graph, norms: list[InsertedNorm], batches: Sequence[tuple[Tensor, ...]], device: torch.device
) -> list[tuple[Array, Array]]:
    """Mean and variance of each channel of the convolutions' outputs, (filters,) float32 each."""
    probe = TorchGraph(replace(graph, outputs=tuple(norm.node.outputs[0] for norm in norms)))
    probe = probe.to(device).eval()
    with torch.no_grad():
        sums = [[_mean_and_mean_square(output) for output in probe(*inputs)] for inputs in batches]
    found = []
    for statistics in zip(*sums, strict=True):
        mean = torch.stack([first for first, _ in statistics]).mean(0)
        variance = torch.stack([second for _, second in statistics]).mean(0) - mean**2
        found.append((mean.float().cpu().numpy(), variance.clamp(min=0).float().cpu().numpy()))
    return found


def _mean_and_mean_square(output: Tensor) -> tuple[Tensor, Tensor]:
    axes = [axis for axis in range(output.dim()) if axis != 1]
    values = output.double()
    return values.mean(axes), values.square().mean(axes)
