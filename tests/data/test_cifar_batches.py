"""CIFAR-10's pickled batches, as published, as pickled anew, and as an attacker writes them."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.config.image_shape import ImageShape
from tightc.data.pickled_arrays import read_pickled_arrays
from tightc.data.source import open_images
from tightc.errors import DataError

SHAPE = ImageShape(3, 32, 32)
NAMES = ["airplane", "automobile"]


def batch(number: int) -> dict[str, Any]:
    data = np.random.default_rng(number).integers(0, 256, (2, 3072), dtype=np.uint8)
    return {"data": data, "labels": [number % 2, 1], "filenames": ["a.png", "b.png"]}


def batch_bytes(number: int) -> bytes:
    """As Python 2 wrote it: the array's bytes and the keys are byte strings, which protocol 2 passes by _codecs."""
    return pickle.dumps({key.encode(): value for key, value in batch(number).items()}, protocol=2)


def contents() -> dict[str, bytes]:
    files = {f"data_batch_{number}": batch_bytes(number) for number in range(1, 6)}
    return {**files, "test_batch": batch_bytes(6), "batches.meta": pickle.dumps({"label_names": NAMES}, 2)}


def write_batches(folder: Path, files: dict[str, bytes]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return str(folder)


@pytest.mark.parametrize("form", ["folder", "parent", "archive"])
def test_both_splits(form: str, tmp_path: Path) -> None:
    folder = Path(write_batches(tmp_path / "set" / "cifar-10-batches-py", contents()))
    source = folder if form == "folder" else folder.parent
    if form == "archive":
        source = tmp_path / "cifar-10-python.tar.gz"
        with tarfile.open(source, "w:gz") as tar:
            tar.add(folder, "cifar-10-batches-py")
    train, test = (open_images(str(source), split, SHAPE) for split in ("train", "test"))
    assert train.labels.tolist() == [1, 1, 0, 1, 1, 1, 0, 1, 1, 1] and test.labels.tolist() == [0, 1]
    assert train.pixels.shape == (10, 3, 32, 32) and train.classes == tuple(NAMES)
    np.testing.assert_array_equal(test.pixels.reshape(2, -1), batch(6)["data"])


def test_a_batch_written_by_python_2(tmp_path: Path) -> None:
    # What Python 2 writes: protocol 0 or 2 with numpy.core and byte strings, here opcode by opcode.
    data = bytes(range(256)) * 12
    stream = io.BytesIO()
    stream.write(
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    )
    stream.write(b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN")
    stream.write(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + len(data).to_bytes(4, "little") + data)
    stream.write(b"tbU\x06labels](K\x07eu.")
    images = open_images(write_batches(tmp_path, {"test_batch": stream.getvalue()}), "test", SHAPE)
    assert images.labels.tolist() == [7] and images.pixels.tobytes() == data


class Evil:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps(Evil(os.system, "touch run-by-the-pickle")), "imports posix.system"),
        (pickle.dumps(Evil(eval, "1")), "imports builtins.eval"),
        (pickle.dumps(Evil(np.ndarray, (1,), "O", b"12345678")), "calls numpy.ndarray"),
        (pickle.dumps({"data": np.array([print]), "labels": [1]}), "holds arrays of O8"),
        (pickle.dumps(batch(1))[:100], "expected a pickle, got a corrupt one"),
        (b"text", "expected a pickle, got a corrupt one"),
        (b"}r\xff\xff\xff\x7fr\xfe\xff\xff\x7f.", r"got nothing"),
        (b"(" * 200_000 + b"l." * 200_000, "expected a dictionary, got a list"),
        (b"\x80\x02B\xff\xff\xff\x7fabc.", "got a corrupt one"),
        (b"J\0\0\0\0QN.", "uses BINPERSID"),
        (b"(K\x01i__main__\nEvil\n.", "uses INST"),
        (b"}(](K\x01eK\x02u.", "a key is no text"),
        (b"}" + b"0" * 5, "uses POP"),
        (b"}aaa.", "got a corrupt one"),
        (pickle.dumps({"labels": [1], "data": np.zeros((1, 3072))}), "got data, labels"),
        (
            pickle.dumps({"labels": [2**70, -(2**63)], "data": np.zeros((2, 3072), np.uint8)}, 2),
            "per integer label",
        ),
        (pickle.dumps({b"\xff": 1}, 2), "expected data"),
        (b"", "expected a pickle, got a corrupt one"),
        (pickle.dumps([1]), "expected a dictionary, got a list"),
        (pickle.dumps({"labels": [1]}, 2), r"expected data \(uint8\) and labels \(list\), got labels"),
        (pickle.dumps({"data": batch(1)["data"], "labels": [1]}, 2), "2 x 3072 for 1 labels"),
        (pickle.dumps({"data": batch(1)["data"][:, :99], "labels": [1, 1]}, 2), "2 x 99 for 2 labels"),
        (
            pickle.dumps({"data": batch(1)["data"], "labels": [1, "cat"]}, 2),
            "expected 3072 values per integer label",
        ),
    ],
)
def test_hostile_and_broken_batches(
    content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"test_batch: .*({said})"):
        open_images(write_batches(tmp_path / "set", {"test_batch": content}), "test", SHAPE)
    assert not (tmp_path / "run-by-the-pickle").exists()


def test_a_missing_batch(tmp_path: Path) -> None:
    files = contents()
    del files["data_batch_3"]
    with pytest.raises(
        DataError, match="expected all CIFAR-10 batches of the split, got none of data_batch_3"
    ):
        open_images(write_batches(tmp_path, files), "train", SHAPE)


def test_another_input_size(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected images of 1 x 28 x 28 .* got 3 x 32 x 32"):
        open_images(write_batches(tmp_path, contents()), "test", ImageShape(1, 28, 28))


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("columns", [False, True])
def test_every_protocol_reads_as_pickle_reads_it(protocol: int, columns: bool) -> None:
    numbers = np.arange(12, dtype=">i4").reshape(3, 4)
    value = {
        "data": np.asfortranarray(numbers) if columns else numbers,
        "texts": ["a", b"b", "", "é"],
        "numbers": [0, 255, 2**16, -1, 2**40, -(2**80), 1.5, True, False, None],
        "nested": {"pairs": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "same": ["x", "x"]},
    }
    found = read_pickled_arrays(pickle.dumps(value, protocol))
    np.testing.assert_array_equal(found.pop("data"), value.pop("data"))
    assert found == value


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_refused_or_read(data: st.DataObject) -> None:
    content = bytearray(batch_bytes(1))
    start = content.index(b"labels") if data.draw(st.booleans()) else 0
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(start, start + 200), st.integers(0, len(content) - 1)))
        content[at % len(content)] = data.draw(st.sampled_from([ord(op.code) for op in pickletools.opcodes]))
    with TemporaryDirectory() as folder, contextlib.suppress(DataError):
        open_images(write_batches(Path(folder), {"test_batch": bytes(content)}), "test", SHAPE)


@pytest.mark.parametrize("names", [3, [3], {"a": 1}])
def test_names_that_are_no_texts(names: Any, tmp_path: Path) -> None:
    files = {**contents(), "batches.meta": pickle.dumps({"label_names": names}, 2)}
    with pytest.raises(
        DataError, match=r"batches\.meta: expected label_names as a list of texts, got others"
    ):
        open_images(write_batches(tmp_path, files), "test", SHAPE)
