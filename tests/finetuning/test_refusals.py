"""All errors of finetune, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from helpers import training
from helpers.loading import loaded
from tightc.errors import ModelError, OptionError
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process.device import choose_device, out_of_memory_as_option_error
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training import loop
from tightc.model.file import Model


def refused(call: Callable[[], object]) -> tuple[str, str, int]:
    with pytest.raises((ModelError, OptionError)) as fault:
        call()
    return fault.value.sentence, fault.value.remedy, fault.value.exit_code


def broken_at(step: int, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Multiplies the loss of that step, counted from 1, by `value`."""
    count, loss = 0, loop.training_loss

    def once(*arguments: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        found = loss(*arguments)
        return found * value if count == step else found

    monkeypatch.setattr(loop, "training_loss", once)


@pytest.mark.parametrize(
    ("step", "value", "sentence"),
    [
        (1, float("nan"), "expected a finite loss, got nan (epoch 1, step 1, learning rate 0.04)"),
        (3, float("inf"), "expected a finite loss, got inf (epoch 1, step 3, learning rate 0.0373)"),
        (12, float("nan"), "expected a finite loss, got nan (epoch 3, step 4, learning rate 0.000681)"),
    ],
)
def test_a_loss_that_is_not_finite_says_when_and_at_which_rate(
    step: int, value: float, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cosine from 0.04 without warmup over 12 steps: 0.04 cos^2(90 degrees * step / 12)."""
    broken_at(step, value, monkeypatch)
    found = refused(lambda: training.train(training.network("folded"), learning_rate=0.04, warmup=0.0))
    assert found == (sentence, "lower --learning-rate", 2)


def test_a_tensor_that_is_not_finite_at_the_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    update = loop.Training._update

    def too_far(self: loop.Training, *arguments: Any) -> Any:
        found = update(self, *arguments)
        if self.step == self.steps - 1:
            with torch.no_grad():
                self.setup.student.parameter("last_w").fill_(float("inf"))
        return found

    monkeypatch.setattr(loop.Training, "_update", too_far)
    found = refused(lambda: training.train(training.network("normed"), learning_rate=0.01))
    sentence = (
        "tensor last_w: expected finite values after 3 epochs at learning rate 0.01, got NaN or infinity"
    )
    assert found == (sentence, "lower --learning-rate", 2)


def test_no_checkpoint_is_written_of_a_network_that_diverged(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c"
    broken_at(6, float("nan"), monkeypatch)
    saving = {"checkpoint": str(path), "checkpoint_minutes": 0.0}
    sentence, _, _ = refused(lambda: training.train(training.network("folded"), **saving))
    assert "epoch 2, step 2" in sentence
    state = torch.load(path, weights_only=True)["state"]
    assert state["step"] == 5
    assert all(torch.isfinite(value).all() for value in state["student"].values())


def changed(change: Callable[[onnx.ModelProto], None]) -> Model:
    proto = training.proto_of("folded")
    change(proto)
    return loaded(proto)


def test_a_network_that_reduces_the_batch_is_refused() -> None:
    def mixed(proto: onnx.ModelProto) -> None:
        proto.graph.node[-1].output[0] = "each"
        proto.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axes"))
        proto.graph.node.append(onnx.helper.make_node("ReduceMean", ["each", "axes"], ["logits"]))

    found = refused(lambda: training.train(changed(mixed)))
    sentence = "net.onnx: expected outputs of 2 images x classes, got 1 x 4"
    assert found == (sentence, "export the model with a dynamic batch size", 2)


def test_a_fixed_shape_behind_an_open_input_is_refused() -> None:
    def of_one(proto: onnx.ModelProto) -> None:
        for node in proto.graph.node:
            if node.op_type == "Flatten":
                node.op_type = "Reshape"
                node.input.append("shape")
        proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 32]), "shape"))

    found = refused(lambda: training.train(changed(of_one)))
    assert found == (
        "net.onnx: torch cannot run it on a batch of 2 x 1 x 8 x 8 (shape '[1, 32]' is invalid for input of size 64)",
        "export the model with a dynamic batch size",
        2,
    )


@pytest.mark.parametrize(
    ("given", "sentence", "remedy"),
    [
        (
            {"sparsity": 0.5, "pruning_start": 0.6, "pruning_end": 0.25},
            "--pruning-end: expected an end from --pruning-start 0.6 on, got 0.25",
            "raise --pruning-end, or lower --pruning-start",
        ),
        (
            {"sparsity": 0.5, "align": "4x4", "budget": "speedup=2"},
            "--budget: expected one target, got a sparsity and a budget",
            "give --sparsity or --budget",
        ),
        (
            {"budget": "compression=2"},
            "--budget: expected an array to align to with compression=2, got none",
            "add --align 32x32",
        ),
        (
            {"align": "4x4", "budget": "compression=2", "scope": "layer"},
            "--scope: expected scope global with a budget, got layer",
            "leave --scope layer out",
        ),
        (
            {"align": "4x4", "budget": "area=2"},
            f"--budget: expected {FinetuneOptions.model_fields['budget'].description}, got 'area=2'",
            "give compression, speedup, energy or bits=FACTOR with a factor above 1, such as compression=10",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    given: dict[str, Any], sentence: str, remedy: str
) -> None:
    assert refused(lambda: FinetuneOptions.of(given)) == (sentence, remedy, 2)


@pytest.mark.parametrize(
    ("skip", "sentence", "remedy"),
    [
        (
            ("third",),
            "--skip: expected the name of a layer, got 'third'",
            "did you mean first?",
        ),
        (("first", "l*"), "--skip: expected at least one layer left, got none", "skip fewer layers"),
    ],
)
def test_skipping_no_layer_or_all_is_refused(skip: tuple[str, ...], sentence: str, remedy: str) -> None:
    found = refused(lambda: training.train(training.network("folded"), sparsity=0.5, skip=skip))
    assert found == (sentence, remedy, 2)


def test_an_indivisible_batch_is_refused() -> None:
    for size, members in ((30, 4), (2, 3)):
        found = refused(lambda: ProcessGroup(0, members).check_batch_size(size))  # noqa: B023
        sentence = f"--batch-size: expected a multiple of the {members} processes, got {size}"
        assert found == (sentence, f"give a multiple of {members}", 2)
    ProcessGroup(1, 4).check_batch_size(32)


def test_the_process_group_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ProcessGroup.from_environment() == ProcessGroup(0, 1, 0)
    assert ProcessGroup.from_environment().is_main_process
    monkeypatch.setenv("RANK", "5")
    assert ProcessGroup.from_environment() == ProcessGroup(0, 1, 0)  # WORLD_SIZE is not set
    for name, value in (*TORCHRUN.items(), ("RANK", "5"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert ProcessGroup.from_environment() == ProcessGroup(5, 8, 1)
    assert not ProcessGroup.from_environment().is_main_process


TORCHRUN = {"WORLD_SIZE": "8", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE: expected an integer from 1, got 'many'"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE: expected an integer from 1, got '0'"),
        ({"RANK": "-1"}, "RANK: expected an integer from 0, got '-1'"),
        ({"LOCAL_RANK": ""}, "LOCAL_RANK: expected an integer from 0, got ''"),
        ({"RANK": "8"}, "RANK: expected an integer below WORLD_SIZE=8, got 8"),
        *(
            ({name: None}, f"{name}: expected a value with WORLD_SIZE=8, got none")
            for name in TORCHRUN
            if name != "WORLD_SIZE"
        ),
    ],
)
def test_an_incomplete_environment_is_refused(
    changes: dict[str, str | None], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**TORCHRUN, **changes}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    found = refused(lambda: training.train(training.network("folded")))
    assert found == (sentence, "start it with torchrun, or unset WORLD_SIZE", 2)


def test_processes_that_cannot_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**TORCHRUN, "MASTER_PORT": "no port"}.items():
        monkeypatch.setenv(name, value)
    sentence, remedy, code = refused(lambda: training.train(training.network("folded")))
    assert sentence.startswith("the 8 processes cannot connect (") and "no port" in sentence
    assert (remedy, code) == ("start it with torchrun, or unset WORLD_SIZE", 2)


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_one_device_for_several_processes_is_refused(device: str) -> None:
    found = refused(lambda: choose_device(device, "float32", local_rank=1))
    sentence = f"--device: expected one device per process, got {device} for several"
    assert found == (sentence, "give --device cuda", 2)


def test_too_little_memory_is_named() -> None:
    def too_much() -> None:
        with out_of_memory_as_option_error(64):
            torch.empty(2**60, dtype=torch.uint8)

    sentence = "--batch-size 64: the training does not fit into memory"
    assert refused(too_much) == (sentence, "lower --batch-size", 2)


def test_too_little_memory_in_a_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: object) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(loop, "training_loss", hungry)
    sentence = "--batch-size 16: the training does not fit into memory"
    assert refused(lambda: training.train(training.network("folded"))) == (sentence, "lower --batch-size", 2)


def test_other_errors_of_torch_are_passed_on() -> None:
    with pytest.raises(RuntimeError, match="shape"), out_of_memory_as_option_error(64):
        torch.zeros(3).reshape(2, 2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("align", "8x8"), ("skip", ("first",)), ("min_density", 0.1), ("granularity", "filter"), ("regrow", 0.1),
        ("pruning_schedule", "linear"), ("scope", "layer"), ("pruning_start", 0.1), ("pruning_end", 0.8),
        ("pruning_interval", 8), ("regrow_end", 0.5),
    ],
)  # fmt: skip
def test_pruning_options_without_a_target_are_refused(option: str, value: object) -> None:
    with pytest.raises(OptionError) as fault:
        FinetuneOptions.of({option: value})
    flag = f"--{option.replace('_', '-')}"
    sentence = f"{flag}: expected a pruning target, got none; add --sparsity or --budget"
    assert str(fault.value) == sentence
    assert FinetuneOptions.of({option: FinetuneOptions.model_fields[option].default}).kept_fraction is None


@pytest.mark.parametrize(("option", "value"), [("distill_weight", 0.9), ("distill_temperature", 2.0)])
def test_distillation_options_without_a_teacher_are_refused(option: str, value: float) -> None:
    flag = f"--{option.replace('_', '-')}"
    found = refused(lambda: training.train(training.network("folded"), **{option: value}))
    assert found == (
        f"{flag}: expected a teacher with {flag} {value:g}, got none",
        f"add --teacher, or leave {flag} out",
        2,
    )


def test_a_checkpoint_without_a_folder_is_refused_before_the_first_step() -> None:
    reported: list[float] = []
    found = refused(
        lambda: training.train(
            training.network("normed"),
            checkpoint="nowhere/at/all",
            progress=lambda _, done, __: reported.append(done),
        )
    )
    sentence = "--checkpoint: expected an existing folder, got nowhere/at"
    assert found == (sentence, "make the folder first", 2)
    assert reported == []
