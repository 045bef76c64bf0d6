"""Arrays for the inputs of a network: from .npz files, mappings and functions; and images without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tightc.config.input_spec import InputSpec
from tightc.data.images import Images
from tightc.data.options import DataOptions
from tightc.data.samples import Samples, integer_labels, samples_of
from tightc.data.source import open_data
from tightc.data.validation_split import split_validation
from tightc.errors import DataError, OptionError

IDS = InputSpec("ids", "int64", (None, 4))
MASK = InputSpec("mask", "float32", (None, None))
VECTOR = InputSpec("vector", "float32", (None, 3))
PICTURE = InputSpec("picture", "float32", (None, 1, 4, 6))
HALF = InputSpec("picture", "float16", (None, 1, 4, 6))
TOKENS = {"ids": np.arange(8).reshape(2, 4), "mask": np.ones((2, 9), np.float32)}


def saved(tmp_path: Path, **arrays: Any) -> str:
    np.savez(tmp_path / "set.npz", **arrays)
    return str(tmp_path / "set.npz")


def test_arrays_are_found_by_the_names_of_the_inputs(tmp_path: Path) -> None:
    found = open_data(saved(tmp_path, **TOKENS, labels=[1, 0]), "test", (IDS, MASK))
    assert isinstance(found, Samples)
    assert list(found.inputs) == ["ids", "mask"] and (len(found), found.parts) == (2, 1)
    assert found.inputs["ids"].dtype == np.int64 and found.inputs["ids"].tolist() == TOKENS["ids"].tolist()
    assert integer_labels(found, "set").tolist() == [1, 0]


def test_arrays_of_a_split_are_preferred(tmp_path: Path) -> None:
    source = saved(tmp_path, vector_train=np.zeros((5, 3)), vector_test=np.ones((2, 3)), y_test=[0, 1])
    train, test = (open_data(source, split, (VECTOR,)) for split in ("train", "test"))
    assert isinstance(train, Samples) and isinstance(test, Samples)
    assert (len(train), len(test)) == (5, 2)
    assert train.labels is None and test.labels is not None
    assert test.inputs["vector"].dtype == np.float32


def test_one_axis_more_is_several_rows_per_sample() -> None:
    recordings = np.arange(2 * 5 * 3.0).reshape(2, 5, 3)
    found = samples_of({"vector": recordings, "y": np.array([1, 0])}, (VECTOR,), "arrays")
    assert (len(found), found.rows, found.parts) == (2, 10, 5)
    assert found.inputs["vector"].tolist() == recordings.reshape(10, 3).tolist()
    second = found.chosen(np.array([False, True]))
    assert second.inputs["vector"].tolist() == recordings[1].tolist()
    assert second.labels is not None and second.labels.tolist() == [0]


def test_samples_are_split_whole() -> None:
    found = samples_of({"vector": np.repeat(np.arange(6.0), 6).reshape(6, 2, 3)}, (VECTOR,), "arrays")
    train, held_out = split_validation(found, 2)
    assert (len(train), len(held_out)) == (4, 2)
    values = [set(part.inputs["vector"][:, 0].tolist()) for part in (train, held_out)]
    assert values[0] | values[1] == set(range(6)) and not values[0] & values[1]


@pytest.mark.parametrize(
    ("arrays", "inputs", "said"),
    [
        (
            {"ids": TOKENS["ids"]},
            (IDS, MASK),
            r"array for each input of the network \(ids, mask\), got ids; add mask",
        ),
        ({"a": np.ones(3)}, (VECTOR,), r"array for each input of the network \(vector\), got none|got a"),
        (
            {"vector": np.ones((2, 4))},
            (VECTOR,),
            r"expected vector \(float32, any x 3\), samples first, got 2 x 4",
        ),
        ({"vector": np.float32(1)}, (VECTOR,), "samples first, got one number; correct the shape of vector"),
        ({"vector": np.ones((0, 3))}, (VECTOR,), "expected samples, got none"),
        ({"vector": np.full((2, 3), np.nan)}, (VECTOR,), "expected numbers for vector, got NaN in sample 0"),
        ({"vector": np.array([["a"] * 3])}, (VECTOR,), "expected float32 for vector, got <U1"),
        ({"ids": np.ones((2, 4))}, (IDS,), "expected int64 for ids, got float64; convert ids with astype"),
        (
            {"ids": np.full((1, 4), 2**63, np.uint64)},
            (IDS,),
            "expected int64 for ids, got uint64 values beyond it",
        ),
        (
            {"ids": TOKENS["ids"], "mask": np.ones((3, 2))},
            (IDS, MASK),
            "expected as many samples of mask as of ids, 2, got 3",
        ),
        (
            {"vector": np.ones((2, 3)), "y": np.ones(3)},
            (VECTOR,),
            r"expected one label per sample, 2, got float64 \(3,\)",
        ),
    ],
)
def test_errors(arrays: dict[str, Any], inputs: tuple[InputSpec, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        samples_of(arrays, inputs, "arrays")
    with pytest.raises(DataError, match=said):
        open_data(saved(tmp_path, **arrays), "test", inputs)


@pytest.mark.parametrize("labels", [None, np.ones(2), np.ones((2, 2), int)])
def test_labels_that_are_no_class_numbers(labels: np.ndarray | None) -> None:
    with pytest.raises(DataError, match="set: expected one integer per sample as label, got"):
        integer_labels(Samples({"vector": np.ones((2, 3))}, labels), "set")


@pytest.mark.parametrize("spec", [PICTURE, HALF])
def test_images_of_an_npz_are_images_with_or_without_labels(spec: InputSpec, tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(2, 1, 4, 6)
    alone = open_data(saved(tmp_path, x=pixels), "test", (spec,), labeled=False)
    assert isinstance(alone, Images) and alone.labels is None and len(alone) == 2
    with pytest.raises(DataError, match="expected images with labels, got images without"):
        open_data(saved(tmp_path, x=pixels), "test", (spec,))
    both = open_data(saved(tmp_path, x=pixels, y=[1, 0], picture=pixels), "test", (spec,))
    assert isinstance(both, Images) and both.labels is not None and both.labels.tolist() == [1, 0]
    named = open_data(saved(tmp_path, picture=pixels.astype(float)), "test", (spec,))
    assert isinstance(named, Samples) and named.inputs["picture"].dtype == spec.dtype


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), value, np.uint8)).save(path)


@pytest.mark.parametrize("names", [("b.png", "a.png"), ("train/b.png", "train/a.png", "test/c.png")])
def test_a_folder_of_images_without_class_folders(names: tuple[str, ...], tmp_path: Path) -> None:
    for value, name in enumerate(names):
        picture(tmp_path / "set" / name, value)
    found = open_data(str(tmp_path / "set"), "train", (PICTURE,), labeled=False)
    assert isinstance(found, Images) and found.labels is None
    assert found.pixels[:, 0, 0, 0].tolist() == [1, 0]


def test_class_folders_give_labels_all_the_same(tmp_path: Path) -> None:
    for value, name in enumerate(("dog/b.png", "cat/a.png")):
        picture(tmp_path / name, value)
    found = open_data(str(tmp_path), "train", (PICTURE,), labeled=False)
    assert isinstance(found, Images) and found.labels is not None and found.labels.tolist() == [0, 1]


def test_a_function_may_return_a_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mapping_source.py").write_text(
        "import numpy as np\ndef data(split): return {'vector': np.ones((4, 3)), 'y': np.arange(4)}\n"
        "def images(): return [(np.ones((4, 6), np.uint8), 0)]\n"
    )
    monkeypatch.chdir(tmp_path)
    found = open_data("mapping_source:data", "train", (VECTOR,))
    assert isinstance(found, Samples) and len(found) == 4
    with pytest.raises(
        DataError, match=r"expected an array for each input of the network \(vector\), got images"
    ):
        open_data("mapping_source:images", "train", (VECTOR,))
    assert isinstance(open_data("mapping_source:images", "train", (PICTURE,)), Images)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_a_normalization_of_samples_is_refused(name: str, tmp_path: Path) -> None:
    options = DataOptions(data=saved(tmp_path, vector=np.ones((2, 3))), **{name: (0.5,)})
    with pytest.raises(OptionError, match=f"--{name}: expected images, got arrays for the inputs"):
        options.open_for("train", (VECTOR,))


@pytest.mark.parametrize(
    ("spec", "arrays", "message"),
    [
        (PICTURE, {"x_train": np.zeros((2, 1, 4, 6)), "y_train": [0, 1]},
         "expected x_test, the test split, got x_train, y_train; add x_test"),
        (VECTOR, {"vector_train": np.zeros((2, 3)), "y_train": [0, 1]},
         "expected vector_test, the test split, got vector_train, y_train; add vector_test"),
    ],
)  # fmt: skip
def test_the_other_split_alone(tmp_path: Path, spec: InputSpec, arrays: dict[str, Any], message: str) -> None:
    source = saved(tmp_path, **arrays)
    with pytest.raises(DataError) as fault:
        open_data(source, "test", (spec,))
    assert str(fault.value) == f"{source}: {message} and y_test"
    assert len(open_data(source, "train", (spec,))) == 2
