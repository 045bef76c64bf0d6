"""`tightc compress`: exit codes, errors, and what is left of a run that a signal ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from helpers import models, quadrants
from tightc.cli.main import run

PATIENCE = 300  # seconds for what takes a few
SCRIPT = "from tightc.cli.main import main; main()"
SCHEDULE = "steps: 2\nmoves_per_weight: 5\n"
QUICK = [
    "--data=data.npz", "--mean=0.5", "--std=0.25", "--array=8x8", "--fan-in=4", "--epochs=2", "--trials=2",
    "--batch-size=16", "--device=cpu", "--dtype=float32", "--temp-schedule=quick.yaml",
]  # fmt: skip
COMMAND = ["compress", "net.onnx", "--max-drop=90", *QUICK, "-o", "out"]


@pytest.fixture(autouse=True)
def schedule(place: Path) -> None:
    (place / "quick.yaml").write_text(SCHEDULE)


def test_it_ends_with_the_table_of_trials_and_where_the_results_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(COMMAND) == 0
    out, err = capsys.readouterr()
    assert err == ""
    head, *rows = out.splitlines()
    assert head.split()[:6] == ["sparsity", "epochs", "drop", "±", "within", "passes"]
    assert [row.split()[0] for row in rows[:3]] == ["0.9", "0.9684", "0.9684"]
    place = rows.index("recipe: out/recipe.yaml")
    assert rows[place + 1] == "packed: out/03-pack.onnx"
    rest = rows[place + 2 :]
    if find_spec("altair"):
        assert rest.pop(0) == "report: out/report.html"
        assert "<h1>out</h1>" in Path("out/report.html").read_text(encoding="utf-8")
    assert all(row.startswith("note: ") for row in rest)


def test_without_the_packages_that_draw_a_note_says_how_to_get_the_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    assert run([*COMMAND, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["totals"]["report"] is None and not Path("out/report.html").exists()
    assert report["notes"][-1].startswith("no report page: ")
    assert report["notes"][-1].endswith("pip install 'tightc[report]', then tightc report out")


def test_a_drop_that_is_not_kept_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    others = [one for one in COMMAND if not one.startswith("--max-drop")]
    assert run([*others, "--max-drop=0", "--margin=10", "--json"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["schema"] == "tightc.compress/1" and report["totals"]["met"] is False
    assert report == json.loads(Path("out/compress.json").read_text())
    assert [row["sparsity"] for row in report["layers"]] == [0.9, 0.0]
    assert err.startswith(
        "tightc: error: --max-drop 0: no trial was within it; the nearest, to sparsity 0, loses "
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max-drop=some"], "--max-drop: expected accuracy that may be lost, in points: from 0 to 100, such as 1, "
         "got 'some'; give a number"),
        (["--max-drop=-1"], "--max-drop: expected accuracy that may be lost, in points: from 0 to 100, such as 1, got "
         "-1.0; give a number of at least 0"),
        (["--max-drop=101"], "--max-drop: expected accuracy that may be lost, in points: from 0 to 100, such as 1, got "
         "101.0; give a number of at most 100"),
        (["--max-drop=nan"], "--max-drop: expected accuracy that may be lost, in points: from 0 to 100, such as 1, got "
         "nan; give a finite number"),
        (["--goal=cycle"], "--goal: expected 'cycles', 'energy', 'area' or 'bytes', got 'cycle'; did you mean cycles?"),
        (["--trials=0"], "--trials: expected short trainings that prune, at most: 1 to 30, got 0; give a number "
         "of at least 1"),
        (["--distill-weight=0.9"], "--distill-weight: expected a teacher with it, got none; add --teacher, or leave "
         "it out"),
        (["--teacher=none.onnx"], "none.onnx: no such file; check the path of the model"),
        (["--data=none.npz"], "none.npz: expected a file or folder, got none of that name; check the path; permitted "
         "are a folder or .tar of class folders, a .npz with x and y or with the inputs by name, CIFAR-10 batches, "
         "MNIST IDX files, or package.module:function"),
        (["--validation=200"], "--validation: expected at most 158 of 160 images, got 200; lower --validation, so that "
         "training images are left"),
        (["--fan-in=0"], "--fan-in: expected inputs that a lane can carry, 1 to 32767, or auto, which tries 2 to 16, "
         "got 0; give an integer from 1 to 32767 or auto"),
        (["--mean=0.5,0.5"], "mean: expected one number, or one per channel (1), got 2; give one number, or "
         "one per channel"),
    ],
)  # fmt: skip
def test_what_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    before = sorted(os.listdir())
    given = {one.partition("=")[0] for one in arguments}
    others = [one for one in COMMAND if one.partition("=")[0] not in given]
    assert run([*others, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"tightc: error: {sentence}") and err.count("\n") == 1
    assert sorted(os.listdir()) == before


def test_a_model_without_layers_is_refused_as_that(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "net (float[1, 1, 8, 8] x) => (float[1, 1, 8, 8] y) { y = Relu(x) }"
    models.save(models.build(text), place / "net.onnx")
    assert run(COMMAND) == 2
    assert capsys.readouterr().err == (
        "tightc: error: net.onnx: no layer can be packed (it has no Conv, Gemm or MatMul); give a model with Conv, "
        "Gemm or MatMul layers that have constant weights\n"
    )


def test_a_packed_model_may_be_compressed_again(place: Path) -> None:
    steps = [
        ["prune", "net.onnx", "--sparsity=0.5", "-o", "a.onnx"],
        ["permute", "a.onnx", "--array=8x8", "-o", "b.onnx"],
    ]
    for step in [*steps, ["pack", "b.onnx", "-o", "net.onnx"]]:
        assert run([*step, "-q"]) == 0
    assert run([*COMMAND, "-q"]) == 0
    assert json.loads(Path("out/compress.json").read_text())["totals"]["macs_covered"] == 1.0


def test_without_torch_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(COMMAND) == 2
    assert capsys.readouterr().err == (
        "tightc: error: finetune needs torch, which is not installed; pip install 'tightc[finetune]'\n"
    )
    assert not Path("out").exists()


@pytest.mark.parametrize("flag", ["--data", "--max-drop"])
def test_what_is_required(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert run([argument for argument in COMMAND if not argument.startswith(f"{flag}=")]) == 2
    assert f"Missing option '{flag}'" in capsys.readouterr().err


def test_data_without_labels_need_a_teacher(capsys: pytest.CaptureFixture[str]) -> None:
    data = quadrants.arrays()
    np.savez("data.npz", x_train=data["x_train"], x_test=data["x_test"])
    assert run(COMMAND) == 2
    assert capsys.readouterr().err == (
        "tightc: error: data.npz: expected a class label for each image, got none for this network; add --teacher "
        "MODEL, whose outputs take the place of labels\n"
    )


def test_a_second_one_in_the_same_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from tightc.recipe.workspace import Workspace

    with Workspace.locked(Path("out/trials")):
        assert run(COMMAND) == 2
    assert capsys.readouterr().err == (
        "tightc: error: out/trials: another run works in this folder; wait for it to end, or give another folder "
        "with -o\n"
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_run_that_a_signal_ends_goes_on_where_it_was(
    place: Path, number: signal.Signals, code: int
) -> None:
    """Ended in the second trial; the first is not trained again, and the result has the bytes of an undisturbed run."""
    command = [sys.executable, "-c", SCRIPT, *COMMAND]  # all in processes of their own: with as many threads
    subprocess.run([*command[:-1], "whole", "-q"], check=True)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    first = place / "out/trials/sparsity-0.9-epochs-1"
    end = time.monotonic() + PATIENCE
    while not (place / "out/trials/sparsity-0.9684-epochs-1").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    if number == signal.SIGINT:
        assert "out/trials holds the trials so far; the same command goes on from there\n" in err
    trained = (first / "01-finetune.onnx").stat().st_mtime_ns
    subprocess.run([*command, "-q"], check=True)
    assert (first / "01-finetune.onnx").stat().st_mtime_ns == trained
    files = sorted(
        path.relative_to(place / "whole") for path in (place / "whole").rglob("*") if path.is_file()
    )
    assert files == sorted(
        path.relative_to(place / "out") for path in (place / "out").rglob("*") if path.is_file()
    )
    for name in files:
        if name.name not in ("compress.json", "report.html"):  # which name the folder
            assert (place / "out" / name).read_bytes() == (place / "whole" / name).read_bytes(), name
