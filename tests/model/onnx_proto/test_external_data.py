"""A reader sees the old model or the new one, whenever a writer is suspended or killed."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers import models
from helpers.products import chain_of
from tightc import files
from tightc.errors import ModelError, OutputError
from tightc.model.file import Model, load_model, save_model, writes_external_data
from tightc.model.onnx_proto import external_data

fcntl = pytest.importorskip("fcntl")
PATIENCE = 60  # seconds to wait for what takes a few milliseconds
# all calls by which a writer reads or changes files
CALLS = (
    *((os, name) for name in ("open", "link", "replace", "unlink", "fsync", "listdir", "stat", "fstat")),
    (fcntl, "flock"), (files, "open"), (external_data, "open"), (Path, "read_bytes"),
)  # fmt: skip
Step = Callable[[], None]


def model_of(number: int) -> Model:
    """A model in two files; the number is in its weights and in its graph."""
    proto = models.gemm()
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "w")
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full((9, 50), number, np.float32), "w"))
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "c")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.zeros(50, np.float32), "c"))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 50
    proto.metadata_props.append(onnx.StringStringEntryProto(key="number", value=str(number)))
    return Model(proto, "made here", external_data=True)


OLD, ONE, OTHER = map(model_of, range(3))


@contextmanager
def counted(act: Callable[[int], None]):
    """Call `act` with the number of each call before the call."""
    count, patch = [0], pytest.MonkeyPatch()

    def hooked(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **settings: object) -> object:
            count[0] += 1
            act(count[0])
            return real(*arguments, **settings)

        return call

    for owner, name in CALLS:
        patch.setattr(owner, name, hooked(getattr(owner, name, open)), raising=False)
    try:
        yield count
    finally:
        patch.undo()


def writer(model: Model, path: Path, at: int = 0, sent: int = 0) -> int:
    """The process id of a writer of `model` that sends itself a signal before its call number `at`."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(PATIENCE)
        with counted(lambda number: os.kill(os.getpid(), sent) if number == at else None):
            save_model(model, path)
        code = 0
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def calls_of(model: Model, path: Path) -> int:
    with counted(lambda _: None) as count:
        save_model(model, path)
    return count[0]


def seen(path: Path) -> Model | None:
    """The one of the three models that a reader sees."""
    if not path.exists():
        return None
    found = load_model(path).to_bytes()
    (whole,) = (model for model in (OLD, ONE, OTHER) if model.to_bytes() == found)
    return whole


def assert_tidy(path: Path) -> None:
    """The folder has only the .onnx and the data file that it refers to."""
    found = sorted(os.listdir(path.parent))
    assert len(found) == 2 and found[0] == path.name, found
    assert found[1].encode() in path.read_bytes()
    assert (path.parent / found[1]).stat().st_nlink == 1


PAIRS = {
    "different": (OLD, ONE, OTHER),
    "the same": (OLD, ONE, ONE),
    "the second writes what the first is about to remove": (OLD, ONE, OLD),
    "the first writes what is there": (OLD, OLD, OTHER),
    "nothing was there": (None, ONE, OTHER),
    "nothing was there, the same": (None, ONE, ONE),
}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Callable[[], Path], Model, Model, int]:
    """(maker of a new folder with the old model, model of the first writer, of the second writer, steps)."""
    before, one, other = PAIRS[request.param]

    def fresh() -> Path:
        folder = tmp_path / "out"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if before:
            save_model(before, folder / "out.onnx")
        return folder / "out.onnx"

    return fresh, one, other, calls_of(one, fresh())


def test_a_writer_that_is_stopped_at_any_step_while_another_writes(
    pair: tuple[Callable[[], Path], Model, Model, int],
) -> None:
    fresh, one, other, steps = pair
    assert steps > 15
    for step in range(1, steps + 1):
        path = fresh()
        before = seen(path)
        first = writer(one, path, step, signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(first, os.WUNTRACED)[1])
        try:
            assert seen(path) in (before, one), step
            assert ended(writer(other, path)) == 0
            assert seen(path) is other, step
        finally:
            os.kill(first, signal.SIGCONT)
            code = ended(first)
        assert code == 0 and seen(path) in (one, other), step
        assert_tidy(path)


def test_a_writer_that_is_killed_at_any_step(pair: tuple[Callable[[], Path], Model, Model, int]) -> None:
    fresh, one, other, steps = pair
    for step in range(1, steps + 1):
        path = fresh()
        before = seen(path)
        assert ended(writer(one, path, step, signal.SIGKILL)) == -signal.SIGKILL
        assert seen(path) in (before, one), step
        assert ended(writer(other, path)) == 0
        assert seen(path) is other, step
        assert_tidy(path)


def test_a_writer_that_is_killed_after_another_wrote(
    pair: tuple[Callable[[], Path], Model, Model, int],
) -> None:
    fresh, one, other, steps = pair
    for step in range(1, steps + 1):
        path = fresh()
        first = writer(one, path, step, signal.SIGSTOP)
        os.waitpid(first, os.WUNTRACED)
        assert ended(writer(other, path)) == 0
        os.kill(first, signal.SIGKILL)
        assert ended(first) == -signal.SIGKILL
        assert seen(path) is other, step
        save_model(one, path)
        assert seen(path) is one, step
        assert_tidy(path)


# --- the reader


def test_a_model_replaced_between_two_reads_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, written = tmp_path / "out.onnx", external_data._open_source, []
    save_model(ONE, path)

    def late(*arguments: object) -> object:
        if len(written) < 3:
            written.append((OTHER, ONE)[len(written) % 2])
            save_model(written[-1], path)
        return real(*arguments)

    monkeypatch.setattr(external_data, "_open_source", late)
    assert load_model(path).to_bytes() == OTHER.to_bytes()
    assert len(written) == 3


@pytest.mark.parametrize("fault", [OSError, ValueError])
def test_weights_removed_while_reading_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    path, real, written = tmp_path / "out.onnx", external_data._open_source, []
    save_model(ONE, path)

    def removed(*arguments: object) -> object:
        if not written:
            written.append(OTHER)
            save_model(OTHER, path)
            raise fault("filesystem error: cannot get link count: No such file or directory")
        return real(*arguments)

    monkeypatch.setattr(external_data, "_open_source", removed)
    assert load_model(path).to_bytes() == OTHER.to_bytes()


def test_reading_a_model_that_keeps_changing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, written = tmp_path / "out.onnx", [ONE]
    save_model(ONE, path)

    def never(*_: object) -> None:
        written.append((ONE, OTHER)[len(written) % 2])
        save_model(written[-1], path)
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(external_data, "_open_source", never)
    with pytest.raises(ModelError, match=r"the weights in out.onnx.\w+.data cannot be read"):
        load_model(path)
    assert len(written) == 11


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    save_model(ONE, tmp_path / "out.onnx")
    (sidecar,) = tmp_path.glob("*.data")
    sidecar.unlink()
    words = rf"expected the weights in .*/{sidecar.name}, got no such file; copy {sidecar.name} into"
    with pytest.raises(ModelError, match=words):
        load_model(tmp_path / "out.onnx")


@pytest.mark.parametrize("name", ["a" * 70_000, "a\0b", "weights/"])
def test_a_name_that_no_file_can_have_is_refused(name: str, tmp_path: Path) -> None:
    proto = chain_of([np.ones((8, 8), np.float32)])
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=name)
    (tmp_path / "weights").mkdir()
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="got no such file"):
        load_model(tmp_path / "net.onnx")


# --- what is written, kept and removed


def test_the_same_model_gives_the_same_two_files(tmp_path: Path) -> None:
    contents = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for _ in range(2):
            digest = save_model(ONE, tmp_path / folder / "out.onnx")
        found = {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        contents.append((digest, found))
    assert contents[0] == contents[1]
    assert contents[0][0] == load_model(tmp_path / "a" / "out.onnx").sha256


@pytest.mark.parametrize("damage", [lambda c: c[:-4], lambda c: b"x" + c[1:], lambda c: c + b"x"])
def test_damaged_external_data_is_written_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "out.onnx"
    save_model(ONE, path)
    (sidecar,) = tmp_path.glob("*.data")
    sidecar.write_bytes(damage(sidecar.read_bytes()))
    save_model(ONE, path)
    assert seen(path) is ONE
    assert_tidy(path)


def test_unrelated_data_files_stay(tmp_path: Path) -> None:
    kept = {"out.onnx.data", "out.onnx.0123456789abcde.data", "out.onnx.0123456789abcdef.data.old", "data"}
    kept |= {"x.out.onnx.0123456789abcdef.data", "out.onnx.0123456789ABCDEF.data", ".other.onnx.1.01234567"}
    for name in kept:
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "out.onnx.0123456789abcdef.data").write_bytes(b"1")
    for model in (ONE, OTHER):
        save_model(model, tmp_path / "out.onnx")
    assert kept == {path.name for path in tmp_path.iterdir()} - {
        "out.onnx", *(path.name for path in tmp_path.glob("out.onnx.*.data") if path.stat().st_size > 1)
    }  # fmt: skip


def test_external_data_is_removed_with_its_model(tmp_path: Path) -> None:
    save_model(ONE, tmp_path / "out.onnx")
    save_model(Model(ONE.proto, "made here"), tmp_path / "out.onnx")
    assert os.listdir(tmp_path) == ["out.onnx"] and not load_model(tmp_path / "out.onnx").external_data


def test_a_model_of_small_tensors_is_one_file(tmp_path: Path) -> None:
    model = load_model(models.save(models.gemm(), tmp_path / "two.onnx", external_data=True))
    assert model.external_data and not writes_external_data(model)
    (tmp_path / "out").mkdir()
    save_model(model, tmp_path / "out" / "out.onnx")
    assert os.listdir(tmp_path / "out") == ["out.onnx"]


def test_a_disk_without_links_is_served_by_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(external_data.os, "link", refuse)
    for model in (ONE, OTHER):
        save_model(model, tmp_path / "out.onnx")
        assert seen(tmp_path / "out.onnx") is model
        assert_tidy(tmp_path / "out.onnx")


@pytest.mark.parametrize("missing", [True, False])
def test_a_disk_without_locks_is_served_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    (tmp_path / ".out.onnx.1.01234567").write_bytes(b"perhaps in use")
    if missing:
        monkeypatch.setattr(files, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", refuse)
    for model in (ONE, OTHER):
        save_model(model, tmp_path / "out.onnx")
        assert seen(tmp_path / "out.onnx") is model
    assert len(os.listdir(tmp_path)) == 3
    monkeypatch.undo()
    save_model(ONE, tmp_path / "out.onnx")
    assert_tidy(tmp_path / "out.onnx")


def test_locked_data_files_lead_to_other_names_and_then_to_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_data, "_PAUSE", 0)
    path, locked = tmp_path / "out.onnx", []
    for _ in range(4):
        save_model(ONE, path)
        assert seen(path) is ONE
        (sidecar,) = (file for file in tmp_path.glob("*.data") if file.name.encode() in path.read_bytes())
        locked.append(os.open(sidecar, os.O_RDONLY))
        fcntl.flock(locked[-1], fcntl.LOCK_EX)
    words = r"out.onnx: other processes keep its files of weights locked; end them, or write elsewhere"
    with pytest.raises(OutputError, match=words):
        save_model(ONE, path)
    for descriptor in locked:
        os.close(descriptor)
    save_model(OTHER, path)
    assert_tidy(path)


def test_an_interrupt_leaves_the_old_model_and_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.onnx"
    save_model(OLD, path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("write_file_atomically", "_has_content", "locked_temporary"):
        with monkeypatch.context() as patch:
            patch.setattr(external_data, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                save_model(ONE, path)
        assert seen(path) is OLD
        assert_tidy(path)


def test_wrong_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x.onnx: there is no folder .*no; make the folder first"):
        save_model(ONE, tmp_path / "no" / "x.onnx")
    with pytest.raises(OutputError, match=r": is a folder; give the path of a file"):
        save_model(ONE, tmp_path)
    name = os.fsdecode(b"\xff.onnx")
    words = (
        r"'\\udcff.onnx': not a name in UTF-8, as the .onnx needs it to refer to its weights; give another"
    )
    with pytest.raises(OutputError, match=words):
        save_model(ONE, tmp_path / name)


def test_a_pipe_gets_one_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        save_model(ONE, path)
        assert stat.S_ISFIFO(path.stat().st_mode) and os.listdir(tmp_path) == ["pipe"]
        assert os.read(reader, 10_000) == ONE.to_bytes()
    finally:
        os.close(reader)


def test_a_link_is_followed_and_either_name_can_be_read(tmp_path: Path) -> None:
    target, link, far = tmp_path / "target.onnx", tmp_path / "link.onnx", tmp_path / "far" / "link.onnx"
    far.parent.mkdir()
    link.symlink_to(target)
    far.symlink_to(target)
    for model, path in ((ONE, link), (OTHER, link), (ONE, target), (OTHER, far), (ONE, link)):
        save_model(model, path)
        assert link.is_symlink() and far.is_symlink()
        assert seen(link) is model and seen(target) is model
        assert len(list(tmp_path.glob("*.data"))) == (path != far) and os.listdir(far.parent) == ["link.onnx"]
    save_model(OTHER, far)
    assert seen(far) is OTHER
