"""Bad input, each with its sentence: exit code 2, what is wrong and what to do, no stack trace, no file."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from helpers import models
from tightc.cli.main import run
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions
from tightc.simulation.options import SimulateOptions

COMMAND = [sys.executable, "-c", "from tightc.cli.main import main; main()"]
FILES = "export the model again, or check that the file was copied whole"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `net.onnx` in it, so that messages hold short paths."""
    models.save(models.cnn(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error of a command line that has to end with 2; what it printed besides has to be nothing."""
    before = sorted(os.listdir())
    assert run(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert sorted(os.listdir()) == before, "a file was left"
    return err


def sentence(err: str) -> str:
    (line,) = sentences(err)
    return line


def sentences(err: str) -> list[str]:
    lines = err.splitlines()
    assert err.endswith("\n") and all(line.startswith("tightc: error: ") for line in lines)
    return [line.removeprefix("tightc: error: ") for line in lines]


def usage(err: str) -> str:
    assert err.startswith("Usage: tightc ")
    return err.rstrip("\n").rpartition("Error: ")[2]


# --- models

STAGES = {
    "inspect": ["inspect", "net.onnx"],
    "prune": ["prune", "net.onnx", "--sparsity", "0.5", "-o", "out.onnx"],
    "quantize": ["quantize", "net.onnx", "-o", "out.onnx"],
    "permute": ["permute", "net.onnx", "-o", "out.onnx"],
    "pack": ["pack", "net.onnx", "-o", "out.onnx"],
    "unpack": ["unpack", "net.onnx", "-o", "out.onnx"],
    "simulate": ["simulate", "net.onnx"],
    "rtl": ["rtl", "net.onnx", "--output=rtl"],
    "compare": ["compare", "net.onnx"],
    "explore": ["explore", "net.onnx"],
    "report": ["report", "net.onnx", "--output=report.html"],
    "finetune": ["finetune", "net.onnx", "--data", "images", "-o", "out.onnx"],
    "evaluate": ["evaluate", "net.onnx", "--data", "images"],
    "check": ["check", "net.onnx", "--require", "speedup>=1"],
    "diff": ["diff", "net.onnx", "net.onnx"],
    "verify": ["verify", "net.onnx", "net.onnx"],
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))


@pytest.mark.parametrize("stage", STAGES)
def test_missing_file(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    (place / "net.onnx").unlink()
    err = fails(capsys, *STAGES[stage])
    assert sentence(err) == "net.onnx: no such file; check the path of the model"


@pytest.mark.parametrize("stage", STAGES)
def test_empty_file(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    (place / "net.onnx").write_bytes(b"")
    assert sentence(fails(capsys, *STAGES[stage])) == f"net.onnx: the file is empty; {FILES}"


@pytest.mark.parametrize("stage", STAGES)
def test_truncated_file(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    (place / "net.onnx").write_bytes(models.cnn().SerializeToString()[:-40])
    err = fails(capsys, *STAGES[stage])
    assert sentence(err) == f"net.onnx: not an ONNX model, or a truncated one; {FILES}"


@pytest.mark.parametrize("stage", STAGES)
def test_png_named_onnx(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    (place / "net.onnx").write_bytes(PNG)
    err = fails(capsys, *STAGES[stage])
    assert sentence(err) == f"net.onnx: not an ONNX model, or a truncated one; {FILES}"


@pytest.mark.parametrize("stage", STAGES)
def test_missing_sidecar(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    models.save(models.cnn(), place / "net.onnx", external_data=True)
    (place / "net.onnx.data").unlink()
    err = fails(capsys, *STAGES[stage])
    assert sentence(err) == (
        "net.onnx: expected the weights in net.onnx.data, got no such file; copy net.onnx.data into ."
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("stage", STAGES)
def test_weights_that_are_no_numbers(
    place: Path, capsys: pytest.CaptureFixture[str], stage: str, value: float
) -> None:
    proto = models.cnn()
    weight = numpy_helper.to_array(proto.graph.initializer[2]).copy()
    weight.flat[5] = value
    proto.graph.initializer[2].CopyFrom(numpy_helper.from_array(weight, "second_w"))
    models.save(proto, place / "net.onnx")
    err = fails(capsys, *STAGES[stage])
    assert sentence(err) == (
        "net.onnx: tensor second_w holds NaN or infinite values; train or export the model again"
    )


@pytest.mark.parametrize("stage", ["inspect", "prune", "permute", "simulate"])
def test_no_packable_layer(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    models.save(models.build("net (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }"), place / "net.onnx")
    assert sentence(fails(capsys, *STAGES[stage])) == (
        "net.onnx: no layer can be packed (it has no Conv, Gemm or MatMul); "
        "give a model with Conv, Gemm or MatMul layers that have constant weights"
    )


def test_nothing_piped_in(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert usage(fails(capsys, "inspect")) == "Give the path of a MODEL, or pipe one in."


def test_a_name_that_is_no_text(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = models.cnn().SerializeToString()
    (place / "net.onnx").write_bytes(content.replace(b"second_w", b"secon\xff_w"))
    assert "net.onnx" in sentence(fails(capsys, "inspect", "net.onnx"))


WHOLE = "its tightc.packings is not JSON of packings"
ONE = "the packing of first_w is damaged"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("x", WHOLE),
        ("3", WHOLE),
        ("null", WHOLE),
        ('"a"', WHOLE),
        ('{"common": {}}', WHOLE),
        ('{"common": {}, "weights": {"first_w": 3}}', WHOLE),
        ('{"common": {}, "weights": {"first_w": {"tiles": 3}}}', ONE),
        ('{"common": {}, "weights": {"first_w": {"tiles": {}}}}', ONE),
    ],
)
@pytest.mark.parametrize("stage", ["pack", "simulate"])
def test_damaged_arrangement(
    place: Path, capsys: pytest.CaptureFixture[str], stage: str, text: str, start: str
) -> None:
    proto = models.cnn()
    proto.metadata_props.append(onnx.StringStringEntryProto(key="tightc.packings", value=text))
    models.save(proto, place / "net.onnx")
    err = sentence(fails(capsys, *STAGES[stage]))
    assert err.startswith(f"net.onnx: {start}") and err.endswith("; run tightc permute again")


@pytest.mark.parametrize("stage", ["pack", "simulate"])
def test_an_arrangement_of_an_older_version(
    place: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    proto = models.cnn()
    proto.metadata_props.append(onnx.StringStringEntryProto(key="tightc.packing:first_w", value="{}"))
    models.save(proto, place / "net.onnx")
    assert sentence(fails(capsys, *STAGES[stage])) == (
        "net.onnx: its packings were recorded by an older tightc; run tightc permute again"
    )


# --- options


@pytest.mark.parametrize("array", ["0x32", "32x0", "32", "axb", "32x", "-3x4", "5000x5000"])
@pytest.mark.parametrize("stage", ["permute", "simulate"])
def test_arrays(place: Path, capsys: pytest.CaptureFixture[str], stage: str, array: str) -> None:
    err = sentence(fails(capsys, *STAGES[stage], f"--array={array}"))
    meaning = (
        {"permute": PermuteOptions, "simulate": SimulateOptions}[stage].model_fields["array"].description
        or ""
    ).partition(";")[0]
    assert err.startswith(f"--array: expected {meaning}, got ")
    assert err.endswith(f", got '{array}'; give two integers from 1 to 4096 joined by x")


@pytest.mark.parametrize("fan_in", ["0", "-1", "40000"])
def test_fan_in(place: Path, capsys: pytest.CaptureFixture[str], fan_in: str) -> None:
    err = sentence(fails(capsys, *STAGES["permute"], "--fan-in", fan_in))
    meaning = (PermuteOptions.model_fields["fan_in"].description or "").partition(";")[0]
    assert err == f"--fan-in: expected {meaning}, got {fan_in}; give an integer from 1 to 32767 or auto"


@pytest.mark.parametrize("sparsity", ["1", "1.5", "-0.1", "nan", "inf"])
def test_sparsity(place: Path, capsys: pytest.CaptureFixture[str], sparsity: str) -> None:
    err = sentence(fails(capsys, "prune", "net.onnx", "--sparsity", sparsity, "-o", "out.onnx"))
    meaning = PruneOptions.model_fields["sparsity"].description
    assert err.startswith(f"--sparsity: expected {meaning}, got {float(sparsity)}; give a ")
    assert err.endswith("number below 1" if sparsity.startswith("1") else ("at least 0", "finite number"))


def test_unknown_layer_in_skip(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence(fails(capsys, *STAGES["prune"], "--skip", "layer9*")) == (
        "--skip: expected the name of a layer, got 'layer9*'; give one of first, second, last"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["permute", "net.onnx", "--seed", "-1"], "Invalid value for '--seed': -1 is not in the range x>=0."),
        (["prune", "net.onnx", "--sparsty", "0.9"], "No such option '--sparsty'."),
        (["inspect", "net.onnx", "other.onnx"], "Got unexpected extra argument (other.onnx)"),
        (["squeeze", "net.onnx"], "No such command 'squeeze'."),
    ],
)
def test_usage(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in usage(fails(capsys, *arguments))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prune", "net.onnx", "--sparsity", "lots"], "--sparsity: expected .*, got 'lots'; give a number$"),
        (
            ["permute", "net.onnx", "--method", "magic"],
            "--method: expected one of tight, .*, got 'magic'; choose one of these, or install ",
        ),
        (
            ["permute", "net.onnx", "--method", "tigth"],
            r"--method: expected one of tight, .*, got 'tigth'; did you mean tight\?$",
        ),
        (
            ["permute", "net.onnx", "--fan-in", "2.5"],
            "--fan-in: expected .*, got '2.5'; give an integer from 1 to 32767 or auto$",
        ),
        (
            ["permute", "net.onnx", "--subword-bits", "3"],
            "--subword-bits: expected 2 or 4, got '3'; give one of them$",
        ),
        (["simulate", "net.onnx", "--dataflow", "rs"], "--dataflow: expected 'ws', 'os' or 'is', got 'rs'; "),
    ],
)
def test_wrong_values(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert re.match(words, sentence(fails(capsys, *arguments)))


@pytest.mark.parametrize("stage", ["inspect", "simulate"])
def test_batch(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    err = sentence(fails(capsys, stage, "net.onnx", "--batch", "0"))
    assert err.startswith("--batch: expected batch size")
    assert err.endswith(", got 0; give a number of at least 1")
    assert run([stage, "net.onnx", "--batch", "3"]) == 0


def test_json_and_model_both_on_stdout(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence(fails(capsys, "prune", "net.onnx", "--sparsity", "0.5", "--json")) == (
        "--json: stdout would hold both the model and the JSON object; add -o FILE"
    )


# --- YAML


def _schedule(key: str) -> str:
    """What the file of a temperature schedule may hold under `key`, up to the first semicolon."""
    return (TemperatureSchedule.model_fields[key].description or "").partition(";")[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps: 9\nstepz: 3\n", "s.yaml:2: stepz: expected one of moves_per_weight, seed, steps, t_end, t_start, "
         "time_limit, got stepz; did you mean steps?"),
        ("steps: many\n", "s.yaml:1: steps: expected number of temperatures, from 1 to 100000, got 'many'; "
         "give an integer"),
        ("steps: 0\n", "s.yaml:1: steps: expected number of temperatures, from 1 to 100000, got 0; "
         "give a number of at least 1"),
        ("kind: tempering\n", "s.yaml:1: kind: removed in 0.4; leave it out, since the temperature always "
         "falls linearly"),
        ("t_start: warm\n", f"s.yaml:1: t_start: expected {_schedule('t_start')}, got 'warm'; "
         "give a number"),
        ("steps: 9\ntime_limit: 30 days\n", f"s.yaml:2: time_limit: expected {_schedule('time_limit')}, got '30 days'; "
         "give a time above 0, such as 30s, 5m or 1.5h"),
        ("t_start: 0.1\nt_end: 0.2\n", "s.yaml:2: t_end: t_end 0.2 is above t_start 0.1, but temperature must fall; "
         "lower t_end or raise t_start"),
        ("- 3\n", "s.yaml:1: holds no keys; give keys such as t_start, t_end, steps, moves_per_weight, "
         "time_limit, seed"),
        ("a: [1\n", "s.yaml:2: not YAML (expected ',' or ']', but got '<stream end>'); mend the line"),
    ],
)  # fmt: skip
def test_schedules(place: Path, capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    (place / "s.yaml").write_text(text)
    assert sentence(fails(capsys, *STAGES["permute"], "--temp-schedule", "s.yaml")) == words


STEPS = "model: net.onnx\nstages:\n"
RECIPES = {
    "modle: net.onnx\nstages: [simulate]\n": (
        "1: modle: expected one of data, model, seed, stages, got modle; did you mean model?"
    ),
    STEPS + "  - pruen: {sparsity: 0.5}\n": (
        "3: stages.0.pruen: expected one of "
        "evaluate, finetune, pack, permute, prune, quantize, simulate, got pruen; did you mean prune?"
    ),
    STEPS + "  - prune:\n      sparsty: 0.5\n": (
        f"4: stages.0.prune.sparsty: expected one of {', '.join(sorted(PruneOptions.model_fields))}, "
        "got sparsty; did you mean sparsity?"
    ),
    STEPS + "  - finetune: {checkpoint: kept}\n": (
        "3: stages.0.finetune.checkpoint: the folder of the run keeps the checkpoint; leave it out"
    ),
    STEPS + "  - prune: {sparsity: '0.5'}\n": (
        f"3: stages.0.prune.sparsity: expected {PruneOptions.model_fields['sparsity'].description}, got '0.5'; "
        "give a number"
    ),
    STEPS + "  - permute\n  - prune: {sparsity: 0.5}\n": (
        "4: stages.1: prune after permute would undo it; move prune before permute, or permute again after it"
    ),
    STEPS + "  - pack\n": "3: stages.0: pack without permute; put permute before pack",
    "stages:\n  - permute\n": "1: model: expected path of the ONNX model to start from, got nothing; add it",
}


@pytest.mark.parametrize(("text", "words"), RECIPES.items())
def test_recipes(place: Path, capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    (place / "r.yaml").write_text(text)
    assert sentence(fails(capsys, "run", "r.yaml", "-o", "out")) == f"r.yaml:{words}"


def test_missing_yaml(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "no.yaml: no such file; check the path of the YAML file"
    assert sentence(fails(capsys, "run", "no.yaml")) == words
    assert sentence(fails(capsys, *STAGES["permute"], "--temp-schedule", "no.yaml")) == words


# --- where the result goes

WRITERS = [name for name in STAGES if "-o" in STAGES[name]]


@pytest.mark.parametrize("stage", WRITERS)
def test_output_folder_missing(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    err = fails(capsys, *STAGES[stage][:-1], "no/out.onnx")
    assert sentence(err) == "no/out.onnx: there is no folder no; make the folder first"


@pytest.mark.parametrize("stage", WRITERS)
def test_output_is_a_folder(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    (place / "folder").mkdir()
    err = fails(capsys, *STAGES[stage][:-1], "folder")
    assert sentence(err) == "folder: is a folder; give the path of a file"


@pytest.mark.parametrize("stage", WRITERS)
def test_output_folder_not_writable(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    err = fails(capsys, *STAGES[stage])
    assert sentence(err) == "out.onnx: the folder . is not writable; write to another folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_really_not_writable(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "locked").mkdir(mode=0o555)
    err = fails(capsys, *STAGES["prune"][:-1], "locked/out.onnx")
    assert sentence(err) == "locked/out.onnx: the folder locked is not writable; write to another folder"


def test_recipe_folder_that_cannot_be_made(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "r.yaml").write_text("model: net.onnx\nstages: [permute]\n")
    err = sentence(fails(capsys, "run", "r.yaml", "-o", "net.onnx"))
    assert err == "net.onnx: cannot be made (File exists); give another folder with -o"


@pytest.mark.parametrize("stage", WRITERS)
def test_binary_to_a_terminal(place: Path, stage: str) -> None:
    master, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, *STAGES[stage][:-2]], stdout=terminal, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(terminal)
        os.close(master)
    assert done.returncode == 2
    assert sentence(done.stderr) == (
        "a model is binary, stdout is a terminal; add -o FILE, or pipe it to a command"
    )


def test_no_model_on_a_terminal(place: Path) -> None:
    master, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, "inspect"], stdin=terminal, capture_output=True, text=True, timeout=60
        )
    finally:
        os.close(terminal)
        os.close(master)
    assert done.returncode == 2
    assert usage(done.stderr) == "Give the path of a MODEL, or pipe one in."


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("stage", ["prune", "inspect"])
def test_stdout_on_a_full_disk(place: Path, stage: str) -> None:
    arguments = STAGES[stage][: -2 if stage == "prune" else None]
    with open("/dev/full", "wb") as device:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=device, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_stdout_closed(place: Path) -> None:
    shell = " ".join(f"'{part}'" for part in [*COMMAND, "inspect", "net.onnx"]) + " >&-"
    done = subprocess.run(["sh", "-c", shell], stderr=subprocess.PIPE, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_a_layer_whose_name_reads_as_markup(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = models.cnn()
    proto.graph.node[0].name = "net[/first]"
    models.save(proto, place / "net.onnx")
    assert run(["inspect", "net.onnx"]) == 0
    assert "net[/first]" in capsys.readouterr().out


def test_a_layer_whose_name_reads_as_a_style(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = models.cnn()
    proto.graph.node[0].name = "net[bold]"
    models.save(proto, place / "net.onnx")
    assert run(["inspect", "net.onnx"]) == 0
    assert "net[bold]" in capsys.readouterr().out


# --- data


def pictures(folder: Path, classes: int, size: tuple[int, int] = (8, 8)) -> None:
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        Image.new("RGB", size, (label, 0, 0)).save(folder / f"class{label}" / "a.png")


DATA_STAGES = ["evaluate", "finetune"]


@pytest.mark.parametrize("stage", DATA_STAGES)
def test_missing_data(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    err = sentence(fails(capsys, *STAGES[stage]))
    assert err.startswith(
        "images: expected a file or folder, got none of that name; check the path; permitted are a folder or .tar"
    )


@pytest.mark.parametrize("stage", DATA_STAGES)
def test_empty_data_folder(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    (place / "images").mkdir()
    err = sentence(fails(capsys, *STAGES[stage]))
    assert err.startswith("images: expected image files, got none; permitted are .bmp, .gif, .jpeg, ")


@pytest.mark.parametrize("stage", DATA_STAGES)
def test_image_of_the_wrong_size(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    pictures(place / "images", 4, size=(9, 8))
    err = sentence(fails(capsys, *STAGES[stage]))
    assert err.endswith(
        "class0/a.png: expected 8x8 pixels (width x height), which the network takes, got 9x8; "
        "add --resize 8, or resize the images to 8x8"
    )


@pytest.mark.parametrize("stage", DATA_STAGES)
def test_label_outside_the_classes(place: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    pictures(place / "images", 5)
    err = sentence(fails(capsys, *STAGES[stage]))
    assert err == (
        "image 4: expected a label of the network's 4 classes (0 to 3), got 4 (class4); "
        "take data of the network's classes, or number its classes from 0"
    )


@pytest.mark.parametrize("flag", ["--calibration=entropy", "--percentile=99", "--calibration-images=5"])
def test_quantize_looks_at_images_only_where_there_are_some(
    place: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    err = sentence(fails(capsys, *STAGES["quantize"], flag))
    assert err == f"{flag.partition('=')[0]}: expected --data too, got none; add --data"


def test_every_stage_of_the_command_line_was_tried() -> None:
    from tightc.cli.main import COMMANDS

    without_model = {"run", "hardware", "schema", "completion"}  # each has tests of its own errors
    assert set(STAGES) | without_model == set(COMMANDS)
    assert shutil.which("sh")
