"""Top-1 accuracy by onnxruntime."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from tightc.config.image_shape import ImageShape
from tightc.data.images import Images, Normalization
from tightc.data.source import open_images
from tightc.errors import DataError, ModelError, OptionError
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.model.file import Model, load_model

SHARED = Path(__file__).parents[3] / "shared"
PLAIN = Normalization()


def model(text: str) -> Model:
    """A model of one graph in onnx.parser's text."""
    proto = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]>\n{text}')
    onnx.checker.check_model(proto)
    return Model(proto, "net.onnx", hashlib.sha256(proto.SerializeToString()).hexdigest())


def channel_means(batch: str = "B", more: str = "") -> Model:
    """Logits are the means of the three channels: the brightest one is the class."""
    return model(
        f"net (float[{batch}, 3, 4, 4] image) => (float[{batch}, 3] logits) {{\n"
        f"means = GlobalAveragePool(image)\nlogits = Flatten(means)\n{more}}}"
    )


def bright(count: int) -> Images:
    """Images that are noise with one channel brightened; labels are right for two of three."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 100, (count, 3, 4, 4), dtype=np.uint8)
    labels = rng.integers(0, 3, count)
    pixels[np.arange(count), labels] += 100
    labels[::3] = (labels[::3] + 1) % 3
    return Images(pixels, labels)


@pytest.mark.parametrize("batch", ["B", "4", "7", "16"])
@pytest.mark.parametrize("batch_size", [1, 5, 13, 100])
@pytest.mark.parametrize("threads", [0, 1])
def test_accuracy_depends_on_neither_batch_nor_threads(batch: str, batch_size: int, threads: int) -> None:
    options = EvaluateOptions(batch_size=batch_size, threads=threads)
    report = evaluate(channel_means(batch), bright(13), PLAIN, options)
    assert report.stage == "evaluate"
    assert report.totals == {"accuracy": 800 / 13, "images": 13, "correct": 8, "classes": 3}


def test_normalization_is_applied() -> None:
    images = Images(np.full((2, 3, 4, 4), 100, np.uint8), np.array([2, 2]))
    totals = evaluate(channel_means(), images, Normalization((0.5, 0.5, 0.0)), EvaluateOptions()).totals
    assert totals["correct"] == 2


def test_progress_is_reported_for_every_batch() -> None:
    reports: list[tuple[str, float]] = []

    def progress(task: str, done: float, figures: Mapping[str, str], /) -> None:
        assert set(figures) == {"accuracy", "img/s"}
        reports.append((task, done))

    evaluate(channel_means(), bright(10), PLAIN, EvaluateOptions(batch_size=4), progress=progress)
    assert reports == [("evaluate", 0.4), ("evaluate", 0.8), ("evaluate", 1.0)]


@pytest.mark.parametrize(
    ("images", "normalization", "error", "said"),
    [
        (
            Images(np.zeros((1, 3, 4, 5), np.uint8), np.array([0])),
            PLAIN,
            DataError,
            "expected images of 3 x 4 x 4 .* got 3 x 4 x 5",
        ),
        (
            Images(np.zeros((2, 3, 4, 4), np.uint8), np.array([0, 3])),
            PLAIN,
            DataError,
            "image 1: .* 3 classes .* got 3",
        ),
        (
            Images(np.zeros((0, 3, 4, 4), np.uint8), np.zeros(0, int)),
            PLAIN,
            DataError,
            "expected images, got none",
        ),
        (
            bright(1),
            Normalization((0.0, 1.0)),
            OptionError,
            r"mean: expected one number, or one per channel \(3\), got 2",
        ),
    ],
)
def test_images_that_do_not_fit(
    images: Images, normalization: Normalization, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        evaluate(channel_means(), images, normalization, EvaluateOptions())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "net (float[B, 3, 4, 4] a, float[B, 3, 4, 4] b) => (float[B, 3] y) { c = Add(a, b)\n"
            "d = GlobalAveragePool(c)\ny = Flatten(d) }",
            r"net.onnx: expected one input, got 2 \(a, b\)",
        ),
        (
            "net (float[B, 3, 4, 4] a) => (float[B, 3] y, float[B, 3, 1, 1] z) {\n"
            "z = GlobalAveragePool(a)\ny = Flatten(z) }",
            r"expected one output, got 2 \(y, z\)",
        ),
        (
            "net (float[B, 48] a) => (float[B, 48] y) { y = Relu(a) }",
            r"expected 4 dimensions for input a, got 2 \(B x 48\)",
        ),
        (
            "net (float[B, 3, 4, 4] a) => (float[B, 3, 1, 1] y) { y = GlobalAveragePool(a) }",
            r"expected 2 dimensions for output y, got 4 \(B x 3 x 1 x 1\)",
        ),
        (
            "net (uint8[B, 3, 4, 4] a) => (float[B, 48] y) { b = Cast <to = 1> (a)\ny = Flatten(b) }",
            "expected float32 for input a, got uint8",
        ),
        (
            "net (float[B, C, 4, 4] a) => (float[B, F] y) { y = Flatten(a) }",
            "expected a fixed number of channels for input a, got an open dimension",
        ),
        (
            "net (float[B, 3, 4, 4] a) => (float[B, 48] y) { b = Sub(a, a)\nc = Div(b, b)\ny = Flatten(c) }",
            "output y: expected numbers, got NaN",
        ),
        (
            "net (float[B, 3, 4, 4] a) => (float[M, N] y) <int64[2] s = {-1, 5}> { y = Reshape(a, s) }",
            "onnxruntime cannot run it on these images .*Reshape",
        ),
        (
            "net (float[B, 3, 4, 4] a) => (float[M, N] y) <int64[2] s = {-1, 1}> { y = Reshape(a, s) }",
            "output y: expected 1 x classes, got 48 x 1",
        ),
        (
            "net (float[B, 3, 4, 4] a) => (float[B, 48] y) <float[2] s = {1, 2}> { b = Add(a, s)\ny = Flatten(b) }",
            "net.onnx: onnxruntime cannot (load|run) it",
        ),
    ],
)
def test_models_that_are_not_image_classifiers(
    text: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=said):
        evaluate(model(text), bright(1), PLAIN, EvaluateOptions())
    assert capfd.readouterr() == ("", "")  # onnxruntime has a log of its own


@pytest.mark.parametrize(("option", "value"), [("batch_size", 0), ("threads", -1), ("batch", 3)])
def test_options_out_of_range(option: str, value: int) -> None:
    with pytest.raises(OptionError, match=f"--{option.replace('_', '-')}"):
        EvaluateOptions.of({option: value})


@pytest.mark.skipif(not SHARED.exists(), reason="the shared ResNet-20 and its images are not here")
@pytest.mark.parametrize("name", ["resnet20-cifar10.onnx", "resnet20-cifar10-bn.onnx"])
def test_the_shared_networks(name: str, cifar10: Images) -> None:
    normalization = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    report = evaluate(load_model(SHARED / "models" / name), cifar10, normalization, EvaluateOptions())
    assert report.totals["accuracy"] == pytest.approx(88.58, abs=0.02)  # rounding decides ties


@pytest.fixture(scope="module")
def cifar10() -> Images:
    return open_images(str(SHARED / "data" / "cifar10-jpeg.tar.gz"), "test", ImageShape(3, 32, 32))
