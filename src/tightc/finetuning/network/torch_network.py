"""A model as a network that torch can train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.bridge.parameters import trained_layers
from tightc.bridge.precision import check_float32
from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Graph

_TOLERANCE = 1e-4  # of the largest output: sums may be taken in another order

Inputs = tuple[Tensor, ...]
"""A tensor for each input of a network, in its order, samples first."""


@dataclass(frozen=True)
class TorchNetwork:
    """A network on its device; `layers` maps layers to weights, `shapes` are those of the outputs for 2 samples."""

    module: TorchGraph
    shapes: tuple[tuple[int, ...], ...]
    layers: dict[str, str]
    graph: Graph


def build_network(
    graph: Graph, origin: str, sample: Callable[[int], Inputs], device: torch.device
) -> TorchNetwork:
    """Builds `graph` in torch on `device` and runs it.

    `sample` returns the inputs of that many samples. The network has a micro batch only where it needs it. ModelError,
    naming the model `origin`, where it cannot be trained.
    """
    module = TorchGraph(graph)
    if "weight" not in module.roles.values():
        raise ModelError(
            f"{origin}: expected a model with weights to train, got none",
            "give a model with Conv, Gemm or MatMul layers",
        )
    remedy = "finetune before the model is converted"
    check_float32(module, origin, needs="finetune trains", remedy=remedy)
    to_device(module, device)
    if module.micro_batch is not None and _runs_in_one_batch(module, sample(module.micro_batch + 1)):
        module.micro_batch = None
    graph = replace(graph, micro_batch=module.micro_batch)
    return TorchNetwork(module, _output_shapes(module, sample(2), origin), trained_layers(graph), graph)


def to_device(module: TorchGraph, device: torch.device) -> TorchGraph:
    """Moves `module` to `device`, in evaluation mode, and returns it."""
    module.to(device=device)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() == 4:  # channels last is the memory format that convolutions prefer on both devices
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return module.eval()


def require_classes(network: TorchNetwork, origin: str) -> int:
    """The number of classes; ModelError, naming the model `origin`, where its first output is not samples x classes."""
    shape = network.shapes[0]
    if len(shape) != 2 or shape[0] != 2:
        found = " x ".join(map(str, shape))
        raise ModelError(
            f"{origin}: expected outputs of 2 images x classes, got {found}",
            "export the model with a dynamic batch size",
        )
    return shape[1]


def _runs_in_one_batch(module: TorchGraph, inputs: Inputs) -> bool:
    """Whether `module`, which has a micro batch, gives the same without, for more `inputs` than one such batch."""
    size = module.micro_batch
    try:
        with torch.no_grad():
            wanted = module(*inputs)
            module.micro_batch = None
            found = module(*inputs)
    except (RuntimeError, IndexError, TypeError):
        return False
    finally:
        module.micro_batch = size
    return all(
        one.shape == other.shape
        and bool(((one - other).abs().amax() <= _TOLERANCE * other.abs().amax()) if other.numel() else True)
        for one, other in zip(found, wanted, strict=True)
    )


def _output_shapes(module: TorchGraph, inputs: Inputs, origin: str) -> tuple[tuple[int, ...], ...]:
    try:
        with torch.no_grad():
            outputs = module(*inputs)
    except (RuntimeError, IndexError, TypeError) as fault:
        line = str(fault).splitlines()[0]
        sizes = ", ".join(" x ".join(map(str, tensor.shape)) for tensor in inputs)
        raise ModelError(
            f"{origin}: torch cannot run it on a batch of {sizes} ({line})",
            "export the model with a dynamic batch size",
        ) from None
    return tuple(tuple(output.shape) for output in outputs)
