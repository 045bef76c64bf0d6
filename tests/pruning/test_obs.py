"""OBS pruning of whole models: exact numbers of zeros, outputs that stay, and errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from helpers import models
from helpers.classifier import PLAIN, dense, many_forms, obs_pruned, some
from helpers.loading import loaded
from tightc import parallel
from tightc.calibration.calibration import Calibration
from tightc.calibration.divergence import kl_divergence
from tightc.config.image_shape import ImageShape
from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.data.source import open_images
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.model.file import load_model
from tightc.model.layer_view.layers import read_network
from tightc.model.onnx_proto.graph import read_graph
from tightc.pruning.obs import least_squares, weight_sharing
from tightc.pruning.obs.allocation import SPARSITIES, network_saliency
from tightc.pruning.obs.bias_correction import BiasCorrection, added_bias, find_bias_correction
from tightc.pruning.obs.weight_sharing import SharingLayer, layer_sums
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.tile.array import ArrayShape


def outputs(proto: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: pixels})[0]


def weights_of(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


@pytest.mark.parametrize("sparsity", [0.0, 0.31, 0.6, 0.9])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_number_of_zeros_is_exact(sparsity: float, scope: str) -> None:
    pruned, report = obs_pruned(many_forms(), sparsity=sparsity, scope=scope)
    sizes = [row["weights"] for row in report.layers if row["shares"] is None]
    removed = (
        [round(sparsity * size) for size in sizes] if scope == "layer" else [round(sparsity * sum(sizes))]
    )
    assert report.totals["nonzeros"] == sum(sizes) - sum(removed)
    assert all(row["nonzeros"] for row in report.layers)
    onnx.checker.check_model(pruned.proto, full_check=True)


def test_outputs_stay_much_closer_than_by_magnitude() -> None:
    proto, seen = many_forms(), some(200)
    fresh = np.random.default_rng(6).normal(size=(300, 2, 9, 9)).astype(np.float32)
    wanted = outputs(proto, fresh)
    by_obs, _ = obs_pruned(proto, seen, sparsity=0.5)
    by_magnitude, _ = prune(loaded(proto), PruneOptions(sparsity=0.5))
    missed = [np.square(outputs(m.proto, fresh) - wanted).mean() for m in (by_obs, by_magnitude)]
    assert missed[0] < 0.5 * missed[1]
    np.testing.assert_allclose(outputs(by_obs.proto, fresh).mean(axis=0), wanted.mean(axis=0), atol=0.1)


def test_a_final_softmax_changes_no_weight() -> None:
    closed = many_forms()
    for node in closed.graph.node:
        node.output[:] = ["scores" if name == "logits" else name for name in node.output]
    closed.graph.node.append(onnx.helper.make_node("Softmax", ["scores"], ["logits"], axis=1))
    one, other = (weights_of(obs_pruned(each, sparsity=0.5)[0].proto) for each in (many_forms(), closed))
    assert all((tensor == other[name]).all() for name, tensor in one.items())


def test_only_weights_and_bias_corrections_change() -> None:
    proto = many_forms()
    pruned, _ = obs_pruned(proto, sparsity=0.5)
    before, after = weights_of(proto), weights_of(pruned.proto)
    assert {name for name in before if (before[name] == after[name]).all()} == {"scale", "shift", "variance"}
    assert all(before[name].shape == after[name].shape for name in before)
    assert list(pruned.proto.graph.node) == list(proto.graph.node)


def test_skipped_layers_are_unchanged_and_do_not_count() -> None:
    proto = many_forms()
    pruned, report = obs_pruned(proto, sparsity=0.5, skip=("stem", "gemm"))
    before, after = weights_of(proto), weights_of(pruned.proto)
    assert all((before[name] == after[name]).all() for name in ("stem_w", "stem_b", "gemm_w", "gemm_b"))
    others = [row for row in report.layers if row["name"] in ("grouped", "one", "product")]
    size = sum(row["weights"] for row in others)
    assert sum(row["nonzeros"] for row in others) == size - round(0.5 * size)


def test_zeros_of_the_given_model_stay() -> None:
    proto = many_forms()
    halved, _ = prune(loaded(proto), PruneOptions(sparsity=0.5, scope="layer"))
    pruned, report = prune(halved, PruneOptions(sparsity=0.7, criterion="obs"), some())
    before, after = weights_of(halved.proto), weights_of(pruned.proto)
    for name in ("stem_w", "grouped_w", "shared_w", "gemm_w", "product_w"):
        assert (after[name][before[name] == 0] == 0).all()
    assert report.totals["nonzeros"] == round(0.3 * report.totals["weights"])


def test_minimum_density_and_full_segments() -> None:
    _, dense_enough = obs_pruned(many_forms(), sparsity=0.8, min_density=1.0)
    assert min(row["density"] for row in dense_enough.layers) >= 0.19
    pruned, _ = obs_pruned(many_forms(), sparsity=0.5, align=ArrayShape(4, 4))
    counts = np.count_nonzero(weights_of(pruned.proto)["stem_w"].reshape(6, -1), axis=1)
    assert set((counts % 4).tolist()) <= {0, 18 % 4}


def test_filters() -> None:
    proto = many_forms()
    pruned, _ = obs_pruned(proto, some(200), sparsity=0.3, granularity="filter")
    after = weights_of(pruned.proto)
    rows = [row for name in ("stem_w", "gemm_w") for row in after[name].reshape(len(after[name]), -1)]
    assert any(not row.any() for row in rows)
    # inputs go with the filter that they read, so a filter that stays has zeros in whole channels at most
    channels = after["grouped_w"].reshape(8, 3, 9).astype(bool)
    assert (channels.any(axis=2) == channels.all(axis=2)).all()
    by_size, _ = prune(loaded(proto), PruneOptions(sparsity=0.3, granularity="filter"))
    pixels = np.random.default_rng(6).normal(size=(300, 2, 9, 9)).astype(np.float32)
    missed = [np.square(outputs(m.proto, pixels) - outputs(proto, pixels)).mean() for m in (pruned, by_size)]
    assert missed[0] < missed[1]


@pytest.mark.parametrize("affordable", [1e11, 0.0])
def test_the_same_seed_gives_the_same_bytes_for_any_number_of_cores(
    affordable: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(least_squares, "_AFFORDABLE", affordable)
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(parallel, "available_cores", lambda cores=cores: cores)
        found.append(obs_pruned(many_forms(), sparsity=0.6, calibration_images=20)[0].to_bytes())
    assert found[0] == found[1] == found[2]
    assert obs_pruned(many_forms(), sparsity=0.6, calibration_images=20, seed=1)[0].to_bytes() != found[0]


def test_labels_do_not_matter_and_history_records_the_seed() -> None:
    seen = some()
    other = replace(seen, images=Images(seen.images.pixels, np.zeros(40, np.int64)))
    one, _ = obs_pruned(many_forms(), seen, sparsity=0.5, seed=3)
    two, _ = obs_pruned(many_forms(), other, sparsity=0.5, seed=3)
    assert one.to_bytes() == two.to_bytes()
    (entry,) = json.loads(one.proto.metadata_props[0].value)
    assert (entry["seed"], entry["options"]["criterion"]) == (3, "obs")


def test_a_fixed_batch_size_is_filled_up() -> None:
    model = loaded(many_forms("16"))
    drawn = Calibration.of(model, some().images, PLAIN, 40, 0)
    assert (drawn.inputs["image"].shape, drawn.batch, drawn.fixed) == ((48, 2, 9, 9), 16, True)
    assert drawn.first(17).inputs["image"].shape[0] == 32
    assert (drawn.inputs["image"][40:] == drawn.inputs["image"][:8]).all()
    _, report = obs_pruned(many_forms("16"), sparsity=0.5)
    assert report.totals["density"] == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("name", ["stem", "grouped", "one", "two", "gemm", "product"])
def test_least_squares_on_the_sums_of_a_layer_gives_its_own_weights(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Least squares by numpy on the Hessian of every kind of layer: the solution is its weight."""
    monkeypatch.setattr(weight_sharing, "_ELEMENTS", 3000)
    model = loaded(many_forms())
    network, graph = read_network(model), read_graph(model.proto)
    layer = next(layer for layer in network.layers if layer.name == name)
    node = next(node for node in graph.nodes if layer.output in node.outputs)
    drawn = Calibration.of(model, some(60).images, PLAIN, 60, 0)
    weight = network.weights[layer.weight]
    reader = SharingLayer(layer, node, added_bias(layer, node, graph))
    sums = layer_sums(drawn, model, model, reader, weight.shape)
    per_group = layer.filters // layer.groups
    for group in range(layer.groups):
        rows = slice(group * per_group, group * per_group + per_group)
        found = np.linalg.lstsq(sums.hessian[group], sums.cross[rows].T, rcond=1e-9)[0].T
        np.testing.assert_allclose(
            found @ sums.hessian[group],
            network.matrix(layer)[rows] @ sums.hessian[group],
            rtol=1e-3,
            atol=1e-2,
        )


def test_which_constant_corrects_the_bias() -> None:
    model = loaded(many_forms())
    graph = read_graph(model.proto)
    nodes = {node.outputs[0]: node for node in graph.nodes}
    found = {
        layer.name: find_bias_correction(layer, nodes[layer.output], graph, model.proto)
        for layer in read_network(model).layers
    }
    assert found == {
        "stem": BiasCorrection("stem_b", 1.0),
        "grouped": BiasCorrection("mean", -1.0),
        "one": None,
        "two": BiasCorrection("two_b", 1.0),
        "gemm": BiasCorrection("gemm_b", 2.0),
        "product": BiasCorrection("product_b", 1.0),
    }


@pytest.mark.parametrize(
    ("text", "tensors"),
    [
        # the bias is read twice
        ("[c] a = Conv(x, w, b)\nd = GlobalAveragePool(a)\ne = Flatten(d)\ny = Add(e, b)", {"b": (3,)}),
        # a single number for all filters
        ("[c] a = Conv(x, w)\nd = Add(a, b)\ne = GlobalAveragePool(d)\ny = Flatten(e)", {"b": (1,)}),
        # along another axis: the sum is over rows
        ("[c] a = Conv(x, w)\nd = Add(a, b)\ne = GlobalAveragePool(d)\ny = Flatten(e)", {"b": (3,)}),
        ("[c] a = Conv(x, w)\nd = Relu(a)\ne = GlobalAveragePool(d)\ny = Flatten(e)", {}),
    ],
)
def test_constants_that_stay(text: str, tensors: dict[str, tuple[int, ...]]) -> None:
    proto = models.build(
        f"net (float[B, 2, 5, 5] x) => (float[B, 3] y) {{ {text} }}",
        w=dense(3, 2, 3, 3),
        **{name: dense(*shape) for name, shape in tensors.items()},
    )
    pruned, report = obs_pruned(proto, some(20, 2, 5, 5), sparsity=0.5)
    assert report.totals["nonzeros"] == 27
    before, after = weights_of(proto), weights_of(pruned.proto)
    assert all((before[name] == after[name]).all() for name in tensors)


def test_an_added_constant_with_one_number_per_filter_is_corrected() -> None:
    proto = models.build(
        "net (float[B, 2, 5, 5] x) => (float[B, 3] y) "
        "{ [c] a = Conv(x, w)\nd = Add(b, a)\ne = GlobalAveragePool(d)\ny = Flatten(e) }",
        w=dense(3, 2, 3, 3),
        b=dense(1, 3, 1, 1),
    )
    seen = some(20, 2, 5, 5)
    bright = replace(seen, images=Images(seen.images.pixels + 2, seen.images.labels))
    pruned, _ = obs_pruned(proto, bright, sparsity=0.8)
    wanted = outputs(proto, bright.images.pixels).mean(axis=0)
    np.testing.assert_allclose(outputs(pruned.proto, bright.images.pixels).mean(axis=0), wanted, atol=1e-4)


# ---- saliency for the network


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=60),
    st.lists(st.floats(0, 10), min_size=len(SPARSITIES), max_size=len(SPARSITIES)),
)
def test_saliency_rises_with_losses(losses: list[float], divergences: list[float]) -> None:
    order = np.argsort(losses, kind="stable")
    saliency = network_saliency(np.array(losses), SPARSITIES, divergences)
    assert (saliency >= 0).all() and np.isfinite(saliency).all()
    assert (np.diff(saliency[order]) >= 0).all()


def test_saliencies_sum_to_the_measured_divergence() -> None:
    losses = np.arange(1.0, 101.0)
    measured = [1e-4 * np.sum(losses[: round(100 * sparsity)]) ** 1.2 for sparsity in SPARSITIES]
    saliency = network_saliency(losses, SPARSITIES, measured)
    for sparsity, wanted in zip(SPARSITIES, measured, strict=True):
        assert np.sum(saliency[: round(100 * sparsity)]) == pytest.approx(wanted, rel=1e-4)


def test_a_layer_without_loss_has_no_saliency() -> None:
    assert (network_saliency(np.zeros((2, 3)), SPARSITIES, [0.0] * len(SPARSITIES)) == 0).all()


def test_divergence_by_hand() -> None:
    left, right = np.log(np.array([[0.5, 0.5]])), np.log(np.array([[0.25, 0.75]]))
    assert kl_divergence(left, right + 7) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    assert kl_divergence(left, left) == 0


def test_the_shared_resnet20_loses_little(shared: Path) -> None:
    data = str(shared / "data" / "cifar10-jpeg.tar.gz")
    normalization = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    every = open_images(data, "test", ImageShape(3, 32, 32))
    drawn = np.random.default_rng(0).permutation(len(every))
    part, rest = drawn[:64], drawn[64:1064]
    model = load_model(shared / "models" / "resnet20-cifar10-bn.onnx")
    options = PruneOptions(sparsity=0.7, scope="layer", criterion="obs", skip=("/layer3*",))
    pruned, report = prune(
        model, options, NormalizedImages(Images(every.pixels[part], every.labels[part]), normalization)
    )
    assert report.layers[1]["density"] == pytest.approx(0.3, abs=1e-3)
    held = Images(every.pixels[rest], every.labels[rest])
    before, after = (
        evaluate(m, held, normalization, EvaluateOptions()).totals["accuracy"] for m in (model, pruned)
    )
    assert before - after < 4
