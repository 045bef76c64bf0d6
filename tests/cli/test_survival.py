"""Trainings that are killed, or interrupted, and started again, as people do it: the same command once more."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from helpers import models
from tightc.example import RECIPE

MODEL, DATA = RECIPE.with_name("digits.onnx"), RECIPE.with_name("digits.npz")
IMAGES = len(np.load(DATA)["y_train"])
PATIENCE = 120  # seconds for what takes a few
GOES_ON = "{}.checkpoint keeps the training: run the same command again to go on"
SCRIPT = "from tightc.cli.main import main; main()"
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}
COMMON = [
    "--data",
    str(DATA),
    "--device",
    "cpu",
    "--dtype",
    "float32",
    "--seed",
    "3",
    "--epochs",
    "3",
    "--batch-size",
    "32",
]
RUNS = {
    "sgd, regrown": [
        "--sparsity",
        "0.8",
        "--regrow",
        "0.3",
        "--pruning-interval",
        "7",
        "--learning-rate",
        "0.02",
    ],
    "adamw, mean, validation": [
        *[
            "--optimizer",
            "adamw",
            "--ema-decay",
            "0.98",
            "--validation",
            "300",
            "--bn-recalibration-images",
            "200",
        ],
        *["--align", "8x8", "--budget", "speedup=3", "--label-smoothing", "0.1"],
    ],
    "dropout, augmented": ["--augment", "--lr-schedule", "one-cycle"],
}


def dropping() -> onnx.ModelProto:
    """The example with half of its last inputs dropped while it is trained."""
    proto = onnx.load(str(MODEL))
    last = proto.graph.node[-1]
    assert last.op_type == "Gemm"
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))
    dropout = onnx.helper.make_node("Dropout", [last.input[0], "half"], ["dropped"], name="drop")
    last.input[0] = "dropped"
    proto.graph.node.insert(len(proto.graph.node) - 1, dropout)
    onnx.checker.check_model(proto, full_check=True)
    return proto


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(onnx.load(str(MODEL)), tmp_path / "net.onnx")
    models.save(dropping(), tmp_path / "dropping.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(run: str, output: str, *further: str) -> list[str]:
    model = "dropping.onnx" if "dropout" in run else "net.onnx"
    return ["finetune", model, *COMMON, *RUNS[run], "--json", "-o", output, *further]


def started(arguments: list[str]) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], **pipes, text=True, env=ALONE)


def finished(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    settings: dict[str, Any] = {"capture_output": True, "text": True, "env": ALONE, "timeout": PATIENCE}
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], **settings)


def ended(arguments: list[str], by: signal.Signals, checkpoint: Path, seconds: float) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command that gets a signal so long after it wrote its first checkpoint."""
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    process = started(arguments)
    try:
        limit = time.monotonic() + PATIENCE
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < limit
            time.sleep(0.002)
        time.sleep(seconds)
        assert process.poll() is None, "it was done before it could be ended"
        process.send_signal(by)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out, err


def steps_in(checkpoint: Path) -> int:
    """How many steps were done when it was written."""
    return int(torch.load(checkpoint, weights_only=True)["state"]["step"])


def first_report(progress: str, task: str) -> str:
    """The share that is done in the first line of a task's progress."""
    line = next(line for line in progress.splitlines() if line.startswith(f"{task}: "))
    return line.removeprefix(f"{task}: ").split()[0]


@pytest.mark.parametrize("run", RUNS)
def test_a_run_that_is_killed_ends_with_the_bytes_and_report_of_one_that_is_not(
    run: str, place: Path
) -> None:
    undisturbed = finished(command(run, "whole.onnx"))
    assert undisturbed.returncode == 0, undisturbed.stderr
    dice = random.Random(run)
    arguments = command(run, "out.onnx", "--checkpoint-minutes", "0")
    for _ in range(2):
        code, out, _ = ended(arguments, signal.SIGKILL, place / "out.onnx.checkpoint", 0.3 * dice.random())
        assert (code, out) == (-signal.SIGKILL, "")
        assert not (place / "out.onnx").exists()
    step = steps_in(place / "out.onnx.checkpoint")
    at_last = finished([*arguments, "-v"])
    assert at_last.returncode == 0, at_last.stderr
    held = 300 if "validation" in run else 0
    assert first_report(at_last.stderr, "finetune") == f"{(step + 1) / (3 * ((IMAGES - held) // 32)):.0%}"
    assert (place / "out.onnx").read_bytes() == (place / "whole.onnx").read_bytes()
    assert at_last.stdout == undisturbed.stdout
    assert not (place / "out.onnx.checkpoint").exists()


@pytest.mark.parametrize(("by", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_leaves_a_model_and_the_same_command_goes_on_to_the_same_bytes(
    place: Path, by: signal.Signals, word: str
) -> None:
    run = "sgd, regrown"
    assert finished(command(run, "whole.onnx")).returncode == 0
    arguments = command(run, "out.onnx", "--checkpoint-minutes", "0")
    code, out, err = ended(arguments, by, place / "out.onnx.checkpoint", 0.2)
    assert code == 128 + by
    reported, *rest = err.split("\n")
    kept = f"out.onnx holds the weights at the interrupt; {GOES_ON.format('out.onnx')}"
    assert re.fullmatch(rf"stopped in epoch [123] of 3; {re.escape(kept)}", reported)
    assert rest == ["", f"tightc: {word}", ""]
    (note,) = json.loads(out)["notes"]
    reached = json.loads(out)["totals"]["epochs"]
    assert note.startswith(f"the training was interrupted at epoch {reached:.4g} of 3: ")
    history = json.loads(finished(["inspect", "out.onnx", "--json"]).stdout)["totals"]["history"]
    assert history[-1] == f"finetune (ended by interrupt at epoch {round(reached, 3)})"
    assert_runs(place / "out.onnx", json.loads(out)["totals"]["nonzeros"])
    assert (place / "out.onnx.checkpoint").exists()
    assert finished(arguments).returncode == 0
    assert (place / "out.onnx").read_bytes() == (place / "whole.onnx").read_bytes()
    assert sorted(os.listdir()) == ["dropping.onnx", "net.onnx", "out.onnx", "whole.onnx"]


def test_ctrl_c_leaves_a_model_that_is_its_own_output_as_it_was(place: Path) -> None:
    before = (place / "net.onnx").read_bytes()
    arguments = command("sgd, regrown", "net.onnx", "--checkpoint-minutes", "0")
    code, out, err = ended(arguments, signal.SIGINT, place / "net.onnx.checkpoint", 0.0)
    assert (code, out) == (130, "")
    assert err.endswith(f"; {GOES_ON.format('net.onnx')}\n\ntightc: interrupted\n") and err.startswith(
        "stopped "
    )
    assert (place / "net.onnx").read_bytes() == before
    assert finished(arguments).returncode == 0
    assert (place / "net.onnx").read_bytes() != before


def test_ctrl_c_leaves_a_model_that_is_its_own_output_by_another_name_as_it_was(place: Path) -> None:
    before = (place / "net.onnx").read_bytes()
    (place / "link.onnx").symlink_to("net.onnx")
    for output in ("link.onnx", str(place / "net.onnx")):
        arguments = command("sgd, regrown", output, "--checkpoint-minutes", "0")
        code, out, err = ended(arguments, signal.SIGINT, place / f"{output}.checkpoint", 0.0)
        assert (code, out) == (130, "")
        assert err.endswith(f"; {GOES_ON.format(output)}\n\ntightc: interrupted\n")
        assert (place / "net.onnx").read_bytes() == before


def assert_runs(path: Path, nonzeros: int) -> None:
    """It is a valid model that tells numbers apart, with as many weights as the report says."""
    proto = onnx.load(str(path))
    onnx.checker.check_model(proto, full_check=True)
    weights = [numpy_helper.to_array(t) for t in proto.graph.initializer if len(t.dims) in (2, 4)]
    assert sum(int(np.count_nonzero(weight)) for weight in weights) == nonzeros
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": np.random.default_rng(0).random((3, 1, 8, 8), np.float32)})
    assert logits.shape == (3, 10) and np.isfinite(logits).all()


def test_the_checkpoint_of_other_options_is_refused_and_stays(place: Path) -> None:
    arguments = command("sgd, regrown", "out.onnx", "--checkpoint-minutes", "0")
    ended(arguments, signal.SIGKILL, place / "out.onnx.checkpoint", 0.0)
    kept = (place / "out.onnx.checkpoint").read_bytes()
    others = [*arguments]
    others[others.index("--seed") + 1] = "4"
    other = finished(others)
    remedy = "remove it, or rerun with the options and files that it was written with"
    assert (other.returncode, other.stdout) == (2, "")
    sentence = "expected a checkpoint of this run, got one of another"
    assert other.stderr == f"tightc: error: out.onnx.checkpoint: {sentence}; {remedy}\n"
    (place / "elsewhere").write_bytes(kept[: len(kept) // 2])
    broken = finished([*arguments, "--checkpoint", "elsewhere"])
    assert (broken.returncode, broken.stdout) == (2, "")
    assert (
        broken.stderr
        == f"tightc: error: elsewhere: expected a checkpoint of finetune, got another file; {remedy}\n"
    )
    assert (place / "out.onnx.checkpoint").read_bytes() == kept
    assert not (place / "out.onnx").exists()


def test_a_recipe_that_is_killed_while_it_trains_goes_on_where_it_was(place: Path) -> None:
    options = "epochs: 3, batch_size: 32, checkpoint_minutes: 0, device: cpu, dtype: float32, sparsity: 0.8"
    recipe = (
        f"model: net.onnx\nseed: 2\ndata: {{data: {json.dumps(str(DATA))}}}\n"
        f"stages:\n  - finetune: {{{options}, pruning_interval: 9, align: 4x4, regrow: 0.2}}\n"
    )
    (place / "r.yaml").write_text(recipe)
    arguments = ["run", "r.yaml", "-q", "-o"]
    assert finished([*arguments, "whole"]).returncode == 0
    process = started([*arguments, "killed"])
    try:
        limit = time.monotonic() + PATIENCE
        while not list(place.glob("killed/*.checkpoint")):
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.002)
        time.sleep(0.2)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    assert not (place / "killed" / "01-finetune.onnx").exists()
    (checkpoint,) = place.glob("killed/*.checkpoint")
    step = steps_in(checkpoint)
    went_on = finished(["run", "r.yaml", "-v", "-o", "killed"])
    assert went_on.returncode == 0, went_on.stderr
    assert first_report(went_on.stderr, "01-finetune") == f"{(step + 1) / (3 * (IMAGES // 32)):.0%}"
    assert not checkpoint.exists()
    models_made = [(place / run / "01-finetune.onnx").read_bytes() for run in ("whole", "killed")]
    assert models_made[0] == models_made[1]
    records = [json.loads((place / run / "01-finetune.json").read_text()) for run in ("whole", "killed")]
    assert records[0]["report"] == records[1]["report"]
