"""The drop of a model and its standard error, against plain loops over what onnxruntime says, and closed forms."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.data.images import Images, Normalization
from tightc.data.samples import Samples
from tightc.evaluation.drop import accuracy_drop, drop_from_teacher, right_images
from tightc.model.file import Model

PLAIN = Normalization()


def two_networks() -> tuple[Model, Model]:
    """A classifier, and one with another last layer."""
    protos = [models.cnn(), models.cnn()]
    for weight in protos[1].graph.initializer:
        changed = np.random.default_rng(1).permuted(numpy_helper.to_array(weight))
        weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    return loaded(protos[0]), loaded(protos[1])


def outputs(model: Model, images: Images) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.to_bytes())
    (name,) = [value.name for value in session.get_inputs()]
    pixels = images.pixels.astype(np.float32) / 255
    return np.concatenate([session.run(None, {name: pixels[i : i + 1]})[0] for i in range(len(pixels))])


def images_of(count: int) -> Images:
    random = np.random.default_rng(3)
    return Images(random.integers(0, 256, (count, 3, 8, 8), np.uint8), random.integers(0, 4, count))


def test_the_drop_of_accuracy_is_that_of_onnxruntime() -> None:
    dense, model = two_networks()
    images = images_of(300)
    right = [outputs(one, images).argmax(axis=1) == images.labels for one in (dense, model)]
    found = accuracy_drop(*(right_images(one, images, PLAIN) for one in (dense, model)))
    assert found.kind == "accuracy" and found.images == 300
    assert found.points == pytest.approx(100 * (right[0].mean() - right[1].mean()))
    assert right[0].tolist() != right[1].tolist()


@pytest.mark.parametrize(
    ("lost", "won", "images"), [(0, 0, 10), (3, 1, 100), (0, 5, 50), (50, 0, 50), (1, 0, 260)]
)
def test_the_error_is_that_of_agresti_and_min(lost: int, won: int, images: int) -> None:
    """The variance of a difference of paired proportions, with half an image added to each of the four counts."""
    dense, model = np.zeros(images, bool), np.zeros(images, bool)
    dense[:lost] = True
    model[lost : lost + won] = True
    n = Fraction(images + 2)
    p, q = (Fraction(2 * count + 1, 2) / n for count in (lost, won))
    variance = (p + q - (p - q) ** 2) / n
    found = accuracy_drop(dense, model)
    assert found.points == pytest.approx(100 * (lost - won) / images)
    assert found.error == pytest.approx(100 * math.sqrt(variance))
    assert found.error > 0


def test_the_error_is_the_spread_of_the_drop_over_many_samples() -> None:
    random = np.random.default_rng(0)
    probabilities = (0.85, 0.06, 0.03, 0.06)  # both right, only dense, only model, none
    drops = []
    for _ in range(2000):
        which = random.choice(4, 400, p=probabilities)
        drops.append(accuracy_drop(which <= 1, (which == 0) | (which == 2)))
    spread = float(np.std([drop.points for drop in drops]))
    assert np.mean([drop.error for drop in drops]) == pytest.approx(spread, rel=0.06)


def test_agreement_of_classes() -> None:
    teacher, model = two_networks()
    images = images_of(200)
    differing = int((outputs(model, images).argmax(axis=1) != outputs(teacher, images).argmax(axis=1)).sum())
    assert differing > 0
    found = drop_from_teacher(model, teacher, images, PLAIN)
    assert (found.kind, found.images, found.points) == ("agreement", 200, pytest.approx(differing / 2))
    same = drop_from_teacher(teacher, teacher, images, PLAIN)
    assert same.points == 0 and same.error > 0
    assert str(same) == f"0.00 ± {same.error:.2f} points"


def test_an_image_without_a_class_is_lost() -> None:
    text = "net (float[B, 3, 8, 8] x) => (float[B, 4] y) { a = Flatten(x) b = MatMul(a, w) y = Log(b) }"
    model = loaded(models.build(text, w=-np.ones((192, 4), np.float32)))
    images = Images(images_of(20).pixels, np.zeros(20, np.int64))
    assert np.isnan(outputs(model, images)).all()
    assert not right_images(model, images, PLAIN).any()
    assert drop_from_teacher(model, model, images, PLAIN).points == 100


def test_the_error_of_outputs_is_relative_to_the_teachers() -> None:
    text = "net (float[batch, 6] x) => (float[batch, 6] y) { y = MatMul(x, w) }"
    weights = [models.sparse(6, 6, density=1.0, seed=seed) for seed in (0, 1)]
    model, teacher = (loaded(models.build(text, w=weight)) for weight in weights)
    x = np.random.default_rng(5).normal(size=(80, 6)).astype(np.float32)
    found = drop_from_teacher(model, teacher, Samples({"x": x}), PLAIN)
    errors = [float(np.abs(row @ weights[0] - row @ weights[1]).sum()) for row in x.astype(np.float64)]
    sizes = [float(np.abs(row @ weights[1]).sum()) for row in x.astype(np.float64)]
    ratio = sum(errors) / sum(sizes)
    assert (found.kind, found.images) == ("outputs", 80)
    assert found.points == pytest.approx(100 * ratio, rel=1e-4)
    spread = []
    for leave in range(len(x)):  # the jackknife knows no formula of a ratio
        rest = [i for i in range(len(x)) if i != leave]
        spread.append(sum(errors[i] for i in rest) / sum(sizes[i] for i in rest))
    jackknife = math.sqrt((len(x) - 1) * float(np.var(spread)))
    assert found.error == pytest.approx(100 * jackknife, rel=0.1)
