"""What tightc rtl refuses, each in one sentence, and its exit codes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.rtl_images import Images
from helpers.rtl_models import Layer, Weighted, int8, network
from helpers.rtl_packings import random_packing
from helpers.rtl_runs import icarus, randomly_packed
from tightc.cli.main import run
from tightc.model.packings.metadata import with_packings

WEIGHTS = int8(4, 3, 2, 2), int8(5, 4, 2, 2)
PROTO = network(
    (1, 3, 5, 5), Weighted("Conv", WEIGHTS[0]), "Relu", Weighted("Conv", WEIGHTS[1]), zero_point=np.uint8(7)
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with models of all kinds, and inputs."""
    models.save(PROTO, tmp_path / "plain.onnx")
    models.save(models.cnn(), tmp_path / "float.onnx")
    models.save(Layer("Conv", (1, 2, 20000), int8(3, 2, 3)).proto(), tmp_path / "long.onnx")
    tightc.save(randomly_packed(PROTO, (4, 4), 3), str(tmp_path / "packed.onnx"))
    wide = {
        f"w{2 * i}": random_packing(w.reshape(len(w), -1), 1, (4, 4), 2000, 0) for i, w in enumerate(WEIGHTS)
    }
    tightc.save(with_packings(loaded(PROTO), wide), str(tmp_path / "wide.onnx"))
    mixed = {"w0": random_packing(WEIGHTS[0].reshape(4, -1), 1, (4, 4), 3, 0)}
    mixed["w2"] = random_packing(WEIGHTS[1].reshape(5, -1), 1, (4, 4), 3, 0, subword_bits=4)
    tightc.save(with_packings(loaded(PROTO), mixed), str(tmp_path / "mixed.onnx"))
    np.savez(tmp_path / "other.npz", z=np.zeros((1, 3, 5, 5), np.float32))
    np.savez(tmp_path / "small.npz", x=np.zeros((1, 3, 4, 4), np.float32))
    np.savez(tmp_path / "text.npz", x=np.full((1, 3, 5, 5), "a"))
    (tmp_path / "file").write_text("nothing")
    (tmp_path / "taken" / "README.txt").mkdir(parents=True)
    (tmp_path / "module" / "pe.sv").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


REFUSED: dict[str, str] = {
    "packed.onnx -o r --array 8x8": "--array: expected 4x4, the array that the model was permuted for, got 8x8; use",
    "packed.onnx -o r --array 4": "--array: expected size of the array",
    "packed.onnx -o r --array 0x4": "--array: expected size of the array",
    "plain.onnx -o r --array 100000x100000": "--array: expected size of the array",
    "packed.onnx -o r --fan-in 2": "--fan-in: expected at least 3, which the model's tiles need, got 2; give 3, or run",
    "packed.onnx -o r --fan-in 0": "--fan-in: expected",
    "packed.onnx -o r --fan-in many": "--fan-in: expected",
    "packed.onnx -o r --fan-in 1025": "--fan-in: expected",
    "wide.onnx -o r": "--fan-in: expected tiles of at most 1024 inputs a lane, got 2000; run",
    "mixed.onnx -o r": "mixed.onnx: expected slots of one kind in all layers, got whole weights and 4 bits",
    "float.onnx -o r": "float.onnx: expected a layer with int8 weights and activations, got none",
    "long.onnx -o r": "layer: expected feature maps and windows of at most 16,384 pixels a side, got 20,000",
    "packed.onnx -o r --overlap-drain": "--overlap-drain: expected --prefetch-weights too, got none; add",
    "packed.onnx -o r --chain": "--chain: expected --simulate too, got none; add --simulate icarus",
    "packed.onnx -o r --simulate modelsim": "--simulate: expected 'icarus' or 'verilator', got 'modelsim'",
    "packed.onnx -o r --multiplexer binary": "--multiplexer: expected 'tree' or 'one-hot', got 'binary'",
    "packed.onnx -o r --columns-per-lane-register 0": "--columns-per-lane-register: expected",
    "packed.onnx -o r --inputs none.npz": "none.npz: cannot be read as .npz",
    "packed.onnx -o r --inputs plain.onnx": "plain.onnx: expected a .npz file",
    "packed.onnx -o r --inputs other.npz": "other.npz: expected an array for input x, got z; add x",
    "packed.onnx -o r --inputs small.npz": "small.npz: expected 1x3x5x5 for x, got 1x3x4x4; correct the array",
    "packed.onnx -o r --inputs text.npz": "text.npz: expected float32 for x, got",
    "packed.onnx -o r --batch 0": "--batch: expected batch size, at least 1, got 0",
    "packed.onnx -o r --batch 2": "--batch",
    "packed.onnx -o r --input-shape 3": "--input-shape: expected",
    "packed.onnx -o file": "file: cannot be made a folder",
    "packed.onnx -o file/r": "file/r: cannot be made a folder",
    "packed.onnx -o /dev/null": "/dev/null: cannot be made a folder",
    "packed.onnx -o taken": "taken/README.txt",
    "packed.onnx -o module": "module/pe.sv",
    "packed.onnx -o -": "--output: expected a folder, got -; give a name.",
    "packed.onnx -o ": "--output: expected a folder, got an empty text; give a name.",
    "packed.onnx": "Missing option '-o'",
    "packed.onnx -o r --seed -1": "--seed",
    "missing.onnx -o r": "missing.onnx: no such file",
    "file -o r": "file: ",
}  # fmt: skip


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    arguments: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rtl", *arguments.split(" ")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and REFUSED[arguments] in said.err and "Traceback" not in said.err
    assert said.err.startswith("Usage") or said.err.count("\n") == 1
    assert not (place / "r").exists() and not (place / "-").exists()
    assert list((place / "taken").iterdir()) == [place / "taken" / "README.txt"]
    assert list((place / "module").iterdir()) == [place / "module" / "pe.sv"]


TOOLS = [("icarus", "iverilog"), ("icarus", "vvp"), ("verilator", "verilator"), ("verilator", "g++")]


@pytest.mark.parametrize(("simulator", "tool"), TOOLS)
def test_a_simulator_that_is_not_installed(
    simulator: str,
    tool: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is written."""
    for name in {"iverilog", "vvp", "verilator", "g++", "make"} - {tool}:
        script(place / "bin" / name, "exit 0")
    monkeypatch.setenv("PATH", str(place / "bin"))
    assert run(["rtl", "packed.onnx", "-o", "r", "--simulate", simulator]) == 2
    sentence = (
        f"{simulator}: expected {tool} on the PATH, got none; install {simulator}, or leave --simulate out"
    )
    assert sentence in capsys.readouterr().err and not (place / "r").exists()


def script(path: Path, text: str) -> None:
    """A program that does what `text` says."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


BROKEN = {
    "exit 3": "expected iverilog to end with exit code 0, got 3: ",
    "echo sorry >&2; exit 1": "expected iverilog to end with exit code 0, got 1: sorry; report it with the model",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_simulator_that_fails(
    text: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(place / "bin" / "iverilog", text)
    script(place / "bin" / "vvp", "exit 0")
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert run(["rtl", "packed.onnx", "-o", "r", "--simulate", "icarus"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and BROKEN[text] in said.err and said.err.rstrip().count("\n") == 0


@pytest.mark.parametrize("text", ["", "FAILED: 1 failures", "layer 0: 6 tiles", "\\377\\n"])
def test_a_testbench_that_does_not_pass_ends_with_exit_code_1(
    text: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(place / "bin" / "iverilog", "exit 0")
    script(place / "bin" / "vvp", f"printf '{text}'")
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert run(["rtl", "packed.onnx", "-o", "r", "--simulate", "icarus"]) == 1
    said = capsys.readouterr()
    assert (
        said.out == ""
        and "r: expected the values and cycles of the images, got others from icarus: " in said.err
    )
    assert "this is a fault of tightc, not of the model" in said.err


def test_a_testbench_that_says_nothing_of_a_layer_does_not_pass(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(place / "bin" / "iverilog", "exit 0")
    script(place / "bin" / "vvp", "echo 'passed: 2 layers'")
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert run(["rtl", "packed.onnx", "-o", "r", "--simulate", "icarus"]) == 1
    assert "got others from icarus" in capsys.readouterr().err


@icarus
def test_the_report_has_the_figures_of_the_simulation(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = "a folder; $HOME 'quoted' ü"
    assert run(["rtl", "packed.onnx", "-o", folder, "--simulate", "icarus", "--chain", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["totals"]["simulator"] == "icarus" and report["totals"]["chain"] is True
    cycles = [record.cycles for record in Images(place / folder).records]
    rows: list[dict[str, Any]] = report["layers"]
    assert [row["cycles"] for row in rows] == [row["simulated_cycles"] for row in rows] == cycles
    assert (
        [row["bytes_by_rounding"] for row in rows]
        == [0, 0]
        == [row["activations_by_rounding"] for row in rows]
    )
    assert [row["reads"] for row in rows] == [None, "layer0"]


def test_layers_without_int8_operands_are_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = network((1, 3, 5, 5), Weighted("Conv", WEIGHTS[0]), zero_point=np.uint8(7))
    kernel = models.sparse(2, 4, 2, 2)
    proto.graph.initializer.append(models.numpy_helper.from_array(kernel, "k"))
    proto.graph.node.append(models.helper.make_node("Conv", ["y", "k"], ["last"], name="in float"))
    proto.graph.output[0].name = "last"
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    models.save(models.onnx.shape_inference.infer_shapes(proto), place / "partly.onnx")
    assert run(["rtl", "partly.onnx", "-o", "r", "--array", "4x4"]) == 0
    assert "left out" in (said := capsys.readouterr().out) and "in float" in said
    assert Images(place / "r").parameters["LAYERS"] == 1


def test_inputs_and_the_seed_decide_the_activations(place: Path) -> None:
    def written(*flags: str) -> bytes:
        assert run(["rtl", "packed.onnx", "-o", "r", "-q", *flags]) == 0
        return (place / "r" / "activations.hex").read_bytes()

    np.savez("x.npz", x=np.zeros((1, 3, 5, 5), np.float32))
    first = written()
    assert first == written("--seed", "0") != written("--seed", "1")
    assert set(written("--inputs", "x.npz").split()[:75]) == {f"{7 - 128 + 256:02x}".encode()}


@icarus
def test_a_folder_that_is_written_again_holds_nothing_of_before(place: Path) -> None:
    other = network(
        (2, 2, 6, 6),
        Weighted("Conv", int8(6, 2, 3, 3)),
        "Relu",
        Weighted("Conv", int8(3, 6, 3, 3)),
        zero_point=np.int8(0),
    )
    tightc.save(randomly_packed(other, (5, 7), 6, subword_bits=4), "other.onnx")
    first = ["--prefetch-weights", "--overlap-drain", "--multiplexer", "one-hot", "--simulate", "icarus"]
    assert run(["rtl", "other.onnx", "-o", "r", "-q", *first]) == 0
    assert run(["rtl", "packed.onnx", "-o", "r", "-q", "--simulate", "icarus", "--chain"]) == 0
    assert run(["rtl", "packed.onnx", "-o", "fresh", "-q"]) == 0
    again, fresh = (
        {path.name: path.read_bytes() for path in (place / name).iterdir()} for name in ("r", "fresh")
    )
    assert again == fresh


@icarus
def test_other_modules_in_the_folder_are_not_compiled(place: Path) -> None:
    (place / "r").mkdir()
    (place / "r" / "mine.sv").write_text("module pe; endmodule this is not SystemVerilog\n")
    assert run(["rtl", "packed.onnx", "-o", "r", "-q", "--simulate", "icarus"]) == 0


IN_PYTHON: dict[str, tuple[dict[str, Any], str]] = {
    "overlap": (
        {"overlap_drain": True},
        "overlap_drain: expected prefetch_weights too, got none; add prefetch_weights",
    ),
    "fan-in": ({"fan_in": 2}, "fan_in: expected at least 3, which the model's tiles need, got 2"),
    "chain": ({"chain": True}, "chain: expected simulate too, got none; add simulate icarus"),
    "array": (
        {"array": "8x8"},
        "array: expected 4x4, the array that the model was permuted for, got 8x8; use array 4x4",
    ),
    "simulator": ({"simulate": "modelsim"}, "simulate: expected 'icarus' or 'verilator', got 'modelsim'"),
}


@pytest.mark.parametrize("name", IN_PYTHON)
def test_errors_in_python_name_keywords(name: str, tmp_path: Path) -> None:
    keywords, sentence = IN_PYTHON[name]
    with pytest.raises(tightc.OptionError, match=re.escape(sentence)):
        tightc.write_rtl(randomly_packed(PROTO, (4, 4), 3), tmp_path / "r", **keywords)
    assert not (tmp_path / "r").exists()


@icarus
def test_the_report_in_python(tmp_path: Path) -> None:
    report = tightc.write_rtl(
        randomly_packed(PROTO, (4, 4), 3), str(tmp_path / "r"), simulate="icarus", fan_in=4
    )
    cycles = [record.cycles for record in Images(tmp_path / "r").records]
    assert [layer["simulated_cycles"] for layer in report.layers] == cycles
