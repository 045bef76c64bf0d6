"""The memory that a model needs is stated, and refused above the limit before any work."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from helpers import models
from helpers.products import chain_of
from tightc import memory
from tightc.cli import common
from tightc.cli.main import run
from tightc.errors import MemoryLimitError
from tightc.model.file import load_model, needed_memory

MIB = 2**20


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Two weights of 1.4 MiB."""
    path = tmp_path / "net.onnx"
    onnx.save(chain_of([models.sparse(600, 600), models.sparse(600, 600, seed=1)]), path)
    return path


def test_a_few_copies_of_the_largest_layer_are_needed(large: Path, tmp_path: Path) -> None:
    assert needed_memory(load_model(large).proto) == 3 * 4 * 600 * 600
    onnx.save(models.cnn(), tmp_path / "small.onnx")
    assert needed_memory(load_model(tmp_path / "small.onnx").proto) == 0


def test_it_is_said_with_verbose(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(large), "-v"]) == 0
    assert f"{large}: up to 4.1 MiB of memory are needed, " in capsys.readouterr().err
    assert run(["inspect", str(large)]) == 0
    assert "of memory" not in capsys.readouterr().err


def test_it_is_said_where_less_is_free(
    large: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "available_memory", lambda: 3 * MIB)
    assert run(["inspect", str(large)]) == 0
    assert capsys.readouterr().err.startswith(
        f"{large}: up to 4.1 MiB of memory are needed, 3.0 MiB are free"
    )
    assert run(["inspect", str(large), "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_above_the_limit_it_is_refused(
    large: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: 4 * MIB)
    assert run(["prune", str(large), "--sparsity", "0.5", "-o", str(large.with_name("o.onnx"))]) == 2
    assert "expected to need at most 4.0 MiB of memory, which is the limit here, got 4.1 MiB" in (
        capsys.readouterr().err
    )
    assert not large.with_name("o.onnx").exists()


def test_a_sparse_file_of_a_tebibyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    proto = chain_of([models.sparse(600, 600)])
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.dims[:] = [2**19, 2**19]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.data"), ("length", str(2**40))):
        tensor.external_data.add(key=key, value=value)
    with open(tmp_path / "w.data", "wb") as stream:
        stream.truncate(2**40)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(MemoryLimitError, match=r"got 3\.0 TiB"):
        load_model(tmp_path / "net.onnx")
