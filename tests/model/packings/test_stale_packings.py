"""Packings that no longer fit the weights of the model are refused by name, and permute replaces them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import compose, numpy_helper

from helpers import models
from tightc.cli.main import run

PERMUTE = ["--array", "8x8", "--fan-in", "4", "--method", "first-fit", "-q"]
OTHER = (
    "st.onnx: its packings are those of other layers ({}): "
    "weights were renamed, added or removed since tightc permute"
)
AGAIN = "; run tightc permute again\n"


def prefixed(proto: onnx.ModelProto) -> None:
    compose.add_prefix(proto, "p/", inplace=True)


def renamed(proto: onnx.ModelProto) -> None:
    for tensor in proto.graph.initializer:
        tensor.name = "zz" if tensor.name == "second_w" else tensor.name
    for node in proto.graph.node:
        node.input[:] = ["zz" if name == "second_w" else name for name in node.input]


def added(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(numpy_helper.from_array(models.sparse(4, 4, density=0.9), "new_w"))
    proto.graph.node[-1].output[0] = "before"
    proto.graph.node.append(onnx.helper.make_node("MatMul", ["before", "new_w"], ["logits"], name="new"))


def removed(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].op_type = "Identity"
    del proto.graph.node[0].input[1:]
    del proto.graph.node[0].attribute[:]
    kept = [t for t in proto.graph.initializer if not t.name.startswith("first")]
    (second,) = (t for t in kept if t.name == "second_w")
    second.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(second)[:, :3].copy(), "second_w"))
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)


def edited(proto: onnx.ModelProto) -> None:
    for tensor in proto.graph.initializer:
        if tensor.name == "second_w":
            tensor.CopyFrom(numpy_helper.from_array(np.ones((8, 8, 3, 3), np.float32), "second_w"))


EDITS: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "prefixed": (
        prefixed,
        OTHER.format("no layer has the weight first_w, second_w, last_w; p/first, p/second, p/last have no tiles"),
    ),
    "renamed": (renamed, OTHER.format("no layer has the weight second_w; second has no tiles")),
    "added": (added, OTHER.format("new has no tiles")),
    "removed": (removed, OTHER.format("no layer has the weight first_w")),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    models.save(models.cnn(), tmp_path / "net.onnx")
    assert run(["permute", "net.onnx", *PERMUTE, "-o", "q.onnx"]) == 0
    return tmp_path


def stale(edit: Callable[[onnx.ModelProto], None]) -> None:
    proto = onnx.load("q.onnx")
    edit(proto)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, "st.onnx")


@pytest.mark.parametrize("command", [["pack", "-o", "k.onnx"], ["simulate"], ["compare", "--array", "8x8"]])
@pytest.mark.parametrize("kind", EDITS)
def test_packings_of_other_weights_are_refused(
    place: Path, kind: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    edit, sentence = EDITS[kind]
    stale(edit)
    assert run([command[0], "st.onnx", *command[1:]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"tightc: error: {sentence}{AGAIN}"
    assert not Path("k.onnx").exists()


def test_edited_weights_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale(edited)
    assert run(["pack", "st.onnx", "-o", "k.onnx"]) == 2
    left = np.count_nonzero(numpy_helper.to_array(onnx.load("q.onnx").graph.initializer[2]) == 0)
    assert capsys.readouterr().err == (
        f"tightc: error: st.onnx: the packing of second does not fit its weights ({left} non-zero weights have no slot)"
        + AGAIN
    )


@pytest.mark.parametrize("kind", [*EDITS, "edited"])
def test_permute_again_mends_it(place: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    stale(edited if kind == "edited" else EDITS[kind][0])
    assert run(["permute", "st.onnx", *PERMUTE, "-o", "again.onnx"]) == 0
    assert run(["pack", "again.onnx", "-q", "-o", "k.onnx"]) == 0
    assert capsys.readouterr() == ("", "")
    assert "not those that tightc permute wrote" in Path("again.onnx").read_bytes().decode("latin-1")
    packed = onnx.load("k.onnx")
    onnx.checker.check_model(packed, full_check=True)
    assert any(function.domain == "tightc" for function in packed.functions)


def test_a_packed_model_with_renamed_weights_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pack", "q.onnx", "-q", "-o", "k.onnx"]) == 0
    proto = onnx.load("k.onnx")
    compose.add_prefix(proto, "p/", inplace=True)
    onnx.save(proto, "st.onnx")
    assert run(["unpack", "st.onnx", "-q", "-o", "u.onnx"]) == 2
    assert capsys.readouterr().err == (
        "tightc: error: st.onnx: the packed tensor first_w.values of weight first_w is missing: removed or renamed "
        "since tightc pack; run tightc pack again from the permuted model\n"
    )


def without_record(proto: onnx.ModelProto) -> None:
    kept = [(entry.key, entry.value) for entry in proto.metadata_props if entry.key != "tightc.packings"]
    onnx.helper.set_model_props(proto, dict(kept))


def without_metadata(proto: onnx.ModelProto) -> None:
    """The model as onnx.utils.extract_model writes it."""
    del proto.metadata_props[:]


def without_functions(proto: onnx.ModelProto) -> None:
    """The model as onnx.version_converter writes it."""
    del proto.functions[:]


@pytest.mark.parametrize(
    ("edit", "sentence", "remedy"),
    [
        (
            without_record,
            "its tightc.packings is missing: removed or renamed since tightc wrote it",
            "run tightc pack again from the permuted model",
        ),
        (
            without_metadata,
            "the packing of first_w is not recorded: removed or renamed since tightc pack",
            "run tightc pack again from the permuted model",
        ),
        (
            without_functions,
            "its functions outside of the packed layers are not those that tightc wrote",
            "copy the file again, or run tightc unpack before another tool edits it",
        ),
    ],
)
def test_a_packed_model_with_a_part_gone_is_refused(
    place: Path,
    edit: Callable[[onnx.ModelProto], None],
    sentence: str,
    remedy: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["pack", "q.onnx", "-q", "-o", "k.onnx"]) == 0
    proto = onnx.load("k.onnx")
    edit(proto)
    onnx.save(proto, "st.onnx")
    assert run(["unpack", "st.onnx", "-q", "-o", "u.onnx"]) == 2
    assert capsys.readouterr().err == f"tightc: error: st.onnx: {sentence}; {remedy}\n"
