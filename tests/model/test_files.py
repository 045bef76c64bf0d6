"""Reading and writing of model files: errors, and what stays the same."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from helpers import models
from tightc import files
from tightc.errors import ModelError, OutputError, TightcError
from tightc.files import write_file_atomically, write_files_atomically
from tightc.model.file import load_model, load_model_bytes, save_model
from tightc.model.history import read_history
from tightc.model.layer_view.layers import read_network


def test_a_file_comes_back_as_it_was(cnn_path: Path, tmp_path: Path) -> None:
    model = load_model(cnn_path)
    save_model(model, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == cnn_path.read_bytes()
    assert model.sha256 == hashlib.sha256(cnn_path.read_bytes()).hexdigest()
    assert model.origin == str(cnn_path)


def test_external_data_is_written_again(tmp_path: Path) -> None:
    path = models.save(models.cnn(), tmp_path / "two.onnx", external_data=True)
    model = load_model(path)
    assert model.external_data
    (tmp_path / "out").mkdir()
    save_model(model, tmp_path / "out" / "new.onnx")
    first, second = sorted(file.name for file in (tmp_path / "out").iterdir())
    digits = hashlib.sha256((tmp_path / "out" / second).read_bytes()).hexdigest()[:16]
    assert (first, second) == ("new.onnx", f"new.onnx.{digits}.data")
    again = onnx.load(tmp_path / "out" / "new.onnx")
    for one, other in zip(models.cnn().graph.initializer, again.graph.initializer, strict=True):
        assert one.name == other.name
        assert numpy_helper.to_array(one).tobytes() == numpy_helper.to_array(other).tobytes()
    onnx.checker.check_model(str(tmp_path / "out" / "new.onnx"), full_check=True)


def test_the_digest_covers_external_data(tmp_path: Path) -> None:
    path = models.save(models.cnn(), tmp_path / "two.onnx", external_data=True)
    before = load_model(path).sha256
    sidecar = tmp_path / "two.onnx.data"
    content = bytearray(sidecar.read_bytes())
    content[1] ^= 1
    sidecar.write_bytes(bytes(content))
    assert load_model(path).sha256 != before


def test_tensors_are_replaced_by_name_wherever_they_are() -> None:
    for form in ("matmul right", "weight in Constant"):
        model = load_model_bytes(models.FORMS[form]().SerializeToString())
        new = np.full((10, 6), 2.0, np.float32)
        changed = model.with_tensors({"w": new})
        assert read_network(changed).weights["w"].tolist() == new.tolist()
        assert read_network(model).weights["w"].tolist() != new.tolist()
        assert changed.sha256 != model.sha256


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty; export the model again, or check that the file was copied whole"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "not an ONNX model"),
        (b"hello, world", "not an ONNX model"),
        (b"PK\x03\x04" + bytes(100), "not an ONNX model"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: {words}")


def test_every_truncation_is_refused() -> None:
    content = models.gemm().SerializeToString()
    for length in range(len(content)):
        with pytest.raises(ModelError):
            read_network(load_model_bytes(content[:length]))


def test_damaged_bytes_never_give_anything_but_a_named_error() -> None:
    content = models.cnn().SerializeToString()
    rng = random.Random(0)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 2, 5])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            read_network(load_model_bytes(bytes(damaged)))
            outcomes.add("read")
        except TightcError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no.onnx: no such file; check the path of the model"):
        load_model(tmp_path / "no.onnx")
    with pytest.raises(ModelError, match=r"expected a regular file, got a folder; give the path of a file"):
        load_model(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = models.save(models.cnn(), tmp_path / "two.onnx", external_data=True)
    (tmp_path / "two.onnx.data").unlink()
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert str(caught.value) == (
        f"{path}: expected the weights in {tmp_path}/two.onnx.data, got no such file; "
        f"copy two.onnx.data into {tmp_path}"
    )


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    path = models.save(models.cnn(), tmp_path / "two.onnx", external_data=True)
    sidecar = tmp_path / "two.onnx.data"
    sidecar.write_bytes(sidecar.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"two.onnx"):
        load_model(path)


def test_external_data_does_not_fit_a_pipe(tmp_path: Path) -> None:
    path = models.save(models.cnn(), tmp_path / "two.onnx", external_data=True)
    words = r"<stdin>: the weights are in a second file \(two.onnx.data\), which a pipe does not carry; give the path"
    with pytest.raises(ModelError, match=words):
        load_model_bytes(path.read_bytes())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("form", ["gemm", "weight in Constant"])
def test_weights_that_are_not_finite_are_refused(form: str, dtype: str, value: float) -> None:
    proto = models.FORMS[form](dtype=dtype)
    name = "w"
    for _, tensor in models_constants(proto):
        if tensor.name == name or form == "weight in Constant":
            weight = numpy_helper.to_array(tensor).copy()
            if weight.ndim == 2:
                weight.flat[3] = value
                tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    with pytest.raises(
        ModelError, match=r"tensor w holds NaN or infinite values; train or export the model again"
    ):
        load_model_bytes(proto.SerializeToString())


def models_constants(proto: onnx.ModelProto):
    for tensor in proto.graph.initializer:
        yield tensor.name, tensor
    for node in proto.graph.node:
        if node.op_type == "Constant":
            yield node.output[0], node.attribute[0].t


def test_what_the_checker_refuses_is_refused_in_one_line() -> None:
    proto = models.cnn()
    proto.graph.node[0].op_type = "Relu"
    with pytest.raises(
        ModelError, match=r"the ONNX checker refuses it \(.*Relu.*\); export the model again"
    ) as caught:
        load_model_bytes(proto.SerializeToString())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["x", "{}", '[{"a": 1}]', "3", "null", "[1]", '"abc"'],
)
def test_a_malformed_history_is_refused_or_read(text: str) -> None:
    proto = models.cnn()
    proto.metadata_props.append(onnx.StringStringEntryProto(key="tightc.history", value=text))
    model = load_model_bytes(proto.SerializeToString())
    try:
        stages = read_history(model)
    except ModelError as fault:
        assert "tightc.history" in str(fault)
    else:
        assert all(isinstance(entry, dict) for entry in stages)


# --- atomic writes


def test_writing_replaces_a_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    write_file_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, broken, fail)
    words = r"f: cannot be written \(No space left on device\); free some space, or write elsewhere"
    with pytest.raises(OutputError, match=words):
        write_file_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_an_interrupt_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_wrong_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x.onnx: there is no folder .*no; make the folder first"):
        write_file_atomically(tmp_path / "no" / "x.onnx", b"")
    with pytest.raises(OutputError, match=r": is a folder; give the path of a file"):
        write_file_atomically(tmp_path, b"")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "open", refuse, raising=False)
    with pytest.raises(
        OutputError, match=r"cannot be written \(Permission denied\); write to another folder"
    ):
        write_file_atomically(tmp_path / "x", b"")


def test_an_interrupt_while_a_file_is_created_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(path: str, _: str) -> None:
        Path(path).touch(exist_ok=False)
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "open", made, raising=False)
    with pytest.raises(KeyboardInterrupt):
        write_file_atomically(tmp_path / "x", b"")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_model_with_external_data_is_replaced_atomically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = models.save(models.cnn(), tmp_path / "two.onnx", external_data=True)
    model = load_model(path)
    save_model(model, path)  # now the sidecar has the name that tightc gives
    before = sorted(os.listdir(tmp_path))
    zeros = {name: np.zeros_like(weight) for name, weight in read_network(model).weights.items()}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, broken, fail)
    words = r"two.onnx: cannot be written \(No space left on device\); free some space, or write elsewhere"
    with pytest.raises(OutputError, match=words):
        save_model(model.with_tensors(zeros), path)
    monkeypatch.undo()
    weights = read_network(load_model(path)).weights
    assert all(weight.any() for weight in weights.values())
    assert sorted(os.listdir(tmp_path)) == before


def failing_after_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rename but the first fails."""
    real, calls = os.replace, []

    def replace(*arguments: str) -> None:
        calls.append(arguments)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(files.os, "replace", replace)


def test_of_two_new_files_none_stays_if_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_after_one(monkeypatch)
    with pytest.raises(OutputError, match="No space left on device"):
        write_files_atomically({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert os.listdir(tmp_path) == []


def test_a_backup_that_cannot_be_restored_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")
    failing_after_one(monkeypatch)

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.shutil, "copy2", refuse)
    with pytest.raises(OutputError, match="old content cannot be put back") as caught:
        write_files_atomically({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert Path(caught.value.remedy.removeprefix("it is kept in ")).read_bytes() == b"old"


def test_a_disk_without_links_is_served_by_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", refuse)
    write_files_atomically({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_named_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file_atomically(path, b"new")
        assert stat.S_ISFIFO(path.stat().st_mode)
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)


def test_a_link_is_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_file_atomically(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
