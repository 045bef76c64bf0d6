"""What a weight is worth by the empirical Fisher information: how much the loss is expected to rise without it.

Worth = w^2 * mean of g^2, g the gradient of the cross-entropy of one image's label; the diagonal of the second-order
term of Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018, equation 8, for weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tightc.bridge.precision import check_float32
from tightc.calibration.calibration import Calibration
from tightc.errors import DataError, ModelError, OptionError
from tightc.model.file import Model
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.logits import without_softmax
from tightc.model.onnx_proto.graph import read_graph
from tightc.parallel import ordered_map, ranges
from tightc.progress import Progress
from tightc.selection.prunable import Prunable

if TYPE_CHECKING:
    from torch import Tensor

    from tightc.bridge.module import TorchGraph


def require_torch() -> None:
    """OptionError where torch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise OptionError(
            "--criterion fisher needs torch, which is not installed", "pip install 'tightc[finetune]'"
        ) from None


def fisher_worths(
    model: Model, network: Network, layers: list[Prunable], calibration: Calibration, progress: Progress
) -> list[NDArray[np.float64]]:
    """The worth of each layer's weights: (filters, inputs) float64 each, in nats.

    Gradients are taken image by image; where the model fixes its batch, of the mean over a batch, which ranks alike
    but tells images apart less. Norms use their running statistics. ModelError where the bridge cannot run the model
    or a gradient is not finite; DataError where a label is none of its classes.
    """
    from tightc.bridge.module import TorchGraph

    module = TorchGraph(without_softmax(read_graph(model.proto))).eval()
    names = [entry.layer.weight for entry in layers]
    _check(module, names, model.origin)
    size = calibration.batch if calibration.fixed else 1
    batches = ranges(len(calibration.pixels), size)
    squares = [np.zeros(network.weights[name].shape) for name in names]

    def squared(batch: tuple[int, int]) -> list[NDArray[np.float64]]:
        return _squared_gradients(module, names, calibration, batch, model.origin)

    with _one_thread():
        for done, found in enumerate(ordered_map(squared, batches), 1):
            for total, square in zip(squares, found, strict=True):
                total += square
            progress("prune", done / len(batches), {})
    worths = []
    for entry, total in zip(layers, squares, strict=True):
        matrix = entry.layer.matrix(total / len(batches))
        worth = np.square(network.matrix(entry.layer).astype(np.float64)) * matrix
        if not np.isfinite(worth).all():
            raise ModelError(
                f"layer {entry.layer.name}: its gradient is not finite on these images",
                "check --mean and --std, or train the model again",
            )
        worths.append(worth)
    return worths


@contextmanager
def _one_thread() -> Iterator[None]:
    """Has torch compute in the thread that calls it: images are many, each is little, and sums get one order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _squared_gradients(
    module: TorchGraph, names: list[str], calibration: Calibration, batch: tuple[int, int], origin: str
) -> list[NDArray[np.float64]]:
    """Of each weight named, in its own shape, float64; zeros where the loss does not depend on it."""
    import torch

    pixels = torch.from_numpy(calibration.pixels[batch[0] : batch[1]])
    loss = _loss(module, pixels, calibration.labels[batch[0] : batch[1]], origin)
    weights = [module.parameter(name) for name in names]
    found = torch.autograd.grad(loss, weights, materialize_grads=True)
    return [np.square(gradient.double().numpy()) for gradient in found]


def _loss(module: TorchGraph, pixels: Tensor, labels: NDArray[np.int64], origin: str) -> Tensor:
    """Cross-entropy, in nats, the mean over the images; ModelError or DataError where it cannot be."""
    import torch

    try:
        (logits,) = module(pixels)
    except RuntimeError as fault:
        line = str(fault).splitlines()[0]
        raise ModelError(
            f"{origin}: torch cannot run it on a batch of {len(pixels)} ({line})",
            "export the model with an open batch size, or prune by obs",
        ) from None
    if logits.dim() != 2 or len(logits) != len(pixels):
        sizes = " x ".join(map(str, logits.shape))
        raise ModelError(
            f"{origin}: its output is {sizes} for {len(pixels)} images",
            "give a model whose output is batch x classes",
        )
    if labels.max() >= logits.shape[1]:
        raise DataError(
            f"label {labels.max()} is outside the network's {logits.shape[1]} classes",
            "take the data that the network was trained for, or number its classes from 0",
        )
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))


def _check(module: TorchGraph, names: list[str], origin: str) -> None:
    for name in names:
        if name not in module.roles:
            raise ModelError(
                f"{origin}: no gradient reaches the weight {name}", "keep its layer, or prune by magnitude"
            )
    remedy = "prune before the model is converted, or by magnitude"
    check_float32(module, origin, needs="fisher computes in", remedy=remedy)
