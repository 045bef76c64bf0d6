"""The history says with how many threads a model was trained, since its bytes depend on that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from helpers import training
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training.loop import Training
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.report import Interrupted


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def environment(model: Model) -> object:
    return read_history(model)[-1]["environment"]


@pytest.mark.parametrize("count", [1, 3])
def test_the_history_names_the_threads(count: int) -> None:
    torch.set_num_threads(count)
    model, _ = training.train(training.network("folded"), epochs=1)
    assert environment(model) == {"threads": count}
    assert "environment" not in read_history(model)[-1]["options"]


def test_the_history_names_all_threads_of_a_resumed_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"checkpoint": str(tmp_path / "c"), "checkpoint_minutes": 0}
    torch.set_num_threads(2)
    real, calls = Training._update, []

    def interrupt(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as once:
        once.setattr(Training, "_update", interrupt)
        with pytest.raises(Interrupted) as caught:
            training.train(training.network("folded"), **options)
    assert environment(caught.value.result[0]) == {"threads": 2}
    torch.set_num_threads(1)
    model, _ = training.train(training.network("folded"), **options)
    assert environment(model) == {"threads": [1, 2]}


def test_a_checkpoint_without_threads_is_resumed(tmp_path: Path) -> None:
    """As tightc 0.3.0 wrote it."""
    options = {"checkpoint": str(tmp_path / "c"), "checkpoint_minutes": 0}
    torch.set_num_threads(1)
    whole, _ = training.train(training.network("folded"), **options)
    saved = torch.load(tmp_path / "c", weights_only=True)
    del saved["state"]["threads"]
    torch.save(saved, tmp_path / "c")
    again, _ = training.train(training.network("folded"), **options)
    assert again.to_bytes() == whole.to_bytes()


def test_the_history_names_the_processes_of_a_group() -> None:
    from tightc.finetuning.training_run import TrainingRun

    class Trained:
        threads = frozenset({2})

    run = TrainingRun(None, Trained(), [], (), ProcessGroup(0, 4, 0), "")  # type: ignore[arg-type]
    assert run.environment == {"threads": 2, "processes": 4}
