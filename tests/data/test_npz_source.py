"""Arrays in .npz files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tightc.config.image_shape import ImageShape
from tightc.data.source import open_images
from tightc.errors import DataError

SHAPE = ImageShape(3, 4, 5)
NCHW = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
LABELS = np.array([1, 0])


def saved(tmp_path: Path, **arrays: Any) -> str:
    np.savez(tmp_path / "set.npz", **arrays)
    return str(tmp_path / "set.npz")


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_layouts_and_types(axes: tuple[int, ...], dtype: Any, tmp_path: Path) -> None:
    images = open_images(saved(tmp_path, x=NCHW.transpose(axes).astype(dtype), y=LABELS), "test", SHAPE)
    assert images.pixels.dtype == (np.uint8 if np.issubdtype(dtype, np.integer) else np.float32)
    assert images.pixels.flags.c_contiguous
    np.testing.assert_array_equal(images.pixels, NCHW)
    assert images.labels.tolist() == [1, 0] and images.labels.dtype == np.int64 and images.classes == ()


def test_grey_images_need_no_channel_axis_and_labels_may_be_a_column(tmp_path: Path) -> None:
    source = saved(tmp_path, x=NCHW[:, 0], y=LABELS[:, None].astype(np.uint8))
    images = open_images(source, "train", ImageShape(1, 4, 5))
    np.testing.assert_array_equal(images.pixels, NCHW[:, :1])


def test_splits_come_before_the_plain_arrays(tmp_path: Path) -> None:
    source = saved(tmp_path, x_train=NCHW, y_train=LABELS, x=NCHW[:1], y=LABELS[:1])
    assert [len(open_images(source, split, SHAPE)) for split in ("train", "test")] == [2, 1]


HOLED = NCHW.astype(np.float32)
HOLED[1, 2, 3, 4] = np.nan


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"x": NCHW, "labels": LABELS},
            "expected arrays x_test and y_test, or x and y, got labels, x|got x, labels",
        ),
        ({"x_train": NCHW, "y_train": LABELS}, "or x and y, got x_train, y_train"),
        ({}, "or x and y, got none"),
        (
            {"x": NCHW, "y": LABELS[:1]},
            r"expected one label per image, got images \(2, 3, 4, 5\) and labels \(1,\)",
        ),
        ({"x": NCHW[:0], "y": LABELS[:0]}, "expected images, got none"),
        ({"x": NCHW[0, 0], "y": LABELS}, "x: expected 3 or 4 dimensions, got 2"),
        ({"x": NCHW[..., :4], "y": LABELS}, "expected images of 3 x 4 x 5 .* got 3 x 4 x 4"),
        ({"x": NCHW[:, :2], "y": LABELS}, "expected images of 3 x 4 x 5 .* got 2 x 4 x 5"),
        ({"x": HOLED, "y": LABELS}, "expected finite pixels, got NaN or infinity in image 1"),
        ({"x": NCHW.astype(np.int16) - 1, "y": LABELS}, "x: expected pixels, got int16 values outside"),
        ({"x": NCHW > 3, "y": LABELS}, "x: expected pixels, got bool"),
        ({"x": NCHW, "y": LABELS - 1}, "expected labels from 0, got -1 for image 1"),
        ({"x": NCHW, "y": LABELS / 2}, "y: expected one integer per image, got float64"),
        ({"x": NCHW, "y": np.array(["cat", "dog"])}, "y: expected one integer per image, got <U3"),
        ({"x": NCHW, "y": np.eye(2, dtype=int)}, r"y: expected one integer per image, got int64 \(2, 2\)"),
        ({"x": NCHW, "y": np.array([print, len])}, "expected a .npz file of plain arrays, got"),
    ],
)
def test_errors(arrays: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        open_images(saved(tmp_path, **arrays), "test", SHAPE)


@pytest.mark.parametrize("content", [b"", b"text", "truncated", "npy", "damaged"])
def test_broken_files(content: bytes | str, tmp_path: Path) -> None:
    path = Path(saved(tmp_path, x=NCHW, y=LABELS))
    if content == "npy":
        with path.open("wb") as stream:
            np.save(stream, NCHW)
    elif content == "damaged":
        content = bytearray(path.read_bytes())
        content[200] ^= 255
        path.write_bytes(content)
    else:
        path.write_bytes(path.read_bytes()[:300] if content == "truncated" else content)
    with pytest.raises(DataError, match=r"set\.npz: expected a \.npz file of plain arrays, got"):
        open_images(str(path), "test", SHAPE)
