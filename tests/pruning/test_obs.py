"""Second-order pruning of whole models: zeros to the unit, outputs that stay, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import models
from tightc.calibration import hands
from tightc.calibration.divergence import divergence
from tightc.calibration.images import Calibration
from tightc.cli.main import run
from tightc.data.images import Images, ImageShape, Normalisation
from tightc.data.source import open_images
from tightc.errors import ConfigError, DataError, ModelError, OptionError
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.model.file import Model, load_model, load_model_bytes
from tightc.model.graph import read_graph
from tightc.model.layers import read_network
from tightc.pruning.obs import fit, obs, uses
from tightc.pruning.obs.allocation import GRID, network_worths
from tightc.pruning.obs.offset import Offset, added_bias, offset_of
from tightc.pruning.obs.uses import Use, use_moments
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import Seen, prune
from tightc.recipe.run import run_recipe
from tightc.report import Report
from tightc.tiles.array import ArrayShape

PLAIN = Normalisation()


def dense(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32) * 0.5


def many_forms(batch: str = "B") -> onnx.ModelProto:
    """A classifier with groups, strides, dilation, a norm, a shared weight, and products of every kind."""
    return models.build(
        f"""net (float[{batch}, 2, 9, 9] image) => (float[{batch}, 3] logits) {{
            [stem] a = Conv<pads = [1, 1, 1, 1]>(image, stem_w, stem_b)
            b = Relu(a)
            [grouped] c = Conv<group = 2, strides = [2, 2], dilations = [2, 2], pads = [1, 1, 1, 1]>(b, grouped_w)
            d = BatchNormalization(c, scale, shift, mean, variance)
            e = Relu(d)
            [one] f = Conv<auto_pad = "SAME_UPPER">(e, shared_w)
            g = Relu(f)
            [two] h = Conv<auto_pad = "SAME_LOWER">(g, shared_w, two_b)
            i = Relu(h)
            j = GlobalAveragePool(i)
            k = Flatten(j)
            [gemm] l = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(k, gemm_w, gemm_b)
            m = Relu(l)
            [product] n = MatMul(m, product_w)
            logits = Add(n, product_b)
        }}""",
        stem_w=dense(6, 2, 3, 3),
        stem_b=dense(6),
        grouped_w=dense(8, 3, 3, 3),
        scale=np.abs(dense(8)) + 0.5,
        shift=dense(8, seed=1),
        mean=dense(8, seed=2),
        variance=np.abs(dense(8, seed=3)) + 0.5,
        shared_w=dense(8, 8, 2, 2),
        two_b=dense(8, seed=4),
        gemm_w=dense(10, 8),
        gemm_b=dense(10),
        product_w=dense(10, 3),
        product_b=dense(3),
    )


def loaded(proto: onnx.ModelProto) -> Model:
    return load_model_bytes(proto.SerializeToString(), "net.onnx")


def some(count: int = 40, *shape: int) -> Seen:
    rng = np.random.default_rng(5)
    pixels = rng.normal(size=(count, *(shape or (2, 9, 9)))).astype(np.float32)
    return Seen(Images(pixels, rng.integers(0, 3, count)), PLAIN)


def obs_pruned(
    proto: onnx.ModelProto, seen: Seen | None = None, seed: int = 0, **options: object
) -> tuple[Model, Report]:
    chosen = PruneOptions(criterion="obs", **options)
    return prune(loaded(proto), chosen, seen or some(), seed=seed)


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
    gone = [round(sparsity * size) for size in sizes] if scope == "layer" else [round(sparsity * sum(sizes))]
    assert report.totals["nonzeros"] == sum(sizes) - sum(gone)
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


def test_a_closing_softmax_changes_no_weight() -> None:
    closed = many_forms()
    for node in closed.graph.node:
        node.output[:] = ["scores" if name == "logits" else name for name in node.output]
    closed.graph.node.append(onnx.helper.make_node("Softmax", ["scores"], ["logits"], axis=1))
    one, other = (weights_of(obs_pruned(each, sparsity=0.5)[0].proto) for each in (many_forms(), closed))
    assert all((tensor == other[name]).all() for name, tensor in one.items())


def test_only_weights_and_constants_behind_them_change() -> None:
    proto = many_forms()
    pruned, _ = obs_pruned(proto, sparsity=0.5)
    before, after = weights_of(proto), weights_of(pruned.proto)
    assert {name for name in before if (before[name] == after[name]).all()} == {"scale", "shift", "variance"}
    assert all(before[name].shape == after[name].shape for name in before)
    assert list(pruned.proto.graph.node) == list(proto.graph.node)


def test_layers_kept_aside_stay_and_do_not_count() -> None:
    proto = many_forms()
    pruned, report = obs_pruned(proto, sparsity=0.5, keep=("stem", "gemm"))
    before, after = weights_of(proto), weights_of(pruned.proto)
    assert all((before[name] == after[name]).all() for name in ("stem_w", "stem_b", "gemm_w", "gemm_b"))
    others = [row for row in report.layers if row["name"] in ("grouped", "one", "product")]
    size = sum(row["weights"] for row in others)
    assert sum(row["nonzeros"] for row in others) == size - round(0.5 * size)


def test_zeros_that_a_model_has_stay() -> None:
    proto = many_forms()
    halved, _ = prune(loaded(proto), PruneOptions(sparsity=0.5, scope="layer"))
    pruned, report = prune(halved, PruneOptions(sparsity=0.7, criterion="obs"), some())
    before, after = weights_of(halved.proto), weights_of(pruned.proto)
    for name in ("stem_w", "grouped_w", "shared_w", "gemm_w", "product_w"):
        assert (after[name][before[name] == 0] == 0).all()
    assert report.totals["nonzeros"] == round(0.3 * report.totals["weights"])


def test_a_floor_and_whole_parts_of_an_array() -> None:
    _, floored = obs_pruned(many_forms(), sparsity=0.8, floor=1.0)
    assert min(row["density"] for row in floored.layers) >= 0.19
    pruned, _ = obs_pruned(many_forms(), sparsity=0.5, align=ArrayShape(4, 4))
    counts = np.count_nonzero(weights_of(pruned.proto)["stem_w"].reshape(6, -1), axis=1)
    assert set((counts % 4).tolist()) <= {0, 18 % 4}


def test_whole_filters() -> None:
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
def test_the_seed_decides_every_byte_whatever_the_cores(
    affordable: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "_AFFORDABLE", affordable)
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(hands, "own_cores", lambda cores=cores: cores)
        found.append(obs_pruned(many_forms(), sparsity=0.6, images=20)[0].to_bytes())
    assert found[0] == found[1] == found[2]
    assert obs_pruned(many_forms(), sparsity=0.6, images=20, seed=1)[0].to_bytes() != found[0]


def test_labels_do_not_matter_and_history_tells_the_seed() -> None:
    seen = some()
    other = replace(seen, images=Images(seen.images.pixels, np.zeros(40, np.int64)))
    one, _ = obs_pruned(many_forms(), seen, sparsity=0.5, seed=3)
    two, _ = obs_pruned(many_forms(), other, sparsity=0.5, seed=3)
    assert one.to_bytes() == two.to_bytes()
    (entry,) = json.loads(one.proto.metadata_props[0].value)
    assert (entry["seed"], entry["options"]["criterion"]) == (3, "obs")


def test_a_batch_that_the_model_fixes_is_filled_up() -> None:
    model = loaded(many_forms("16"))
    drawn = Calibration.of(model, some().images, PLAIN, 40, 0)
    assert (drawn.pixels.shape, drawn.batch, drawn.fixed) == ((48, 2, 9, 9), 16, True)
    assert drawn.first(17).pixels.shape[0] == 32
    assert (drawn.pixels[40:] == drawn.pixels[:8]).all()
    _, report = obs_pruned(many_forms("16"), sparsity=0.5)
    assert report.totals["density"] == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("name", ["stem", "grouped", "one", "two", "gemm", "product"])
def test_moments_of_a_layer_lead_back_to_its_own_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Least squares on what flows in and out, by numpy: whatever the operator, the answer is the weight that it has."""
    monkeypatch.setattr(uses, "_ELEMENTS", 3000)
    model = loaded(many_forms())
    network, graph = read_network(model), read_graph(model.proto)
    layer = next(layer for layer in network.layers if layer.name == name)
    node = next(node for node in graph.nodes if layer.output in node.outputs)
    drawn = Calibration.of(model, some(60).images, PLAIN, 60, 0)
    weight = network.weights[layer.weight]
    use = Use(layer, node, added_bias(layer, node, graph))
    sums = use_moments(drawn, model, model, use, weight)
    per_group = layer.filters // layer.groups
    for group in range(layer.groups):
        rows = slice(group * per_group, group * per_group + per_group)
        found = np.linalg.lstsq(sums.inputs[group], sums.across[rows].T, rcond=1e-9)[0].T
        np.testing.assert_allclose(
            found @ sums.inputs[group], network.matrix(layer)[rows] @ sums.inputs[group], rtol=1e-3, atol=1e-2
        )


def test_which_constant_makes_up_for_a_mean() -> None:
    model = loaded(many_forms())
    graph = read_graph(model.proto)
    nodes = {node.outputs[0]: node for node in graph.nodes}
    found = {
        layer.name: offset_of(layer, nodes[layer.output], graph, model.proto)
        for layer in read_network(model).layers
    }
    assert found == {
        "stem": Offset("stem_b", 1.0),
        "grouped": Offset("mean", -1.0),
        "one": None,
        "two": Offset("two_b", 1.0),
        "gemm": Offset("gemm_b", 2.0),
        "product": Offset("product_b", 1.0),
    }


@pytest.mark.parametrize(
    ("text", "tensors"),
    [
        # the bias is read twice
        ("[c] a = Conv(x, w, b)\nd = GlobalAveragePool(a)\ne = Flatten(d)\ny = Add(e, b)", {"b": (3,)}),
        # one number for all filters
        ("[c] a = Conv(x, w)\nd = Add(a, b)\ne = GlobalAveragePool(d)\ny = Flatten(e)", {"b": (1,)}),
        # along another axis: the sum is over rows
        ("[c] a = Conv(x, w)\nd = Add(a, b)\ne = GlobalAveragePool(d)\ny = Flatten(e)", {"b": (3,)}),
        ("[c] a = Conv(x, w)\nd = Relu(a)\ne = GlobalAveragePool(d)\ny = Flatten(e)", {}),
    ],
)
def test_constants_that_are_left_alone(text: str, tensors: dict[str, tuple[int, ...]]) -> None:
    proto = models.build(
        f"net (float[B, 2, 5, 5] x) => (float[B, 3] y) {{ {text} }}",
        w=dense(3, 2, 3, 3),
        **{name: dense(*shape) for name, shape in tensors.items()},
    )
    pruned, report = obs_pruned(proto, some(20, 2, 5, 5), sparsity=0.5)
    assert report.totals["nonzeros"] == 27
    before, after = weights_of(proto), weights_of(pruned.proto)
    assert all((before[name] == after[name]).all() for name in tensors)


def test_a_sum_with_one_number_a_filter_is_moved() -> None:
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


# ---- what a weight is worth to the network


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=60),
    st.lists(st.floats(0, 10), min_size=len(GRID), max_size=len(GRID)),
)
def test_worths_rise_with_losses(losses: list[float], divergences: list[float]) -> None:
    order = np.argsort(losses, kind="stable")
    worths = network_worths(np.array(losses), GRID, divergences)
    assert (worths >= 0).all() and np.isfinite(worths).all()
    assert (np.diff(worths[order]) >= 0).all()


def test_worths_of_the_least_sum_to_the_divergence_that_was_measured() -> None:
    losses = np.arange(1.0, 101.0)
    measured = [1e-4 * np.sum(losses[: round(100 * share)]) ** 1.2 for share in GRID]
    worths = network_worths(losses, GRID, measured)
    for share, wanted in zip(GRID, measured, strict=True):
        assert np.sum(worths[: round(100 * share)]) == pytest.approx(wanted, rel=1e-4)


def test_a_layer_without_loss_is_worth_nothing() -> None:
    assert (network_worths(np.zeros((2, 3)), GRID, [0.0] * len(GRID)) == 0).all()


def test_divergence_by_hand() -> None:
    left, right = np.log(np.array([[0.5, 0.5]])), np.log(np.array([[0.25, 0.75]]))
    assert divergence(left, right + 7) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    assert divergence(left, left) == 0


# ---- refusals


def test_images_are_demanded() -> None:
    with pytest.raises(OptionError, match=r"--criterion obs: it looks at images, .*; add --data PATH"):
        prune(loaded(many_forms()), PruneOptions(sparsity=0.5, criterion="obs"))


def test_images_without_a_criterion_that_sees_them() -> None:
    with pytest.raises(OptionError, match="--images: magnitude looks at no images; leave it out, or choose"):
        PruneOptions.of({"sparsity": 0.5, "images": 9})


def test_a_layer_with_too_many_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obs, "_MOST_INPUTS", 20)
    with pytest.raises(OptionError, match=r"layer grouped has 27 inputs, at most 20 .*; add --keep grouped"):
        obs_pruned(many_forms(), sparsity=0.5)


def test_a_bias_that_is_computed() -> None:
    proto = models.build(
        """net (float[B, 2, 2, 2] x) => (float[B, 8] y) {
            a = Flatten(x)
            b = Relu(a)
            [fc] y = Gemm(a, w, b)
        }""",
        w=dense(8, 8),
    )
    with pytest.raises(ModelError, match="layer fc: its bias b is computed at run time; add --keep fc"):
        obs_pruned(proto, some(5, 2, 2, 2), sparsity=0.5)


def test_values_that_overflow() -> None:
    seen = some()
    seen.images.pixels[3] = 3e38
    with pytest.raises(ModelError, match=r"(layer stem: what flows through it|output logits) is not finite"):
        obs_pruned(many_forms(), seen, sparsity=0.5)


@pytest.mark.parametrize(
    ("seen", "said", "kind"),
    [
        (some(4, 2, 8, 8), "the images are 2 x 8 x 8", DataError),
        (Seen(some().images, Normalisation((0.5,) * 3)), "mean has 3 values", OptionError),
    ],
)
def test_images_that_do_not_fit(seen: Seen, said: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=said):
        obs_pruned(many_forms(), seen, sparsity=0.5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (models.gemm, "input x has 2 dimensions"),
        (
            lambda: models.build(
                "net (float[B, 2, 9, 9] x) => (float[M, N] y) <int64[2] s = {-1, 1}> "
                "{ [c] a = Conv(x, w)\ny = Reshape(a, s) }",
                w=dense(3, 2, 3, 3),
            ),
            "output y is 5880 x 1 for 40 images",
        ),
    ],
)
def test_models_that_are_no_classifier_of_images(make: Callable[[], onnx.ModelProto], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        obs_pruned(make(), sparsity=0.5)


# ---- the command


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """The paths of a model, of images, and of where to write."""
    model = models.save(many_forms(), tmp_path / "net.onnx")
    seen = some(20)
    np.savez(tmp_path / "images.npz", x=seen.images.pixels, y=seen.images.labels)
    return str(model), str(tmp_path / "images.npz"), str(tmp_path / "out.onnx")


def test_the_command(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    model, data, out = files
    arguments = ["prune", model, "--sparsity", "0.5", "--criterion", "obs", "--data", data, "--images", "12"]
    assert run([*arguments, "--mean", "0.1", "--std", "2", "--seed", "4", "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["density"] == pytest.approx(0.5, abs=0.001)
    given = Seen(some(20).images, Normalisation((0.1,), (2.0,)))
    wanted, _ = prune(
        load_model(model), PruneOptions(sparsity=0.5, criterion="obs", images=12), given, seed=4
    )
    assert load_model(out).to_bytes() == wanted.to_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--criterion", "obs"], "--criterion obs: it looks at images, and there are none; add --data PATH"),
        (["--data", "DATA"], "--data: magnitude looks at no images; leave it out, or add --criterion obs"),
        (["--mean", "0.5"], "--mean: it needs --data; add --data"),
        (["--images", "9"], "--images: magnitude looks at no images"),
    ],
)
def test_flags_that_make_no_sense(
    arguments: list[str], said: str, files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, out = files
    given = [data if argument == "DATA" else argument for argument in arguments]
    assert run(["prune", model, "--sparsity", "0.5", *given, "-o", out]) == 2
    assert said in capsys.readouterr().err
    assert not Path(out).exists()


def test_a_recipe_gives_prune_its_data(files: tuple[str, str, str], tmp_path: Path) -> None:
    stage = "stages:\n  - prune: {sparsity: 0.5, criterion: obs, images: 12}\n"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model: net.onnx\nseed: 4\ndata: {{data: images.npz, mean: 0.1, std: 2}}\n{stage}")
    run_recipe(recipe, tmp_path / "out")
    given = Seen(some(20).images, Normalisation((0.1,), (2.0,)))
    options = PruneOptions(sparsity=0.5, criterion="obs", images=12)
    wanted, _ = prune(load_model(files[0]), options, given, seed=4)
    assert load_model(tmp_path / "out" / "01-prune.onnx").to_bytes() == wanted.to_bytes()
    assert run_recipe(recipe, tmp_path / "out").layers[1]["state"] == "unchanged"
    assert run_recipe(recipe, tmp_path / "out", seed=5).layers[1]["state"] == "done"
    recipe.write_text(f"model: net.onnx\n{stage}")
    with pytest.raises(ConfigError, match=r"stages\.0: prune needs data; add data"):
        run_recipe(recipe, tmp_path / "out")


def test_the_shared_resnet20_loses_little(shared: Path) -> None:
    data = str(shared / "data" / "cifar10-jpeg.tar.gz")
    normalisation = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    every = open_images(data, "test", ImageShape(3, 32, 32))
    drawn = np.random.default_rng(0).permutation(len(every))
    part, rest = drawn[:64], drawn[64:1064]
    model = load_model(shared / "models" / "resnet20-cifar10-bn.onnx")
    options = PruneOptions(sparsity=0.7, scope="layer", criterion="obs", keep=("/layer3*",))
    pruned, report = prune(
        model, options, Seen(Images(every.pixels[part], every.labels[part]), normalisation)
    )
    assert report.layers[1]["density"] == pytest.approx(0.3, abs=1e-3)
    held = Images(every.pixels[rest], every.labels[rest])
    before, after = (
        evaluate(m, held, normalisation, EvaluateOptions()).totals["accuracy"] for m in (model, pruned)
    )
    assert before - after < 4
