"""Fisher pruning: gradients, against differences of the loss by onnxruntime."""

from __future__ import annotations

import builtins
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from helpers.put_back import assert_idle
from tightc import parallel
from tightc.calibration.calibration import Calibration
from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.errors import DataError, ModelError, OptionError
from tightc.model.layer_view.layers import read_network
from tightc.progress import no_progress
from tightc.pruning.fisher import fisher_saliency
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.selection.network.prunable import prunable
from tightc.tile.array import ArrayShape

torch = pytest.importorskip("torch")
PLAIN = Normalization()


def full(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` with no weight zero."""
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim > 1:
            drawn = np.random.default_rng(values.size).normal(size=values.shape).astype(values.dtype)
            tensor.CopyFrom(numpy_helper.from_array(drawn, tensor.name))
    return proto


def some(count: int = 6, classes: int = 4) -> Images:
    rng = np.random.default_rng(1)
    return Images(rng.normal(size=(count, 3, 8, 8)).astype(np.float32), rng.integers(0, classes, count))


def saliency_of(proto: onnx.ModelProto, images: Images) -> list[np.ndarray]:
    model = loaded(proto)
    network = read_network(model)
    layers = prunable(model, network, PruneOptions(sparsity=0.5))
    drawn = Calibration.of(model, images, PLAIN, len(images), 0)
    return fisher_saliency(model, network, layers, drawn, no_progress)


def cross_entropy(proto: onnx.ModelProto, pixels: np.ndarray, labels: np.ndarray) -> float:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": pixels})[0].astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-np.mean(log_probabilities[np.arange(len(labels)), labels]))


def nudged(proto: onnx.ModelProto, name: str, place: tuple[int, ...], by: float) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            values[place] += by
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    return changed


@pytest.mark.parametrize("batch", ["B", "3"])
def test_saliencies_are_squares_of_weights_and_of_differences(batch: str) -> None:
    proto, images = full(models.cnn(batch=batch)), some()
    found = saliency_of(proto, images)
    groups = [[i] for i in range(6)] if batch == "B" else None
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    if groups is None:  # of a fixed batch the mean loss counts, in the order in which images were drawn
        order = np.random.default_rng(0).permutation(6)
        groups = [order[:3].tolist(), order[3:].tolist()]
    for name, saliency in zip(("first_w", "second_w", "last_w"), found, strict=True):
        for place in [(0,) * weights[name].ndim, tuple(size - 1 for size in weights[name].shape)]:
            squares = []
            for group in groups:
                ends = [
                    cross_entropy(nudged(proto, name, place, by), images.pixels[group], images.labels[group])
                    for by in (1e-2, -1e-2)
                ]
                squares.append(((ends[0] - ends[1]) / 2e-2) ** 2)
            wanted = weights[name][place] ** 2 * np.mean(squares)
            flat = np.ravel_multi_index(place, weights[name].shape)
            assert saliency.ravel()[flat] == pytest.approx(wanted, rel=0.05, abs=1e-5)


def test_a_final_softmax_changes_nothing() -> None:
    proto = full(models.cnn())
    with_softmax = onnx.ModelProto()
    with_softmax.CopyFrom(proto)
    with_softmax.graph.node[-1].output[0] = "scores"
    with_softmax.graph.node.append(onnx.helper.make_node("Softmax", ["scores"], ["logits"], axis=-1))
    for one, two in zip(saliency_of(proto, some()), saliency_of(with_softmax, some()), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_least_salient_go_and_the_others_keep_their_bits() -> None:
    proto, images = full(models.cnn()), some()
    options = PruneOptions(sparsity=0.6, criterion="fisher")
    pruned, report = prune(loaded(proto), options, NormalizedImages(images, PLAIN))
    saliencies = np.concatenate([saliency.ravel() for saliency in saliency_of(proto, images)])
    after = {tensor.name: numpy_helper.to_array(tensor) for tensor in pruned.proto.graph.initializer}
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    names = ("first_w", "second_w", "last_w")
    removed = np.concatenate([after[name].ravel() == 0 for name in names])
    assert removed.sum() == round(0.6 * len(saliencies))
    more_salient = np.split(
        removed & (saliencies > saliencies[~removed].min()),
        np.cumsum([after[name].size for name in names])[:-1],
    )
    assert_idle(
        proto,
        pruned.proto,
        {name: flags.reshape(after[name].shape) for name, flags in zip(names, more_salient, strict=True)},
    )
    assert all((after[name][after[name] != 0] == before[name][after[name] != 0]).all() for name in before)
    assert report.totals["nonzeros"] == len(saliencies) - removed.sum()


def test_aligned_filters_keep_full_segments() -> None:
    options = PruneOptions(sparsity=0.5, criterion="fisher", align=ArrayShape(9, 4))
    pruned, _ = prune(loaded(full(models.cnn())), options, NormalizedImages(some(), PLAIN))
    after = {tensor.name: numpy_helper.to_array(tensor) for tensor in pruned.proto.graph.initializer}
    for name in ("first_w", "second_w"):
        counts = np.count_nonzero(after[name].reshape(8, -1), axis=1)
        assert set((counts % 9).tolist()) == {0}


def test_the_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(parallel, "available_cores", lambda cores=cores: cores)
        found.append([saliency.tobytes() for saliency in saliency_of(full(models.cnn()), some())])
    assert found[0] == found[1]
    assert torch.get_num_threads() == threads


def test_torch_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_torch(name: str, *rest: object) -> object:
        if name == "torch":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    with pytest.raises(
        OptionError,
        match=r"--criterion fisher: expected torch, got none installed; pip install 'tightc\[finetune\]'",
    ):
        prune(
            loaded(models.cnn()),
            PruneOptions(sparsity=0.5, criterion="fisher"),
            NormalizedImages(some(), PLAIN),
        )


def test_images_are_required() -> None:
    with pytest.raises(OptionError, match="--criterion fisher: expected images, got none; add --data PATH"):
        prune(loaded(models.cnn()), PruneOptions(sparsity=0.5, criterion="fisher"))


@pytest.mark.parametrize(
    ("make", "images", "said", "kind"),
    [
        (models.cnn, some(classes=9), r"expected labels 0 to 3, got \d", DataError),
        (
            lambda: models.cnn(dtype="float16"),
            some(),
            "tensor .* is float16, fisher computes in float32",
            ModelError,
        ),
        (
            lambda: models.build(
                "net (float[B, 3, 8, 8] image) => (float[M, N] y) <int64[2] s = {-1, 1}> "
                "{ [c] a = Conv(image, w)\ny = Reshape(a, s) }",
                w=models.sparse(2, 3, 3, 3),
            ),
            some(),
            "expected an output of 1 x classes, got 72 x 1",
            ModelError,
        ),
        (
            lambda: models.build(
                "net (float[B, 3, 8, 8] image) => (float[B, 4] y) "
                "{ a = Cast<to = 10>(image)\nb = Conv(a, w)\nc = GlobalAveragePool(b)\nd = Flatten(c)\n"
                "y = Cast<to = 1>(d) }",
                w=models.sparse(4, 3, 3, 3, dtype="float16"),
            ),
            some(),
            "tensor w is float16, fisher computes in float32",
            ModelError,
        ),
        (
            lambda: models.build(
                "net (float[B, 3, 8, 8] image) => (float[B, N] y) <int64[2] s = {2, -1}> "
                "{ [c] a = Conv(image, w)\nb = GlobalAveragePool(a)\nc = Reshape(b, s)\nd = Flatten(b)\n"
                "e = MatMul(d, v)\nf = MatMul(e, c)\ny = Relu(f) }",
                w=models.sparse(5, 3, 3, 3),
                v=models.sparse(5, 2),
            ),
            some(),
            "expected a model that torch runs on 1 images, got ",
            ModelError,
        ),
    ],
)
def test_errors(
    make: Callable[[], onnx.ModelProto], images: Images, said: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=said):
        prune(loaded(make()), PruneOptions(sparsity=0.5, criterion="fisher"), NormalizedImages(images, PLAIN))


def test_a_gradient_that_overflows() -> None:
    images = some()
    images.pixels[0] = 3e38
    with pytest.raises(
        ModelError, match="expected finite gradients on these images, got NaN or infinity; check --mean"
    ):
        prune(
            loaded(models.cnn()),
            PruneOptions(sparsity=0.5, criterion="fisher"),
            NormalizedImages(images, PLAIN),
        )
