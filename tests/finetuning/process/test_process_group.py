"""A process group, as torchrun starts it: one file, one report, one training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from helpers import models, training

FOLDER = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
COMMON = ["--device", "cpu", "--dtype", "float32", "--mean", "0.5", "--std", "0.25", "--no-unfold-batchnorm"]


@pytest.fixture
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two models and their images; torchrun logs beside it."""
    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(tmp_path_factory.mktemp("torchrun")))
    for which in ("folded", "normed"):
        models.save(training.proto_of(which, density=0.8), tmp_path / f"{which}.onnx")
    images = training.quadrants()
    np.savez(tmp_path / "data.npz", x=images.pixels, y=images.labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(
    processes: int, output: str, *further: str, model: str = "folded.onnx"
) -> subprocess.CompletedProcess[str]:
    tightc = [
        str(FOLDER / "tightc"),
        "finetune",
        model,
        "--data",
        "data.npz",
        *COMMON,
        "--json",
        "-o",
        output,
    ]
    torchrun = [str(FOLDER / "torchrun"), "--standalone", "--nproc-per-node", str(processes), "--no-python"]
    settings: dict[str, Any] = {"capture_output": True, "text": True, "env": ENVIRONMENT, "timeout": 120}
    return subprocess.run([*(torchrun if processes > 1 else []), *tightc, *further], **settings)


def tensors(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}


TRAINED = ["--epochs", "3", "--batch-size", "16", "--learning-rate", "0.02"]


@pytest.mark.parametrize(
    "further",
    [
        [],
        ["--sparsity", "0.6", "--regrow", "0.3", "--pruning-interval", "2", "--optimizer", "adamw"],
    ],
    ids=["zeros", "pruned, regrown, adamw"],
)  # fmt: skip
def test_two_processes_train_like_one(further: list[str], place: Path) -> None:
    arguments = [*TRAINED, *further]
    one, two = run(1, "one.onnx", *arguments), run(2, "two.onnx", *arguments)
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    single, group = tensors(place / "one.onnx"), tensors(place / "two.onnx")
    before = tensors(place / "folded.onnx")
    for name, tensor in single.items():
        np.testing.assert_allclose(group[name], tensor, rtol=1e-3, atol=1e-4, err_msg=name)
        assert ((group[name] == 0) == (tensor == 0)).all()
    assert not np.allclose(before["first_w"], single["first_w"], rtol=0.01, atol=0.01)
    reports = [json.loads(process.stdout) for process in (one, two)]  # one object, or this fails
    for key in ("nonzeros", "density", "zeros_kept", "epochs", "parameters"):
        assert reports[0]["totals"][key] == reports[1]["totals"][key]
    for key in ("train_loss", "train_accuracy"):  # over the images of both processes
        assert reports[1]["totals"][key] == pytest.approx(reports[0]["totals"][key], rel=1e-3)
    assert sorted(os.listdir()) == ["data.npz", "folded.onnx", "normed.onnx", "one.onnx", "two.onnx"]


def test_normalization_ema_validation_and_augmentation_leave_one_valid_model(place: Path) -> None:
    further = [
        "--ema-decay",
        "0.8",
        "--validation",
        "16",
        "--bn-recalibration-images",
        "32",
        "--augment",
        "--sparsity",
        "0.5",
    ]
    process = run(2, "two.onnx", *TRAINED, *further, model="normed.onnx")
    assert process.returncode == 0, process.stderr
    onnx.checker.check_model(onnx.load("two.onnx"), full_check=True)
    found, totals = tensors(place / "two.onnx"), json.loads(process.stdout)["totals"]
    assert (
        sum(int(np.count_nonzero(found[name])) for name in ("first_w", "last_w")) == 100 == totals["nonzeros"]
    )
    assert 0 <= totals["validation_accuracy"] <= 100


def test_an_indivisible_batch_ends_in_one_error(place: Path) -> None:
    process = run(2, "two.onnx", "--batch-size", "15")
    assert process.returncode != 0
    sentence = (
        "tightc: error: --batch-size: expected a multiple of the 2 processes, got 15; give a multiple of 2"
    )
    assert sentence in process.stderr.splitlines()
    assert process.stdout == ""
    assert not (place / "two.onnx").exists()


FOLDED = ["finetune", "folded.onnx", "--data", "data.npz", *COMMON, "--json", "-o", "two.onnx", *TRAINED]
IMPORTS = """
import os, signal
from pathlib import Path
from tightc.cli.main import main
from tightc.finetuning.process.checkpoint import Checkpoint
"""
DYING = """
write = Checkpoint.write
def once(self, state):
    write(self, state)
    state["step"] == 8 and os.kill(os.getpid(), signal.SIGKILL)
Checkpoint.write = once
"""
ON_ITS_OWN_DISK = """
begin = Checkpoint.__post_init__
def elsewhere(self):
    begin(self)
    if os.environ["RANK"] == "1":
        self.path = Path("elsewhere") / self.path
Checkpoint.__post_init__ = elsewhere
"""
MAIN = "main()"


NOT_FINITE = """
from tightc.finetuning.training import loop
find = loop.training_loss
count = 0
def once(*arguments):
    global count
    count += 1
    return find(*arguments) * (float("nan") if os.environ["RANK"] == BROKEN and count == 7 else 1)
loop.training_loss = once
"""


def scripted(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes that run the script of that name."""
    torchrun = [str(FOLDER / "torchrun"), "--standalone", "--nproc-per-node", "2", name]
    settings: dict[str, Any] = {"capture_output": True, "text": True, "env": ENVIRONMENT, "timeout": 120}
    return subprocess.run([*torchrun, *arguments], **settings)


def test_a_killed_process_group_resumes_together(place: Path) -> None:
    """Only the main process writes; all resume from its file."""
    complete = run(2, "complete.onnx", *TRAINED)
    assert complete.returncode == 0, complete.stderr
    (place / "dying.py").write_text(IMPORTS + DYING + MAIN)
    assert scripted("dying.py", *FOLDED, "--checkpoint-minutes", "0").returncode != 0
    assert (place / "two.onnx.checkpoint").exists() and not (place / "two.onnx").exists()
    resumed = run(2, "two.onnx", *TRAINED, "--checkpoint-minutes", "0")
    assert resumed.returncode == 0, resumed.stderr
    assert (place / "two.onnx").read_bytes() == (place / "complete.onnx").read_bytes()
    assert resumed.stdout == complete.stdout
    assert not (place / "two.onnx.checkpoint").exists()


def test_all_processes_resume_from_the_checkpoint_of_the_main_process(place: Path) -> None:
    assert run(2, "complete.onnx", *TRAINED).returncode == 0
    (place / "dying.py").write_text(IMPORTS + ON_ITS_OWN_DISK + DYING + MAIN)
    assert scripted("dying.py", *FOLDED, "--checkpoint-minutes", "0").returncode != 0
    assert (place / "two.onnx.checkpoint").exists() and not (place / "elsewhere").exists()
    (place / "resuming.py").write_text(IMPORTS + ON_ITS_OWN_DISK + MAIN)
    resumed = scripted("resuming.py", *FOLDED)
    assert resumed.returncode == 0, resumed.stderr
    assert (place / "two.onnx").read_bytes() == (place / "complete.onnx").read_bytes()


def test_a_checkpoint_that_the_main_process_refuses_is_refused_by_all(place: Path) -> None:
    (place / "two.onnx.checkpoint").write_bytes(b"something else")
    process = run(2, "two.onnx", *TRAINED)
    sentence = "tightc: error: two.onnx.checkpoint: expected a checkpoint of finetune, got another file; remove it, or"
    lines = [line for line in process.stderr.splitlines() if line.startswith("tightc: ")]
    assert process.returncode != 0 and lines
    assert all(line.startswith(sentence) for line in lines)
    assert "tightc/finetuning" not in process.stderr  # no trace of ours


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_loss_that_is_not_finite_in_one_process_ends_all_with_the_same_error(
    rank: str, place: Path
) -> None:
    """Step 7 is the third of an epoch of four, halfway down a cosine from 0.02; all synchronized after step 4."""
    (place / "broken.py").write_text(IMPORTS + NOT_FINITE.replace("BROKEN", repr(rank)) + MAIN)
    process = scripted("broken.py", *FOLDED, "--checkpoint-minutes", "0", "--warmup", "0")
    place_of_loss = "(epoch 2, step 3, learning rate 0.01)"
    sentence = f"tightc: error: expected a finite loss, got nan {place_of_loss}; lower --learning-rate"
    lines = [line for line in process.stderr.splitlines() if line.startswith("tightc: ")]
    assert process.returncode != 0 and lines
    assert set(lines) == {sentence}
    assert "tightc/finetuning" not in process.stderr  # no trace of ours
    assert torch.load("two.onnx.checkpoint", weights_only=True)["state"]["step"] == 4


EACH = """
import os
from helpers import training
import tightc
model, report = training.train(training.network("normed"), validation=16, ema_decay=0.8, sparsity=0.5)
tightc.save(model, f"by_{os.environ['RANK']}.onnx")
os._exit(0)
"""


def test_all_processes_return_the_weights_of_the_main_process(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the main process validates, and the running statistics of each process come from its own shards."""
    (place / "each.py").write_text(EACH)
    folders = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", os.pathsep.join(filter(None, folders)))
    process = scripted("each.py")
    assert process.returncode == 0, process.stderr
    one, other = (tensors(place / f"by_{rank}.onnx") for rank in (0, 1))
    for name, tensor in one.items():
        assert (other[name] == tensor).all(), name
