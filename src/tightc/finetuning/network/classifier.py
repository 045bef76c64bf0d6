"""A model as a classifier that torch can train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.bridge.parameters import trained_layers
from tightc.bridge.precision import check_float32
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.logits import without_softmax
from tightc.model.onnx_proto.graph import Graph, read_graph


@dataclass(frozen=True)
class Classifier:
    """A network on its device with the logits of `classes` as output; `layers` maps layer names to weight names."""

    module: TorchGraph
    classes: int
    layers: dict[str, str]
    graph: Graph


def build_classifier(model: Model, sample: Callable[[int], Tensor], device: torch.device) -> Classifier:
    """Builds `model` in torch on `device` and runs it once.

    `sample` returns that many images, (images, channels, height, width). ModelError where the model cannot be trained.
    """
    graph = without_softmax(read_graph(model.proto))
    module = TorchGraph(graph)
    if "weight" not in module.roles.values():
        raise ModelError(
            f"{model.origin}: expected a model with weights to train, got none",
            "give a model with Conv, Gemm or MatMul layers",
        )
    remedy = "finetune before the model is converted"
    check_float32(module, model.origin, needs="finetune trains", remedy=remedy)
    to_device(module, device)
    return Classifier(module, _count_classes(module, sample(2), model.origin), trained_layers(graph), graph)


def to_device(module: TorchGraph, device: torch.device) -> TorchGraph:
    """Moves `module` to `device`, in evaluation mode, and returns it."""
    # Channels last is the memory format that convolutions prefer on both devices.
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.eval()


def _count_classes(module: TorchGraph, images: Tensor, origin: str) -> int:
    """The number of classes, found by running `images`, (2, channels, height, width)."""
    remedy = "export the model with a dynamic batch size"
    try:
        with torch.no_grad():
            (logits,) = module(images)
    except RuntimeError as fault:
        line = str(fault).splitlines()[0]
        sizes = " x ".join(map(str, images.shape))
        raise ModelError(f"{origin}: torch cannot run it on a batch of {sizes} ({line})", remedy) from None
    if logits.dim() != 2 or len(logits) != len(images):
        found = " x ".join(map(str, logits.shape))
        raise ModelError(f"{origin}: expected outputs of {len(images)} images x classes, got {found}", remedy)
    return int(logits.shape[1])
