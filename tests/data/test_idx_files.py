"""MNIST's IDX files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tightc.config.image_shape import ImageShape
from tightc.data.source import open_images
from tightc.errors import DataError

SHAPE = ImageShape(1, 4, 5)
PIXELS = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([2, 0, 1], np.uint8)


def idx(values: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def write_idx(folder: Path, prefix: str, count: int = 3, suffix: str = "", dot: str = "-") -> Path:
    pack = gzip.compress if suffix == ".gz" else bytes
    images = folder / f"{prefix}-images{dot}idx3-ubyte{suffix}"
    images.write_bytes(pack(idx(PIXELS[:count])))
    (folder / f"{prefix}-labels{dot}idx1-ubyte{suffix}").write_bytes(pack(idx(LABELS[:count])))
    return images


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("test_prefix", ["t10k", "test"])
def test_a_folder_of_both_splits(suffix: str, dot: str, test_prefix: str, tmp_path: Path) -> None:
    write_idx(tmp_path, "train", 3, suffix, dot)
    write_idx(tmp_path, test_prefix, 2, suffix, dot)
    train, test = (open_images(str(tmp_path), split, SHAPE) for split in ("train", "test"))
    np.testing.assert_array_equal(train.pixels[:, 0], PIXELS)
    assert train.labels.tolist() == [2, 0, 1] and test.labels.tolist() == [2, 0]


def test_one_file_serves_both_splits_also_next_to_its_gz(tmp_path: Path) -> None:
    source = write_idx(tmp_path, "train")
    write_idx(tmp_path, "train", suffix=".gz")
    for path in (source, tmp_path):
        assert [len(open_images(str(path), split, SHAPE)) for split in ("train", "test")] == [3, 3]


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (idx(PIXELS), None, "expected labels in .*labels-idx1-ubyte or .*labels-idx1-ubyte.gz, got neither"),
        (idx(PIXELS), idx(LABELS[:2]), "expected one label per image"),
        (idx(PIXELS)[:-1], idx(LABELS), "expected 3 x 4 x 5 values, got 59"),
        (idx(PIXELS)[:7], idx(LABELS), "expected an IDX file of unsigned bytes in 3 dimensions"),
        (b"", idx(LABELS), "expected an IDX file"),
        (idx(PIXELS), idx(PIXELS), "expected an IDX file of unsigned bytes in 1 dimensions"),
        (b"\0\0\x0d" + idx(PIXELS)[3:], idx(LABELS), "expected an IDX file of unsigned bytes"),
        (idx(PIXELS[:, :3]), idx(LABELS), "expected images of 1 x 4 x 5 .* got 1 x 3 x 5"),
        (idx(PIXELS[:0]), idx(LABELS[:0]), "expected images, got none"),
    ],
)
def test_errors(images: bytes, labels: bytes | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(images)
    if labels is not None:
        (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(DataError, match=said):
        open_images(str(tmp_path), "test", SHAPE)


@pytest.mark.parametrize("damage", ["truncated", "other"])
def test_a_corrupt_gz(damage: str, tmp_path: Path) -> None:
    path = write_idx(tmp_path, "train", suffix=".gz")
    path.write_bytes(path.read_bytes()[:-12] if damage == "truncated" else b"text")
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte\.gz: expected a \.gz file, got a corrupt one"
    ):
        open_images(str(path), "train", SHAPE)


def test_two_files_for_one_split(tmp_path: Path) -> None:
    write_idx(tmp_path, "train")
    write_idx(tmp_path, "emnist-train")
    with pytest.raises(
        DataError, match=r"expected one file of images for the train split, got emnist-train.*, train"
    ):
        open_images(str(tmp_path), "train", SHAPE)
