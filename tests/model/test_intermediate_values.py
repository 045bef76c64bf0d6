"""Intermediate values of a model by onnxruntime, and its feeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers import models
from helpers.loading import loaded
from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import DataError, ModelError
from tightc.model.intermediate_values import intermediate_values, limited_values, random_feeds, read_feeds

ONE = InputSizeOptions()


def of_all_kinds() -> onnx.ModelProto:
    """Inputs of several dtypes; one is an initializer too, which needs no feed."""
    proto = models.build(
        """net (double[B, 2] x, float16[B, 2] h, int64[B, 2] i, bool[B, 2] f, float[2] c) => (double[B, 2] y) {
            a = Cast<to = 11>(h)
            b = Cast<to = 11>(i)
            d = Cast<to = 11>(f)
            e = Cast<to = 11>(c)
            y = Sum(x, a, b, d, e)
        }""",
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(2, np.float32), "c"))
    return proto


# --- intermediate_values


def test_values_of_every_node_are_those_of_onnxruntime() -> None:
    proto = models.cnn()
    feeds = models.feeds(proto)
    names = ["f", "a", "logits", "c"]
    found = intermediate_values(loaded(proto), names, feeds)
    assert list(found) == ["image", *names]
    assert found["image"] is feeds["image"]
    every = onnx.ModelProto()
    every.CopyFrom(proto)
    every.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in names if name != "logits"
    )
    session = onnxruntime.InferenceSession(every.SerializeToString(), providers=["CPUExecutionProvider"])
    for name, value in zip(names, session.run(names, feeds), strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


def test_an_input_may_be_asked_for_and_a_name_twice() -> None:
    feeds = models.feeds(models.cnn())
    found = intermediate_values(loaded(models.cnn()), ["image", "a", "a", "image"], feeds)
    assert set(found) == {"image", "a"}
    assert intermediate_values(loaded(models.cnn()), ["image"], feeds) == feeds
    assert intermediate_values(loaded(models.cnn()), [], feeds) == feeds


def test_the_model_stays_as_it_is() -> None:
    model = loaded(models.cnn())
    before = model.to_bytes()
    intermediate_values(model, ["a", "c"], models.feeds(models.cnn()))
    assert model.to_bytes() == before


@pytest.mark.parametrize(
    "image",
    [np.zeros((1, 3, 9), np.float32), np.zeros((1, 3, 8, 8), np.float64)],
    ids=["another shape", "another dtype"],
)
def test_what_does_not_run_is_an_error_that_names_the_model(image: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"^net\.onnx: onnxruntime cannot run it \("):
        intermediate_values(loaded(models.cnn()), ["a"], {"image": image})


def test_a_value_that_is_not_there() -> None:
    with pytest.raises(ModelError, match=r"^net\.onnx: onnxruntime cannot load it \("):
        intermediate_values(loaded(models.cnn()), ["nothing"], models.feeds(models.cnn()))


# --- random_feeds


def test_random_feeds_fit_the_model_and_the_input_sizes() -> None:
    found = random_feeds(loaded(of_all_kinds()), InputSizeOptions(batch=3), 0)
    assert {name: (value.dtype.name, value.shape) for name, value in found.items()} == {
        "x": ("float64", (3, 2)), "h": ("float16", (3, 2)), "i": ("int64", (3, 2)), "f": ("bool", (3, 2)),
    }  # fmt: skip
    assert found["x"].all() and found["h"].all() and not found["i"].any() and not found["f"].any()
    assert intermediate_values(loaded(of_all_kinds()), ["y"], found)["y"].shape == (3, 2)


def test_random_feeds_are_normal_and_by_seed() -> None:
    proto = models.build("net (float[100, 100] x) => (float[100, 100] y) { y = Relu(x) }")
    one, again, other = (random_feeds(loaded(proto), ONE, seed)["x"] for seed in (5, 5, 6))
    assert one.tobytes() == again.tobytes() != other.tobytes()
    assert abs(one.mean()) < 0.05 and abs(one.std() - 1) < 0.05


def test_open_sizes_come_from_the_input_sizes_or_are_refused() -> None:
    proto = models.build("net (float[B, S, 3] x) => (float[B, S, 3] y) { y = Relu(x) }")
    shaped = InputSizeOptions(input_shape=("x=2x7x3",))
    assert random_feeds(loaded(proto), shaped, 0)["x"].shape == (2, 7, 3)
    with pytest.raises(ModelError, match=r"the size of input x is open \(1xSx3\)"):
        random_feeds(loaded(proto), ONE, 0)


# --- read_feeds


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in.npz"


def test_feeds_are_read_in_the_dtype_of_the_model(file: Path) -> None:
    rng = np.random.default_rng(0)
    stored = {name: rng.integers(0, 2, (3, 2)) for name in ("i", "f", "x", "h")}
    np.savez(file, **stored, unused=np.zeros(9))
    found = read_feeds(str(file), loaded(of_all_kinds()), InputSizeOptions(batch=3))
    assert {name: value.dtype.name for name, value in found.items()} == {
        "x": "float64", "h": "float16", "i": "int64", "f": "bool",
    }  # fmt: skip
    assert all((found[name] == stored[name]).all() for name in found)


def test_a_path_may_begin_at_home(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    np.savez(file, image=np.ones((1, 3, 8, 8)))
    assert read_feeds("~/in.npz", loaded(models.cnn()), ONE)["image"].all()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("x", "expected an array for input x, got h, i, f; add x"),
        ("f", "expected an array for input f, got x, h, i; add f"),
    ],
)
def test_every_input_needs_an_array(file: Path, missing: str, words: str) -> None:
    stored = {name: np.zeros((1, 2)) for name in ("x", "h", "i", "f") if name != missing}
    np.savez(file, **stored)
    with pytest.raises(DataError) as caught:
        read_feeds(str(file), loaded(of_all_kinds()), ONE)
    assert str(caught.value) == f"{file}: {words}"


@pytest.mark.parametrize(
    ("shape", "shown"), [((2, 2), "2x2"), ((1, 2, 1), "1x2x1"), ((2,), "2"), ((1, 0), "1x0")]
)
def test_shapes_have_to_be_those_of_the_model(file: Path, shape: tuple[int, ...], shown: str) -> None:
    proto = models.build("net (float[B, 2] x) => (float[B, 2] y) { y = Relu(x) }")
    np.savez(file, x=np.zeros(shape))
    with pytest.raises(DataError) as caught:
        read_feeds(str(file), loaded(proto), ONE)
    assert str(caught.value) == f"{file}: expected 1x2 for x, got {shown}; correct the array, or give --batch"


@pytest.mark.parametrize("bounded", [True, False])
def test_limited_values_are_those_without_limits(bounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(models.cnn())
    feeds = random_feeds(model, InputSizeOptions(), 0)
    monkeypatch.setattr("tightc.model.intermediate_values.runs_within_bounds", lambda _: bounded)
    found, wanted = limited_values(model, ["a", "c"], feeds), intermediate_values(model, ["a", "c"], feeds)
    for name in ("a", "c"):
        np.testing.assert_array_equal(found[name], wanted[name])


def test_limited_values_are_tensors_of_numbers() -> None:
    proto = models.cnn()
    proto.graph.node.add(op_type="SequenceConstruct", input=["a"], output=["list"])
    model = loaded(proto)
    with pytest.raises(
        ModelError, match=r"net\.onnx: expected tensors of numbers, got others; export the model ag"
    ):
        limited_values(model, ["list"], random_feeds(model, InputSizeOptions(), 0))
