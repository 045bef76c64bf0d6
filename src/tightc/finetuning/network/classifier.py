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
    """A network on its device, its output the logits of `classes`; `layers`: layer name to weight name."""

    module: TorchGraph
    classes: int
    layers: dict[str, str]
    graph: Graph


def open_network(model: Model, sample: Callable[[int], Tensor], device: torch.device) -> Classifier:
    """`model` in torch on `device`, tried on a `sample` of images; ModelError where it cannot be trained."""
    graph = without_softmax(read_graph(model.proto))
    module = TorchGraph(graph)
    if "weight" not in module.roles.values():
        raise ModelError(
            f"{model.origin}: it has no weights to train", "give a model with Conv, Gemm or MatMul layers"
        )
    remedy = "finetune before the model is converted"
    check_float32(module, model.origin, needs="finetune trains", remedy=remedy)
    place(module, device)
    return Classifier(module, _count_classes(module, sample(2), model.origin), trained_layers(graph), graph)


def place(module: TorchGraph, device: torch.device) -> TorchGraph:
    """`module` itself, moved to `device`, ready to be run."""
    # Channels last is the order that the convolutions of both devices like best.
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.eval()


def _count_classes(module: TorchGraph, images: Tensor, origin: str) -> int:
    """How many classes the network tells apart, found by running `images`, (2, channels, height, width)."""
    remedy = "export the model with an open batch size"
    try:
        with torch.no_grad():
            (logits,) = module(images)
    except RuntimeError as fault:
        line = str(fault).splitlines()[0]
        sizes = " x ".join(map(str, images.shape))
        raise ModelError(f"{origin}: torch cannot run it on a batch of {sizes} ({line})", remedy) from None
    if logits.dim() != 2 or len(logits) != len(images):
        found = " x ".join(map(str, logits.shape))
        raise ModelError(f"{origin}: a batch of {len(images)} images gives {found} outputs", remedy)
    return int(logits.shape[1])
