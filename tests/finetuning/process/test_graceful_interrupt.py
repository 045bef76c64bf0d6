"""Ctrl-C ends a training after the current step, with its result so far and a checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import training
from tightc.finetuning.network.masks import Masks
from tightc.finetuning.training import loop
from tightc.finetuning.training.loop import Training
from tightc.finetuning.training.metrics import TrainingMetrics
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.report import Interrupted

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd, regrown": ("grouped", {"sparsity": 0.7, "regrow": 0.4, "regrow_end": 0.9}),
    "cycles budget, ema, bn recalibration": (
        "normed",
        {"align": "3x2", "budget": "speedup=2", "ema_decay": 0.8, "bn_recalibration_images": 32, "validation": 16},
    ),
}  # fmt: skip
NOTE = "weights and sparsity are those of that moment"


def interrupted(patch: pytest.MonkeyPatch, owner: type, name: str, call: int, **options: Any) -> Model:
    """The result of a training that Ctrl-C ends in call number `call` of a method."""
    method, count = getattr(owner, name), 0

    def presses(*arguments: Any, **given: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            raise KeyboardInterrupt
        return method(*arguments, **given)

    with patch.context() as once:
        once.setattr(owner, name, presses)
        with pytest.raises(Interrupted) as caught:
            training.train(training.network("folded", density=0.6), **options)
    model, report = caught.value.result
    reached = report.totals["epochs"]
    assert report.notes == (f"the training was interrupted at epoch {reached:.4g} of 3: {NOTE}",)
    assert read_history(model)[-1]["ended"] == {"by": "interrupt", "epochs": round(reached, 3)}
    assert 0 <= reached < 3
    assert report.totals["nonzeros"] == sum(training.counts(model, "folded").values())
    return model


def test_ctrl_c_during_validation_keeps_the_ema(monkeypatch: pytest.MonkeyPatch) -> None:
    """The EMA weights are in the network at that moment; afterwards they are the best so far."""
    options = {"ema_decay": 0.9, "validation": 16, "batch_size": 12}
    within = interrupted(monkeypatch, Training, "_accuracy", 1, **options)
    # called on construction and at the start of each epoch: that of the second follows the validation
    behind = interrupted(monkeypatch, TrainingMetrics, "start_epoch", 3, **options)
    assert within.to_bytes() == behind.to_bytes()


@pytest.mark.parametrize("sparsity", [None, 0.7])
def test_ctrl_c_in_the_middle_of_a_step_keeps_zeros(
    sparsity: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = training.tensors(training.network("folded", density=0.6))
    pruned = {} if sparsity is None else {"sparsity": sparsity, "pruning_interval": 1}
    options = {"momentum": 0.9, "ema_decay": 0.5, **pruned}
    for call in (1, 4, 11):
        after = interrupted(monkeypatch, Masks, "mask_update", call, **options)
        for name in training.WEIGHTS["folded"]:
            assert not training.tensors(after)[name][before[name] == 0].any()
    left = sum(training.counts(after, "folded").values())
    assert sparsity is None or left == 200 - round(sparsity * 200)


def pressing(times: int, at: int) -> Callable[..., None]:
    """A progress callback that presses Ctrl-C `times` times in its call number `at`."""
    calls = 0

    def report(*_: object) -> None:
        nonlocal calls
        calls += 1
        for _ in range(times if calls == at else 0):
            os.kill(os.getpid(), signal.SIGINT)

    return report


@pytest.mark.parametrize("run", RUNS)
def test_ctrl_c_writes_a_checkpoint_of_the_current_step(run: str, tmp_path: Path) -> None:
    """Even before the interval has passed; the same call then resumes to the same bytes."""
    which, options = RUNS[run]
    complete, report = training.train(training.network(which), **options)
    options = {**options, "checkpoint": str(tmp_path / "c"), "checkpoint_minutes": 600}
    with pytest.raises(Interrupted):
        training.train(training.network(which), **options, progress=pressing(1, 2))
    assert 0 < torch.load(tmp_path / "c", weights_only=True)["state"]["step"] < 9
    again, said = training.train(training.network(which), **options)
    assert again.to_bytes() == complete.to_bytes() and said == report


def test_a_second_ctrl_c_does_not_wait_for_the_step(tmp_path: Path) -> None:
    options = {"checkpoint": str(tmp_path / "c"), "checkpoint_minutes": 600}
    with pytest.raises(Interrupted):
        training.train(training.network("folded"), **options, progress=pressing(2, 1))
    assert not (tmp_path / "c").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_during_batchnorm_recalibration_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"bn_recalibration_images": 32, "checkpoint": str(tmp_path / "c")}
    complete, _ = training.train(training.network("normed"), **options)
    (tmp_path / "c").unlink()
    measure = loop.recalibrate_batchnorm

    def presses(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        measure(*arguments)

    with monkeypatch.context() as once:
        once.setattr(loop, "recalibrate_batchnorm", presses)
        with pytest.raises(Interrupted) as caught:
            training.train(training.network("normed"), **options)
    again, _ = training.train(training.network("normed"), **options)
    assert complete.to_bytes() == again.to_bytes() == caught.value.result[0].to_bytes()


def test_another_ctrl_c_handler_is_kept() -> None:
    presses = []
    before = signal.signal(signal.SIGINT, lambda *_: presses.append(1))
    try:
        training.train(training.network("folded"), progress=pressing(1, 1))
    finally:
        signal.signal(signal.SIGINT, before)
    assert presses == [1]
