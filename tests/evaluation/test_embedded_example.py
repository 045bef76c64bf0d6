"""The digits that come with the package, and the script that makes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tightc
from tightc.data.images import Normalization
from tightc.data.source import open_images
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.model.file import load_model
from tightc.model.layer_view.image_classifier import image_input

EXAMPLE = Path(tightc.__file__).parent / "example"
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_digits.py"


def test_the_network_knows_its_digits() -> None:
    model = load_model(EXAMPLE / "digits.onnx")
    shape = image_input(model.proto, model.origin).shape
    train, test = (open_images(str(EXAMPLE / "digits.npz"), split, shape) for split in ("train", "test"))
    assert (len(train), len(test)) == (1300, 497)
    assert np.bincount(test.labels).min() > 30
    assert evaluate(model, test, Normalization(), EvaluateOptions()).totals["accuracy"] > 99


def test_both_files_stay_small() -> None:
    assert sum((EXAMPLE / name).stat().st_size for name in ("digits.npz", "digits.onnx")) < 500_000


@pytest.fixture
def script() -> ModuleType:
    for needed in ("sklearn", "torch"):
        pytest.importorskip(needed)
    specification = importlib.util.spec_from_file_location("make_digits", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_script_makes_the_stored_data(script: ModuleType) -> None:
    made = script.make_data()
    with np.load(EXAMPLE / "digits.npz") as stored:
        assert sorted(stored.files) == sorted(made)
        for name, values in made.items():
            np.testing.assert_array_equal(stored[name], values)


def test_the_script_makes_the_stored_network_except_for_training(script: ModuleType) -> None:
    made, stored = script.make_network().proto, load_model(EXAMPLE / "digits.onnx").proto
    tensors = [{t.name: tuple(t.dims) for t in proto.graph.initializer} for proto in (made, stored)]
    assert tensors[0] == tensors[1]
    for proto in (made, stored):
        del proto.graph.initializer[:]
    assert made == stored
