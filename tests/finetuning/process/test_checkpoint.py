"""A killed training resumes to the same bytes, and no other checkpoint is accepted."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import training
from tightc.data.images import Images, Normalization
from tightc.errors import OptionError, OutputError
from tightc.finetuning.finetune import finetune
from tightc.finetuning.network.masks import Masks
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process import checkpoint as checkpoints
from tightc.finetuning.process.checkpoint import Checkpoint

REMEDY = "remove it, or rerun with the options and files that it was written with"
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd, regrown": ("grouped", {"sparsity": 0.7, "regrow": 0.4, "regrow_end": 0.9}),
    "adamw, ema, validation": (
        "folded",
        {"optimizer": "adamw", "learning_rate": 0.01, "ema_decay": 0.9, "validation": 16, "batch_size": 12},
    ),
    "dropout, augmented": ("dropout", {"augment": True, "mixup": 0.4}),
    "cycles budget, ema, bn recalibration": (
        "normed",
        {"align": "3x2", "budget": "speedup=2", "ema_decay": 0.8, "bn_recalibration_images": 32, "validation": 16},
    ),
    "bfloat16, one cycle, shared": (
        "shared",
        {"dtype": "bfloat16", "lr_schedule": "one-cycle", "optimizer": "adamw", "sparsity": 0.5, "epochs": 2},
    ),
    "balanced, tiles of two heights": (
        "folded",
        {"align": "4x2", "budget": "speedup=2", "tile_heights": (4, 2), "criterion": "balanced", "pruning_end": 0.9},
    ),
    "subwords of int8": (
        "int8 normed",
        {"granularity": "subword", "sparsity": 0.6, "ema_decay": 0.8, "validation": 8, "mixup": 0.3},
    ),
    "one-shot with dropout and adamw": (
        "dropout",
        {"optimizer": "adamw", "sparsity": 0.6, "pruning_schedule": "one-shot", "pruning_start": 0.4, "validation": 8},
    ),
}  # fmt: skip


class Killed(BaseException):
    """Not handled by any code, like a kill."""


def dying_at(written: int, monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> None:
    """Runs until the checkpoint has been written `written` times."""
    write, count = Checkpoint.write, 0

    def once_too_often(self: Checkpoint, state: dict[str, Any]) -> None:
        nonlocal count
        write(self, state)
        count += 1
        if count == written:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", once_too_often)
        with pytest.raises(Killed):
            run()


@pytest.mark.parametrize("run", RUNS)
def test_a_run_killed_at_any_step_resumes_to_the_same_bytes_and_report(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which, options = RUNS[run]
    model = training.quantized(which.split()[1]) if " " in which else training.network(which)
    undisturbed, report = training.train(model, seed=5, **options)
    saving = {"checkpoint": str(tmp_path / "c"), "checkpoint_minutes": 0.0}
    for steps in ([1], [3, 1], [4, 4], [5, 2, 1]):
        for step in steps:
            dying_at(step, monkeypatch, lambda: training.train(model, seed=5, **options, **saving))
        torch.manual_seed(99)  # the random state of the resuming process must not matter
        found, same = training.train(model, seed=5, **options, **saving)
        assert found.to_bytes() == undisturbed.to_bytes()
        assert same == report
        (tmp_path / "c").unlink()


def test_a_run_killed_after_its_last_step_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = training.network("normed")
    options = {
        "ema_decay": 0.7,
        "sparsity": 0.5,
        "pruning_end": 1.0,
        "bn_recalibration_images": 16,
        "validation": 16,
    }
    undisturbed, report = training.train(model, **options)
    saving = {"checkpoint": str(tmp_path / "c"), "checkpoint_minutes": 0.0}
    dying_at(9, monkeypatch, lambda: training.train(model, **options, **saving))
    found, same = training.train(model, **options, **saving)
    assert (found.to_bytes(), same) == (undisturbed.to_bytes(), report)


def test_a_resumed_run_repeats_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saving = {"checkpoint": str(tmp_path / "c"), "checkpoint_minutes": 0.0}
    dying_at(7, monkeypatch, lambda: training.train(training.network("folded"), **saving))
    update, count = Masks.mask_update, 0

    def counted(self: Masks, optimizer: Any) -> None:
        nonlocal count
        count += 1
        update(self, optimizer)

    monkeypatch.setattr(Masks, "mask_update", counted)
    training.train(training.network("folded"), **saving)
    assert count == 12 - 7


def test_before_the_interval_only_the_ends_of_epochs_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed training loses at most an epoch; the work after the last step can be interrupted too."""
    written, write = [], Checkpoint.write
    monkeypatch.setattr(
        Checkpoint, "write", lambda self, state: (written.append(state["step"]), write(self, state))[1]
    )
    training.train(training.network("folded"), checkpoint=str(tmp_path / "c"), checkpoint_minutes=60.0)
    assert written == [4, 2 * 4, 3 * 4]


# --- other checkpoints


def given_up(path: Path, **given: Any) -> OptionError:
    with pytest.raises(OptionError) as fault:
        training.train(given.pop("model", training.network("folded")), checkpoint=str(path), **given)
    return fault.value


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of a killed run."""
    path = tmp_path / "left"
    saving = {"checkpoint": str(path), "checkpoint_minutes": 0.0}
    dying_at(2, monkeypatch, lambda: training.train(training.network("folded"), **saving))
    return path


def brighter() -> Images:
    images = training.quadrants()
    return replace(images, pixels=images.pixels + np.uint8(1))


def relabeled() -> Images:
    images = training.quadrants()
    return replace(images, labels=np.where(images.labels == 0, 1, images.labels))


@pytest.mark.parametrize(
    "given",
    [
        {"seed": 1},
        {"learning_rate": 0.04},
        {"epochs": 4},
        {"sparsity": 0.5},
        {"model": training.network("folded", seed=1)},
        {"model": training.network("dropout")},
        {"images": brighter()},
        {"images": relabeled()},
    ],
    ids=lambda given: next(iter(given)),
)
def test_the_checkpoint_of_another_run_is_refused(given: dict[str, Any], left: Path) -> None:
    fault = given_up(left, **given)
    assert (fault.sentence, fault.remedy) == (
        f"{left}: expected a checkpoint of this run, got one of another",
        REMEDY,
    )
    assert fault.exit_code == 2
    assert left.exists()


def test_the_checkpoint_of_a_run_with_another_teacher_or_normalization_is_refused(left: Path) -> None:
    options = FinetuneOptions.of({**training.QUICK, "checkpoint": str(left)})
    model, images = training.network("folded"), training.quadrants()
    for normalization, teacher in ((training.NORMALIZATION, model), (Normalization((0.4,), (0.25,)), None)):
        with pytest.raises(OptionError, match="expected a checkpoint of this run, got one of another"):
            finetune(model, images, normalization, options, seed=0, teacher=teacher)


def test_checkpoint_path_and_interval_may_change(left: Path, tmp_path: Path) -> None:
    moved = left.rename(tmp_path / "moved")
    undisturbed, _ = training.train(training.network("folded"))
    found, _ = training.train(training.network("folded"), checkpoint=str(moved), checkpoint_minutes=3.0)
    assert found.to_bytes() == undisturbed.to_bytes()


@pytest.mark.parametrize(
    "content",
    [torch.zeros(3), [1, 2], None, 7, "text", {"state": {}}, {"key": "k"}, {"a": torch.zeros(1)}, Path("a")],
    ids=repr,
)
def test_other_torch_files_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c")
    fault = given_up(tmp_path / "c")
    assert (fault.sentence, fault.remedy) == (
        f"{tmp_path / 'c'}: expected a checkpoint of finetune, got another file",
        REMEDY,
    )


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    assert given_up(tmp_path).sentence == (
        f"--checkpoint: expected a file, got a folder, pipe or device, {tmp_path}"
    )


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "expected a file, got a folder, pipe or device" in given_up(tmp_path / "pipe").sentence


def test_a_name_that_is_too_long_is_found_before_the_training(tmp_path: Path) -> None:
    sentence = given_up(tmp_path / ("x" * 300)).sentence
    assert sentence == f"--checkpoint: {tmp_path / ('x' * 300)}: cannot be written (File name too long)"


def test_a_truncated_checkpoint_is_refused(left: Path) -> None:
    whole = left.read_bytes()
    for size in (0, 1, 4, 30, 64, 100, len(whole) // 2, len(whole) - 100, len(whole) - 1):
        left.write_bytes(whole[:size])
        assert given_up(left).sentence == f"{left}: expected a checkpoint of finetune, got another file", size


def test_a_checkpoint_with_a_wrong_byte_is_refused_or_harmless(left: Path) -> None:
    whole = left.read_bytes()
    undisturbed, _ = training.train(training.network("folded"))
    refused = 0
    for place in np.random.default_rng(0).integers(0, len(whole), 40).tolist():
        left.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            found, _ = training.train(training.network("folded"), checkpoint=str(left))
            assert found.to_bytes() == undisturbed.to_bytes(), place
        except OptionError as fault:
            assert fault.sentence == f"{left}: expected a checkpoint of finetune, got another file"
            refused += 1
    assert refused > 10


@given(st.binary(max_size=40), st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"\x80\x02}q\x00("]))
def test_any_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, begin: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "c"
    path.write_bytes(begin + content)
    with pytest.raises(OptionError) as fault:
        Checkpoint(path, 0, "key").read()
    assert fault.value.sentence == f"{path}: expected a checkpoint of finetune, got another file"


# --- a checkpoint that cannot be written


def test_a_training_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OutputError(f"{path}: cannot be written (No space left on device)", "free some space")

    reported = []
    whole, report = training.train(training.network("folded"))
    monkeypatch.setattr(checkpoints, "write_file_atomically", full)
    options = {"checkpoint": str(tmp_path / "c"), "checkpoint_minutes": 0}
    after, said = training.train(
        training.network("folded"), **options, progress=lambda *call: reported.append(call[2])
    )
    assert after.to_bytes() == whole.to_bytes()
    note = f"no checkpoint: {tmp_path / 'c'}: cannot be written (No space left on device)"
    assert said == replace(report, notes=(note,))
    assert reported[-1]["checkpoint"] == "not written"


def test_a_read_only_checkpoint_folder_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    with pytest.raises(OptionError) as fault:
        training.train(training.network("folded"), checkpoint=str(tmp_path / "c"))
    assert str(fault.value) == (
        f"--checkpoint: expected a writable folder, got {tmp_path}; give another file with --checkpoint"
    )
