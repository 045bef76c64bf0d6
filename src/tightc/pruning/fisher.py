"""Fisher saliency: the expected rise of the loss without a weight, by the empirical Fisher information.

Saliency = w^2 * mean of g^2, where g is the gradient of one image's cross-entropy. It is the diagonal of the
second-order term of Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018, equation 8.
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
from tightc.selection.network.prunable import Prunable
from tightc.selection.sparse_input import above_zeros

if TYPE_CHECKING:
    from torch import Tensor

    from tightc.bridge.module import TorchGraph


def require_torch() -> None:
    """OptionError if torch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise OptionError(
            "--criterion fisher: expected torch, got none installed", "pip install 'tightc[finetune]'"
        ) from None


def fisher_saliency(
    model: Model, network: Network, layers: list[Prunable], calibration: Calibration, progress: Progress
) -> list[NDArray[np.float64]]:
    """Fisher saliency of the weights of each of `layers`: (filters, inputs) float64 each, in nats.

    `network`: the layers of the plain `model`. `calibration`: labeled images. `progress` is called after each batch.
    Gradients are per image, or of a batch mean if the model fixes its batch size. Norms use their running statistics.
    ModelError if the bridge cannot run the model or a gradient is not finite; DataError if a label is not one of its
    classes.
    """
    from tightc.bridge.module import TorchGraph

    module = TorchGraph(without_softmax(read_graph(model.proto))).eval()
    names = [entry.layer.weight for entry in layers]
    _require_gradients(module, names, model.origin)
    calibration.require_labels()
    size = calibration.batch if calibration.fixed else 1
    batches = [range(*bounds) for bounds in ranges(calibration.count, size)]
    squares = [np.zeros(network.shapes[name]) for name in names]

    def squared(batch: range) -> list[NDArray[np.float64]]:
        return _squared_gradients(module, names, calibration, batch, model.origin)

    with _one_thread():
        for done, found in enumerate(ordered_map(squared, batches), 1):
            for total, square in zip(squares, found, strict=True):
                total += square
            progress("prune", done / len(batches), {})
    saliencies = []
    for entry, total in zip(layers, squares, strict=True):
        matrix = entry.layer.matrix(total / len(batches))
        weights = network.matrix(entry.layer).astype(np.float64)
        saliency = np.square(weights) * matrix
        if not np.isfinite(saliency).all():
            raise ModelError(
                f"layer {entry.layer.label}: expected finite gradients on these images, got NaN or infinity",
                "check --mean and --std, or train the model again",
            )
        saliencies.append(above_zeros(saliency, weights))
    return saliencies


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch in the calling thread only: images run in parallel, and sums have a fixed order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _squared_gradients(
    module: TorchGraph, names: list[str], calibration: Calibration, batch: range, origin: str
) -> list[NDArray[np.float64]]:
    """Squared gradients of the named weights, in their shapes, float64; zeros if the loss does not depend on them."""
    import torch

    inputs = [torch.from_numpy(array[batch.start : batch.stop]) for array in calibration.inputs.values()]
    loss = _loss(module, inputs, calibration.require_labels()[batch.start : batch.stop], origin)
    weights = [module.parameter(name) for name in names]
    found = torch.autograd.grad(loss, weights, materialize_grads=True)
    return [np.square(gradient.double().numpy()) for gradient in found]


def _loss(module: TorchGraph, inputs: list[Tensor], labels: NDArray[np.int64], origin: str) -> Tensor:
    """Mean cross-entropy of the images, in nats; ModelError or DataError if model and images do not fit."""
    import torch

    try:
        logits = module(*inputs)[0]
    except RuntimeError as fault:
        line = str(fault).splitlines()[0]
        raise ModelError(
            f"{origin}: expected a model that torch runs on {len(labels)} images, got {line}",
            "export the model with an open batch size, or prune by obs",
        ) from None
    if logits.dim() != 2 or len(logits) != len(labels):
        sizes = " x ".join(map(str, logits.shape))
        raise ModelError(
            f"{origin}: expected an output of {len(labels)} x classes, got {sizes}",
            "give an image classifier",
        )
    if labels.max() >= logits.shape[1]:
        raise DataError(
            f"expected labels 0 to {logits.shape[1] - 1}, got {labels.max()}",
            "use data of the classes that the network was trained on, numbered from 0",
        )
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))


def _require_gradients(module: TorchGraph, names: list[str], origin: str) -> None:
    for name in names:
        if name not in module.roles:
            raise ModelError(
                f"{origin}: expected a gradient of weight {name}, got none",
                "skip its layer, or prune by magnitude",
            )
    remedy = "prune before the model is converted, or by magnitude"
    check_float32(module, origin, needs="fisher computes in", remedy=remedy)
