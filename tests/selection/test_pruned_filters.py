"""Filter pruning by prune and by finetune, and what follows it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.tile.array import ArrayShape


def full(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def weights(model: Model) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.proto.graph.initializer}


def filtered(sparsity: float, **more: object) -> PruneOptions:
    return PruneOptions.of({"sparsity": sparsity, "granularity": "filter", **more})


def test_rows_and_inputs_vanish_and_structured_packing_is_full() -> None:
    model = loaded(dense_cnn())
    pruned, report = prune(model, filtered(0.7))
    assert report.totals["density"] <= 0.3
    assert not report.notes
    found = weights(pruned)
    alive = found["first_w"].reshape(8, -1).any(axis=1)
    assert 0 < alive.sum() < 8
    assert np.array_equal(found["second_w"].any(axis=(0, 2, 3)), alive)
    _, report_of_permute = permute(pruned, PermuteOptions(array=ArrayShape(8, 8), method="structured"))
    assert report_of_permute.totals["tightness"] == 1.0
    assert report_of_permute.totals["matrix_compression_rate"] == pytest.approx(1 / report.totals["density"])


def dense_cnn() -> onnx.ModelProto:
    proto = models.cnn()
    for tensor in proto.graph.initializer:
        if tensor.name.endswith("_w"):
            tensor.CopyFrom(numpy_helper.from_array(full(*tensor.dims), tensor.name))
    return proto


def test_outputs_are_those_without_the_removed_filters_and_their_biases() -> None:
    proto = dense_cnn()
    pruned, _ = prune(loaded(proto), filtered(0.5))
    rows_only = onnx.ModelProto()
    rows_only.CopyFrom(proto)
    found = weights(pruned)
    for tensor in rows_only.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name.endswith("_w") and tensor.name != "last_w":
            dead = ~found[tensor.name].reshape(len(value), -1).any(axis=1)
            value = np.where(dead.reshape(-1, *[1] * (value.ndim - 1)), np.float32(0), value)
        if tensor.name == "first_b":
            value = np.where(found["first_w"].reshape(8, -1).any(axis=1), value, np.float32(0))
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    feeds = models.feeds(proto)
    ours, theirs = (
        onnxruntime.InferenceSession(p.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, feeds
        )[0]
        for p in (pruned.proto, rows_only)
    )
    assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


TRANSPOSED = """net (float[1, 3, 6, 6] image) => (float[1, 4, 12, 12] y) {
  [down] a = Conv<pads = [1, 1, 1, 1]>(image, down_w, down_b)\nr = Relu(a)
  [up] b = ConvTranspose<strides = [2, 2], group = GROUPS>(r, up_w, up_b)\ns = Relu(b)
  [last] y = Conv<pads = [1, 1, 1, 1]>(s, last_w)
}"""


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_channels_go_through_a_transposed_convolution(groups: int) -> None:
    """Its filters go whole, with the inputs that read them, and so do those of its inputs that are zero."""
    tensors = {"down_w": full(8, 3, 3, 3), "down_b": full(8), "up_b": full(8), "last_w": full(4, 8, 3, 3)}
    tensors["up_w"] = full(8, 8 // groups, 2, 2)
    proto = models.build(TRANSPOSED.replace("GROUPS", str(groups)), **tensors)
    pruned, report = prune(loaded(proto), filtered(0.6, scope="layer"))
    found = weights(pruned)
    up = found["up_w"].reshape(groups, 8 // groups, 8 // groups, 4)
    alive = up.any(axis=(1, 3)).ravel()
    assert 0 < alive.sum() < 8 and report.totals["density"] <= 0.4
    whole = up.all(axis=3) | ~up.any(axis=3)  # no position of a kernel stays behind
    assert whole.all()
    assert np.array_equal(up.any(axis=(2, 3)).ravel(), found["down_w"].any(axis=(1, 2, 3)))
    assert np.array_equal(found["last_w"].any(axis=(0, 2, 3)), alive)
    assert not found["up_b"][~alive].any() and found["up_b"][alive].all()
    assert not [note for note in report.notes if "filters stay" in note]


def test_skipped_layers_lose_nothing() -> None:
    model = loaded(dense_cnn())
    pruned, _ = prune(model, filtered(0.5, skip=("second",)))
    assert np.array_equal(weights(pruned)["second_w"], weights(model)["second_w"])


def test_scope_layer_thins_all_layers_alike() -> None:
    pruned, _ = prune(loaded(dense_cnn()), filtered(0.6, scope="layer"))
    found = weights(pruned)
    counts = [int(found[name].any(axis=(1, 2, 3)).sum()) for name in ("first_w", "second_w")]
    assert abs(counts[0] - counts[1]) <= 1 and all(0 < count < 8 for count in counts)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"sparsity": 0.5, "align": "8x8", "granularity": "filter"},
            "--granularity: expected granularity weight or subword with --align, got filter; "
            "give --align or --granularity filter",
        ),
    ],
)
def test_filters_and_segments_do_not_go_together(given: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as fault:
        PruneOptions.of(given)
    assert str(fault.value) == message


def test_training_prunes_filters_gradually() -> None:
    pytest.importorskip("torch")
    from tightc.data.images import Images, Normalization
    from tightc.finetuning.finetune import finetune
    from tightc.finetuning.options import FinetuneOptions

    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (64, 3, 8, 8), np.uint8), rng.integers(0, 4, 64))
    options = FinetuneOptions(
        epochs=2, batch_size=16, sparsity=0.6, granularity="filter", pruning_interval=1, device="cpu"
    )
    trained, report = finetune(loaded(dense_cnn()), images, Normalization(), options, seed=0)
    assert report.totals["density"] <= 0.4
    found = weights(trained)
    alive = found["first_w"].reshape(8, -1).any(axis=1)
    assert np.array_equal(found["second_w"].any(axis=(0, 2, 3)), alive)


def test_training_prunes_equal_weights_from_all_layers_and_filters_alike() -> None:
    pytest.importorskip("torch")
    from tightc.data.images import Images, Normalization
    from tightc.finetuning.finetune import finetune
    from tightc.finetuning.options import FinetuneOptions

    proto = models.cnn()
    rng = np.random.default_rng(0)
    for tensor in proto.graph.initializer:
        if tensor.name.endswith("_w"):
            signs = 0.1 * rng.choice([-1, 1], tuple(tensor.dims)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(signs, tensor.name))
    images = Images(rng.integers(0, 256, (16, 3, 8, 8), np.uint8), rng.integers(0, 4, 16))
    options = FinetuneOptions(
        epochs=1, batch_size=16, sparsity=0.75, pruning_end=0.0, unfold_batchnorm=False, device="cpu"
    )
    trained, report = finetune(loaded(proto), images, Normalization(), options, seed=0)
    found = weights(trained)
    assert report.totals["density"] == pytest.approx(0.25, abs=0.002)
    for name in ("first_w", "second_w", "last_w"):
        sizes = (found[name] != 0).reshape(len(found[name]), -1).sum(axis=1)
        assert np.ptp(sizes) <= 2 and sizes.mean() == pytest.approx(0.25 * found[name][0].size, abs=0.3)


def test_regrowing_single_weights_is_refused() -> None:
    pytest.importorskip("torch")
    from tightc.finetuning.options import FinetuneOptions

    with pytest.raises(OptionError, match="--regrow: expected 0 with granularity filter, got "):
        FinetuneOptions.of({"sparsity": 0.5, "granularity": "filter", "regrow": 0.1})
