"""Labels against the network's classes, and normalization."""

from __future__ import annotations

import numpy as np
import pytest

from tightc.data.images import Images, Normalization, check_labels
from tightc.errors import DataError, OptionError


def images(*labels: int, classes: tuple[str, ...] = ()) -> Images:
    return Images(np.zeros((len(labels), 3, 2, 2), np.uint8), np.array(labels, np.int64), classes)


def test_labels_within_the_classes_pass() -> None:
    check_labels(images(0, 9, 3), 10)


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ((0, 10), (), r"image 1: expected a label of the network's 10 classes \(0 to 9\), got 10"),
        ((0, 10), tuple("abcdefghijk"), r"image 1: .* got 10 \(k\)"),
        ((-1,), (), "image 0: .* got -1"),
    ],
)
def test_a_label_outside_the_classes(labels: tuple[int, ...], classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_labels(images(*labels, classes=classes), 10)


def test_bytes_are_scaled_and_floats_are_not() -> None:
    pixels = np.full((1, 3, 1, 1), 51, np.uint8)
    by_channel = Normalization((0.1, 0.2, 0.0), (0.1, 1.0, 2.0)).apply(pixels)
    np.testing.assert_allclose(by_channel[0, :, 0, 0], [1.0, 0.0, 0.1], atol=1e-6)
    assert by_channel.dtype == np.float32
    np.testing.assert_allclose(Normalization((1.0,), (10.0,)).apply(pixels.astype(np.float32)), 5.0)


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        ((0.0,), (0.0,), r"std: expected numbers above 0, got \("),
        ((0.0,), (1.0, -1.0, 1.0), r"std: expected numbers above 0, got \("),
        ((float("nan"),), (1.0,), r"mean: expected finite numbers, got \("),
        ((), (1.0,), r"mean: expected finite numbers, got \("),
        ((0.0, 0.0), (1.0,), r"mean: expected one number, or one per channel \(3\), got 2"),
        ((0.0,), (1.0,) * 4, r"std: expected one number, or one per channel \(3\), got 4"),
    ],
)
def test_invalid_normalization(mean: tuple[float, ...], std: tuple[float, ...], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Normalization(mean, std).apply(images(0).pixels)
