"""Metrics other than accuracy: against plain loops and against onnxruntime's outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser

from helpers import training
from helpers.loading import loaded
from tightc.cli.main import run
from tightc.data.images import Images, Normalization
from tightc.data.samples import Samples
from tightc.errors import DataError, ModelError, OptionError
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.metrics import area_under_curve
from tightc.evaluation.options import EvaluateOptions
from tightc.model.file import Model

TEXT = '<ir_version: 8, opset_import: ["" : 18]> g '


def model(text: str, **tensors: Any) -> Model:
    proto = parser.parse_model(TEXT + text)
    for name, array in tensors.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
    return loaded(proto)


def autoencoder(scale: float = 0.5, batch: str = "N") -> Model:
    return model(
        f"(float[{batch}, 6] x) => (float[{batch}, 6] y) {{ y = MatMul(x, w) }}", w=np.eye(6) * scale
    )


def measured(
    network: Model, data: Images | Samples, teacher: Model | None = None, **options: Any
) -> dict[str, Any]:
    report = evaluate(network, data, Normalization(), EvaluateOptions.of(options), teacher=teacher)
    for name in {"agreement", "auc", "mae"} & {*report.totals}:
        assert getattr(report, name) == report.totals[name]
    return dict(report.totals)


def outputs(network: Model, **feeds: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(network.to_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def rows(count: int = 20, labels: Any = None, parts: int = 1) -> Samples:
    x = np.random.default_rng(0).standard_normal((count, 6)).astype(np.float32)
    return Samples({"x": x}, labels, parts)


def pairs_in_order(scores: list[float], labels: list[int]) -> float:
    both = list(zip(scores, labels, strict=True))
    pairs = [(a, b) for a, one in both for b, other in both if one > other]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=2, max_size=40))
@settings(max_examples=200)
def test_the_area_is_the_fraction_of_pairs_in_order(cases: list[tuple[int, int]]) -> None:
    scores, labels = [float(score) for score, _ in cases], [label for _, label in cases]
    if len(set(labels)) == 2:
        found = area_under_curve(np.array(scores), np.array(labels))
        assert found == pytest.approx(pairs_in_order(scores, labels))


@pytest.mark.parametrize("batch", ["N", "7"])
@pytest.mark.parametrize("size", [3, 256])
def test_the_score_of_an_autoencoder_is_its_error_and_of_a_recording_the_mean(batch: str, size: int) -> None:
    labels = np.array([0, 1, 1, 0, 1])
    data = rows(20, labels, parts=4)
    totals = measured(autoencoder(batch=batch), data, metric="auc", batch_size=size)
    errors = [float(np.square(0.5 * row.astype(float)).mean()) for row in data.inputs["x"]]
    scores = [sum(errors[4 * i : 4 * i + 4]) / 4 for i in range(5)]
    assert totals == {
        "auc": pytest.approx(pairs_in_order(scores, labels.tolist())), "samples": 5, "positives": 3
    }  # fmt: skip


@pytest.mark.parametrize("classes", [1, 2])
def test_the_score_of_a_detector_is_its_output(classes: int) -> None:
    w = np.random.default_rng(1).standard_normal((6, classes))
    network = model(f"(float[N, 6] x) => (float[N, {classes}] y) {{ y = MatMul(x, w) }}", w=w)
    labels = np.arange(20) % 2
    data = rows(20, labels)
    (found,) = outputs(network, x=data.inputs["x"])
    scores = (found[:, 0] if classes == 1 else found[:, 1] - found[:, 0]).tolist()
    assert measured(network, data, metric="auc")["auc"] == pytest.approx(
        pairs_in_order(scores, labels.tolist())
    )


def test_mean_absolute_error() -> None:
    w = np.random.default_rng(1).standard_normal((6, 1))
    network = model("(float[N, 6] x) => (float[N, 1] y) { y = MatMul(x, w) }", w=w)
    data = rows(20, np.linspace(-1, 1, 20))
    (found,) = outputs(network, x=data.inputs["x"])
    wanted = sum(abs(float(y) - t) for y, t in zip(found[:, 0], np.linspace(-1, 1, 20), strict=True)) / 20
    assert measured(network, data, metric="mae", batch_size=6) == {
        "mean_absolute_error": pytest.approx(wanted), "samples": 20
    }  # fmt: skip


def test_agreement_of_classifiers_is_the_images_of_the_same_class() -> None:
    one, two = training.network("folded"), training.network("folded", seed=5)
    images = training.quadrants()
    x = training.NORMALIZATION.apply(images.pixels)
    first, second = (outputs(m, image=x)[0].argmax(1) for m in (one, two))
    report = evaluate(
        one, Images(images.pixels, None), training.NORMALIZATION, EvaluateOptions(), teacher=two
    )
    same = int((first == second).sum())
    assert report.totals == {"agreement": 100 * same / 64, "images": 64, "agreeing": same}


def test_agreement_of_other_models_is_an_error() -> None:
    data = rows()
    totals = measured(autoencoder(0.5), data, autoencoder(0.4))
    x = data.inputs["x"].astype(float)
    assert totals == {
        "mean_absolute_error": pytest.approx(float(np.abs(0.1 * x).mean()), rel=1e-5),
        "relative_error": pytest.approx(0.25, rel=1e-5),
        "samples": 20,
    }


def test_agreement_of_several_outputs_goes_over_all_of_them() -> None:
    text = (
        "(float[N, 6] x) => (float[N, 6] y, float[N, 1] z, int64[N] best) {{ y = Mul(x, {})\n"
        "z = ReduceSum(y, one)\nbest = ArgMax<axis = 1, keepdims = 0>(y) }}"
    )
    networks = []
    for scale in ("half", "whole"):
        proto = parser.parse_model(TEXT + text.format(scale))
        value = np.float32(0.5 if scale == "half" else 1.0)
        proto.graph.initializer.extend(
            [numpy_helper.from_array(value, scale), numpy_helper.from_array(np.array([1]), "one")]
        )
        networks.append(loaded(proto))
    totals = measured(networks[0], rows(), networks[1])
    assert totals["relative_error"] == pytest.approx(0.5, rel=1e-5)


def test_accuracy_of_samples_and_of_images_in_half_precision() -> None:
    w = np.random.default_rng(1).standard_normal((6, 3))
    network = model("(float[N, 6] x) => (float[N, 3] y) { y = MatMul(x, w) }", w=w)
    data = rows()
    truth = outputs(network, x=data.inputs["x"])[0].argmax(1)
    truth[:5] = (truth[:5] + 1) % 3
    totals = measured(network, Samples(data.inputs, truth))
    assert totals == {"accuracy": 75.0, "images": 20, "correct": 15, "classes": 3}
    text = "(float16[N, 3, 4, 4] image) => (float16[N, 3] y) { p = GlobalAveragePool(image)\ny = Flatten(p) }"
    half = model(text)
    pixels = np.zeros((6, 3, 4, 4), np.uint8)
    pixels[np.arange(6), np.arange(6) % 3] = 200
    assert measured(half, Images(pixels, np.arange(6) % 3))["accuracy"] == 100


FUNCTIONS = """
import numpy as np
def largest(outputs, labels): return float(outputs.max())
def both(outputs, labels, inputs): return {"error": np.abs(outputs - inputs).mean(), "labels": len(labels)}
def text(outputs, labels): return "much"
def broken(outputs, labels): raise KeyError("none")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metrics.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("own")
def test_a_metric_of_the_users_own() -> None:
    data = rows(20, np.arange(20))
    x = data.inputs["x"]
    totals = measured(autoencoder(), data, metric="own_metrics:largest", batch_size=3)
    assert totals == {"metric": "own_metrics:largest", "value": pytest.approx(float((0.5 * x).max()))}
    totals = measured(autoencoder(), data, metric="own_metrics:both")
    assert totals["error"] == pytest.approx(float(np.abs(0.5 * x).mean()), rel=1e-5)
    assert totals["labels"] == 20


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("own_metrics:text", "expected a number or a mapping of names to numbers, got a str"),
        ("own_metrics:broken", "own_metrics:broken: it raised KeyError"),
        ("own_metrics:nothing", "expected function nothing in own_metrics, got none"),
    ],
)
def test_a_metric_that_fails(metric: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        measured(autoencoder(), rows(), metric=metric)


@pytest.mark.parametrize(
    ("network", "data", "teacher", "options", "error", "said"),
    [
        (autoencoder(), rows(), None, {}, DataError, "expected one integer per sample as label, got none"),
        (
            autoencoder(),
            rows(20, np.arange(5), parts=4),
            None,
            {},
            DataError,
            "expected one row per sample, got 4; give one row per label, or another --metric",
        ),
        (autoencoder(), rows(), None, {"metric": "auc"}, DataError, "expected labels 0 and 1, got none"),
        (
            autoencoder(),
            rows(20, np.arange(20)),
            None,
            {"metric": "auc"},
            DataError,
            r"expected labels 0 and 1 for --metric auc, got 0, 1, 2, 3, 4, \.\.\.",
        ),
        (
            model("(float[N, 6] x) => (float[N, 3] y) { y = MatMul(x, w) }", w=np.ones((6, 3))),
            rows(20, np.arange(20) % 2),
            None,
            {"metric": "auc"},
            ModelError,
            "output y: expected a number or two classes per sample, .* got 20 x 3",
        ),
        (autoencoder(), rows(), None, {"metric": "mae"}, DataError, "expected labels, got none; store them as y"),
        (
            autoencoder(),
            rows(20, np.ones((20, 5))),
            None,
            {"metric": "mae"},
            ModelError,
            "output y: expected 20 x 5 values, as the labels have, got 20 x 6",
        ),
        (
            autoencoder(),
            rows(),
            autoencoder(),
            {"metric": "mae"},
            OptionError,
            "--metric: expected --metric agreement with a teacher, got mae",
        ),
        (
            autoencoder(),
            rows(),
            None,
            {"metric": "agreement"},
            OptionError,
            "--metric: expected a teacher with --metric agreement, got none; add --teacher MODEL",
        ),
        (
            autoencoder(),
            rows(),
            model("(float[N, 6] x) => (float[N, 2] y) { y = MatMul(x, w) }", w=np.ones((6, 2))),
            {},
            ModelError,
            "expected 20 x 6 for output y, as in net.onnx, got 20 x 2",
        ),
        (
            autoencoder(),
            rows(),
            model("(float[N, 6] x) => (float[N, 6] y, float[N, 6] z) { y = Relu(x)\nz = Neg(x) }"),
            {},
            ModelError,
            "expected a teacher with 1 outputs, as net.onnx has, got 2",
        ),
        (
            model("(float[N, 6] x) => (int64[N] y) { y = ArgMax<axis = 1, keepdims = 0>(x) }"),
            rows(),
            model("(float[N, 6] x) => (int64[N] y) { y = ArgMax<axis = 1, keepdims = 0>(x) }"),
            {},
            ModelError,
            "expected an output of floats to compare, got none",
        ),
        (
            model("(float[N, 6] x) => (float[N, 6] y, float[N, 6] z) { y = Relu(x)\nz = Neg(x) }"),
            rows(20, np.arange(20) % 2),
            None,
            {"metric": "auc"},
            ModelError,
            r"expected one output, got 2 \(y, z\)",
        ),
        (
            model("(float[N, 5] x) => (float[N, 5] y) { y = Relu(x) }"),
            rows(20, np.ones(20)),
            None,
            {"metric": "mae"},
            DataError,
            r"expected the inputs of net.onnx, x \(float32, any x 5\), got x \(20 x 6\)",
        ),
        (
            model("(float[N, 6] x) => (float[6, N] y) { y = Transpose(x) }"),
            rows(20, np.ones(20)),
            None,
            {"metric": "mae"},
            ModelError,
            "output y: expected 20 x values, got 6 x 20",
        ),
    ],
)  # fmt: skip
def test_refusals(
    network: Model,
    data: Samples,
    teacher: Model | None,
    options: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        measured(network, data, teacher, **options)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(
        OptionError, match=r"--metric: expected accuracy, agreement .*, got 'f1'; give accuracy, "
    ):
        EvaluateOptions.of({"metric": "f1"})


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, teacher, data = (str(tmp_path / name) for name in ("net.onnx", "teacher.onnx", "set.npz"))
    onnx.save(autoencoder(0.5).proto, network)
    onnx.save(autoencoder(0.4).proto, teacher)
    np.savez(data, x=rows(20).inputs["x"].reshape(5, 4, 6), labels=[0, 1, 1, 0, 1])
    assert run(["evaluate", network, "--data", data, "--teacher", teacher, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["relative_error"] == pytest.approx(0.25, rel=1e-5)
    assert run(["evaluate", network, "--data", data, "--metric", "auc", "--json"]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert totals["samples"] == 5 and 0 <= totals["auc"] <= 1
