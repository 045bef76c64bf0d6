"""Images that a function of the user's makes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tightc.config.image_shape import ImageShape
from tightc.data.source import open_images
from tightc.errors import DataError

SHAPE = ImageShape(3, 4, 5)
MODULE = """
import numpy as np
from PIL import Image
from tightc.data.images import Images

def channels_last():
    return [(np.full((4, 5, 3), i, np.uint8), np.int64(i)) for i in range(3)]

def by_split(split):
    return channels_last()[: 1 if split == "test" else 2]

def pillow():
    return [(Image.new("L", (5, 4), 7), 1)]

def ready():
    return Images(np.zeros((2, 3, 4, 5), np.float32), np.array([0, 1]))

def dataset():
    import torch
    return torch.utils.data.TensorDataset(torch.ones(2, 3, 4, 5), torch.tensor([1, 0]))

def listed():
    return Images(np.full((2, 3, 4, 5), 255, np.int64), [0, 1])

def last(): return Images(np.zeros((2, 4, 5, 3), np.float64), np.array([1, 0], np.int32))
def scored(): return Images(np.zeros((2, 3, 4, 5)), np.array([0.5, 1.5]))
def nothing(): return []
def number(): return 3
def no_pairs(): return [1, 2]
def fraction(): return [(np.zeros((3, 4, 5)), 0.5)]
def negative(): return [(np.zeros((3, 4, 5)), -1)]
def ragged(): return [(np.zeros((3, 4, 5)), 0), (np.zeros((3, 4, 6)), 0)]
def words(): return [(np.full((3, 4, 5), "a"), 0)]
def large(): return [(np.zeros((3, 4, 6)), 0)]
def fails(): return 1 / 0
value = 3
"""


@pytest.fixture(autouse=True)
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`sets.own` in the current folder, and the list of imported modules as it was."""
    before, path = dict(sys.modules), list(sys.path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "own.py").write_text(MODULE)
    (tmp_path / "sets" / "broken.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    yield
    assert sys.path == path
    for name in set(sys.modules) - set(before):
        if name.split(".")[0] == "sets":
            del sys.modules[name]


def test_a_sequence_of_pairs() -> None:
    images = open_images("sets.own:channels_last", "test", SHAPE)
    assert images.pixels.shape == (3, 3, 4, 5) and images.pixels.dtype == np.uint8
    assert images.labels.tolist() == [0, 1, 2] == images.pixels[:, 0, 0, 0].tolist()


def test_the_split_is_passed_where_the_function_takes_it() -> None:
    assert [len(open_images("sets.own:by_split", split, SHAPE)) for split in ("train", "test")] == [2, 1]


def test_pillow_images_take_the_colors_of_the_network() -> None:
    assert open_images("sets.own:pillow", "test", SHAPE).pixels.shape == (1, 3, 4, 5)


def test_images_objects_are_accepted() -> None:
    assert len(open_images("sets.own:ready", "test", SHAPE)) == 2
    listed, last = (open_images(f"sets.own:{name}", "test", SHAPE) for name in ("listed", "last"))
    assert listed.pixels.dtype == np.uint8 and listed.labels.tolist() == [0, 1]
    assert last.pixels.shape == (2, 3, 4, 5) and last.pixels.dtype == np.float32
    assert listed.labels.dtype == last.labels.dtype == np.int64 and last.labels.tolist() == [1, 0]


def test_a_torch_dataset() -> None:
    pytest.importorskip("torch")
    images = open_images("sets.own:dataset", "test", SHAPE)
    assert images.pixels.dtype == np.float32 and images.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "sets.own:channel_last",
            "expected function channel_last in sets.own, got none; give one of its functions: .*channels_last",
        ),
        ("sets.own:value", "expected function value in sets.own, got none"),
        ("sets.gone:f", "expected module sets.gone, got none; install it, or run in its folder"),
        ("gone.own:f", "expected module gone, got none;"),
        ("sets.broken:f", "expected module a_module_that_is_not_there, which sets.broken imports, got none"),
        ("sets.own:number", r"expected a sequence of \(image, label\), got a int"),
        ("sets.own:nothing", "expected images, got none"),
        ("sets.own:no_pairs", r"item 0: expected a pair \(image, label\)"),
        ("sets.own:fraction", "image 0: expected an integer label, got 0.5"),
        ("sets.own:negative", "expected labels from 0, got -1 for image 0"),
        ("sets.own:ragged", r"image 1: expected the shape of image 0, \(3, 4, 5\), got \(3, 4, 6\)"),
        ("sets.own:words", "expected pixels, got <U1"),
        ("sets.own:large", "expected images of 3 x 4 x 5 .* got 3 x 4 x 6"),
        ("sets.own:scored", r"sets.own:scored: labels: expected one integer per image, got float64 \(2,\)"),
        ("sets.own:fails", r"it raised ZeroDivisionError: division by zero \(.*own.py, line \d+\)"),
    ],
)
def test_errors(name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_images(name, "test", SHAPE)
