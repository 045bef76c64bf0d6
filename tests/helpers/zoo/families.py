"""The table of families, and how they are built and exported. Nothing is imported from tightc."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from helpers.zoo import classifiers, dense_outputs, transformers

IMAGE = (3, 32, 32)


@dataclass(frozen=True)
class Family:
    """A family: how it is built, the shape of one input, and the first opset that its operators exist in."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = IMAGE
    first_opset: int = 7


@dataclass(frozen=True)
class Form:
    """How a network is exported; `folded`: constants folded, and initializers not listed as inputs; `half`: float16."""

    opset: int
    open_batch: bool = False
    folded: bool = True
    dynamo: bool = False
    half: bool = False

    def __str__(self) -> str:
        marks = [
            ("open", self.open_batch),
            ("unfolded", not self.folded),
            ("dynamo", self.dynamo),
            ("half", self.half),
        ]
        return "-".join([f"opset{self.opset}", *(name for name, given in marks if given)])


FAMILIES = {
    "lenet": Family(classifiers.lenet, (1, 28, 28)),
    "vgg": Family(classifiers.vgg),
    "resnet": Family(classifiers.resnet),
    "resnext": Family(classifiers.resnext),
    "mobilenet-v1": Family(classifiers.mobilenet_v1),
    "mobilenet-v2": Family(classifiers.mobilenet_v2),
    "mobilenet-v3": Family(classifiers.mobilenet_v3),
    "efficientnet": Family(classifiers.efficientnet),
    "densenet": Family(classifiers.densenet),
    "shufflenet": Family(classifiers.shufflenet),
    "shufflenet-v2": Family(classifiers.shufflenet_v2),
    "inception": Family(classifiers.inception),
    "squeezenet": Family(classifiers.squeezenet),
    "convnext": Family(classifiers.convnext, first_opset=9),
    "vit": Family(transformers.vit, first_opset=9),
    "swin": Family(transformers.swin, first_opset=11),
    "mlp-mixer": Family(transformers.mlp_mixer, first_opset=9),
    "unet": Family(dense_outputs.unet),
    "deeplab": Family(dense_outputs.deeplab, first_opset=9),
    "ssd": Family(dense_outputs.ssd),
    "yolo": Family(dense_outputs.yolo, first_opset=9),
    "keyword-spotter": Family(dense_outputs.keyword_spotter, (40, 48)),
    "cnn-3d": Family(dense_outputs.cnn_3d, (3, 4, 16, 16)),
    "autoencoder": Family(dense_outputs.autoencoder, (1, 16, 16)),
    "super-resolution": Family(dense_outputs.super_resolution, (3, 12, 12)),
}
QUICK = Form(17)
FORMS = (
    Form(7),
    Form(9, folded=False),
    Form(11),
    Form(13),
    Form(13, half=True),
    Form(17, open_batch=True),
    Form(20),
)
DYNAMO_FORMS = (Form(18, dynamo=True), Form(20, open_batch=True, dynamo=True))


def has_dynamo_exporter() -> bool:
    """Whether torch's dynamo exporter can run, which needs onnxscript."""
    return importlib.util.find_spec("onnxscript") is not None


def network_of(name: str) -> nn.Module:
    """The network of a family in evaluation mode, with the BatchNorm statistics of four random inputs."""
    torch.manual_seed(sorted(FAMILIES).index(name))
    network = FAMILIES[name].build()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
    with torch.no_grad():
        network.train()(torch.randn(4, *FAMILIES[name].shape))
    return network.eval()


def export(name: str, form: Form, path: Path) -> Path:
    """Writes the network of a family as ONNX."""
    options: dict[str, Any] = {"dynamo": form.dynamo, "opset_version": form.opset, "input_names": ["input"]}
    if form.dynamo:
        options |= {"verbose": False, "external_data": False}
        options["dynamic_shapes"] = ({0: torch.export.Dim.AUTO},) if form.open_batch else None
    else:
        options |= {"do_constant_folding": form.folded, "keep_initializers_as_inputs": not form.folded}
        options["dynamic_axes"] = {"input": {0: "batch"}} if form.open_batch else None
    dtype = torch.float16 if form.half else torch.float32
    given = torch.randn(2 if form.open_batch else 1, *FAMILIES[name].shape, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network_of(name).to(dtype), (given,), str(path), **options)
    return path


def weight_macs(name: str) -> int:
    """Multiply-accumulates with a weight for one input, counted by hooks on torch's layers."""
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        reads_input = isinstance(module, nn.modules.conv._ConvTransposeNd)
        counts.append((inputs[0] if reads_input else output).numel() * prod(weight.shape[1:]))

    network = network_of(name)
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, *FAMILIES[name].shape))
    return sum(counts)
