"""The result of a stage is checked before it replaces a file; an invalid graph ends with exit code 70."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from helpers import models
from tightc.cli.main import run
from tightc.model import validity
from tightc.model.file import Model
from tightc.model.onnx_proto import stored_tensors
from tightc.packing import pack as pack_module
from tightc.packing import unpack as unpack_module

REPORT = "; this is a fault of tightc, not of the model: please report it with the model\n"


def unsorted(proto: onnx.ModelProto) -> None:
    nodes = list(proto.graph.node)[::-1]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


def missing(proto: onnx.ModelProto) -> None:
    kept = [tensor for tensor in proto.graph.initializer if tensor.name != "last_b"]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)


def mistyped(proto: onnx.ModelProto) -> None:
    for tensor in proto.graph.initializer:
        if tensor.name == "last_b":
            tensor.CopyFrom(numpy_helper.from_array(np.ones(4, np.int64), "last_b"))


def unknown(proto: onnx.ModelProto) -> None:
    """An attribute value that the ONNX checker accepts."""
    (second,) = (node for node in proto.graph.node if node.name == "second")
    second.attribute.append(onnx.helper.make_attribute("auto_pad", "NOWHERE"))


def unknown_in_function(proto: onnx.ModelProto) -> None:
    """The same in the function that rebuilds the weights."""
    cumsum = next(node for node in proto.functions[-1].node if node.op_type == "CumSum")
    cumsum.attribute.append(onnx.helper.make_attribute("reverse", 7))


CHECKER = "the result does not pass the ONNX checker ("
FAULTS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "unsorted": unsorted,
    "missing": missing,
    "mistyped": mistyped,
}
STAGES: dict[str, tuple[ModuleType, str, str]] = {
    "pack": (pack_module, "pack_layers", "q.onnx"),
    "unpack": (unpack_module, "unpack_layers", "k.onnx"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    models.save(models.cnn(), tmp_path / "net.onnx")
    options = ["--array", "8x8", "--fan-in", "4", "--method", "first-fit", "-q"]
    assert run(["permute", "net.onnx", *options, "-o", "q.onnx"]) == 0
    assert run(["pack", "q.onnx", "-q", "-o", "k.onnx"]) == 0
    (tmp_path / "old.onnx").write_bytes(b"old")
    return tmp_path


def broken(patch: pytest.MonkeyPatch, stage: str, fault: Callable[[onnx.ModelProto], None]) -> str:
    """Make a stage return an invalid model; returns the file that it reads."""
    module, name, source = STAGES[stage]
    whole = getattr(module, name)

    def changed(*arguments: object) -> Model:
        model = whole(*arguments)
        proto = model.copy_proto()
        fault(proto)
        return model.with_proto(proto)

    patch.setattr(module, name, changed)
    return source


@pytest.mark.parametrize("stored_from", [None, 16], ids=["embedded", "stored"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", STAGES)
def test_an_invalid_graph_is_an_internal_error_and_the_old_file_stays(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: str,
    fault: str,
    stored_from: int | None,
) -> None:
    source = broken(monkeypatch, stage, FAULTS[fault])
    if stored_from is not None:
        monkeypatch.setattr(stored_tensors, "STORED_FROM", stored_from)
    assert run([stage, source, "-q", "-o", "old.onnx"]) == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"tightc: error: {source}: ") and err.endswith(REPORT)
    assert CHECKER in err
    assert Path("old.onnx").read_bytes() == b"old"
    assert sorted(path.name for path in place.iterdir()) == ["k.onnx", "net.onnx", "old.onnx", "q.onnx"]


def test_an_internal_error_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pack", broken(monkeypatch, "pack", unsorted), "-q", "-o", "old.onnx"]) == 70
    assert capsys.readouterr().err.count("\n") == 1


def test_what_only_onnxruntime_refuses_is_found(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = broken(monkeypatch, "pack", unknown)
    assert run(["pack", source, "-q", "-o", "old.onnx"]) == 70
    assert "onnxruntime cannot load it" in capsys.readouterr().err
    assert Path("old.onnx").read_bytes() == b"old"


def test_a_packed_node_that_onnxruntime_refuses_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = broken(monkeypatch, "pack", unknown_in_function)
    assert run(["pack", source, "-q", "-o", "old.onnx"]) == 70
    err = capsys.readouterr().err
    assert "onnxruntime cannot load it" in err and err.endswith(f" in packed node first_w{REPORT}")


@pytest.mark.parametrize(
    "form", ["cnn", "matmul left", "gemm without bias", "shared weight", "unnamed nodes, 1-D"]
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_whose_weights_stay_in_its_file_is_packed_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, dtype: str
) -> None:
    source = str(models.save(models.FORMS[form](dtype=dtype), tmp_path / "net.onnx"))
    options = ["--array", "8x8", "--fan-in", "4", "--method", "first-fit", "-q"]
    assert run(["permute", source, *options, "-o", str(tmp_path / "q.onnx")]) == 0
    made = []
    for stored_from in (stored_tensors.STORED_FROM, 16):
        monkeypatch.setattr(stored_tensors, "STORED_FROM", stored_from)
        for verb, read, write in (("pack", "q", "k"), ("unpack", "k", "u")):
            paths = str(tmp_path / f"{read}.onnx"), str(tmp_path / f"{write}.onnx")
            assert run([verb, paths[0], "-q", "-o", paths[1]]) == 0
        made.append([(tmp_path / f"{name}.onnx").read_bytes() for name in "ku"])
    assert made[0] == made[1]


def test_a_model_that_changed_only_in_values_is_not_loaded(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(validity, "create_session", opened)
    assert run(["prune", "net.onnx", "--sparsity", "0.9", "-q", "-o", "p.onnx"]) == 0
