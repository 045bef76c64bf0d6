"""Every sentence that finetune can end with, word for word."""

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
from tightc.finetuning.process.device import choose_device, memory_named
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training import loop
from tightc.model.file import Model


def refused(call: Callable[[], object]) -> tuple[str, str, int]:
    with pytest.raises((ModelError, OptionError)) as fault:
        call()
    return fault.value.sentence, fault.value.remedy, fault.value.exit_code


def broken_at(step: int, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the loss of that step, counted from 1, what it never should be."""
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
        (1, float("nan"), "the loss is nan (epoch 1, step 1, learning rate 0.04)"),
        (3, float("inf"), "the loss is inf (epoch 1, step 3, learning rate 0.0373)"),
        (12, float("nan"), "the loss is nan (epoch 3, step 4, learning rate 0.000681)"),
    ],
)
def test_a_loss_that_is_not_finite_says_when_and_at_which_rate(
    step: int, value: float, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cosine from 0.04 without warm-up over 12 steps: 0.04 cos^2(90 degrees * step / 12)."""
    broken_at(step, value, monkeypatch)
    found = refused(lambda: training.train(training.network("folded"), learning_rate=0.04, warm_up=0.0))
    assert found == (sentence, "lower --learning-rate", 2)


def test_a_tensor_that_is_not_finite_at_the_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    update = loop.Training._update

    def too_far(self: loop.Training, *arguments: Any) -> Any:
        found = update(self, *arguments)
        if self.step == self.steps - 1:
            with torch.no_grad():
                self.lesson.student.parameter("last_w").fill_(float("inf"))
        return found

    monkeypatch.setattr(loop.Training, "_update", too_far)
    found = refused(lambda: training.train(training.network("normed"), learning_rate=0.01))
    sentence = "tensor last_w is no longer finite after 3 epochs at learning rate 0.01"
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


def test_a_network_that_mixes_the_images_of_a_batch_is_refused() -> None:
    def mixed(proto: onnx.ModelProto) -> None:
        proto.graph.node[-1].output[0] = "each"
        proto.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axes"))
        proto.graph.node.append(onnx.helper.make_node("ReduceMean", ["each", "axes"], ["logits"]))

    found = refused(lambda: training.train(changed(mixed)))
    sentence = "net.onnx: a batch of 2 images gives 1 x 4 outputs"
    assert found == (sentence, "export the model with an open batch size", 2)


def test_a_network_of_one_image_is_refused() -> None:
    def of_one(proto: onnx.ModelProto) -> None:
        for node in proto.graph.node:
            if node.op_type == "Flatten":
                node.op_type = "Reshape"
                node.input.append("shape")
        proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 32]), "shape"))
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.shape.dim[0].Clear()
            value.type.tensor_type.shape.dim[0].dim_value = 1

    found = refused(lambda: training.train(changed(of_one)))
    assert found == (
        "net.onnx: torch cannot run it on a batch of 2 x 1 x 8 x 8 (shape '[1, 32]' is invalid for input of size 64)",
        "export the model with an open batch size",
        2,
    )


@pytest.mark.parametrize(
    ("given", "sentence", "remedy"),
    [
        (
            {"sparsity": 0.5, "prune_from": 0.6, "prune_until": 0.25},
            "--prune-until: pruning would end at 0.25, before it begins at 0.6",
            "give --prune-from at most --prune-until",
        ),
        (
            {"sparsity": 0.5, "align": "4x4", "budget": "speedup=2"},
            "--budget: a sparsity and a budget at once",
            "give --sparsity or --budget",
        ),
        (
            {"budget": "compression=2"},
            "--budget: compression=2 needs the array that it is meant for",
            "add --align 32x32",
        ),
        (
            {"align": "4x4", "budget": "compression=2", "scope": "layer"},
            "--scope: a budget is of the network",
            "leave --scope layer out",
        ),
        (
            {"align": "4x4", "budget": "area=2"},
            f"--budget: expected {FinetuneOptions.model_fields['budget'].description}, got 'area=2'",
            "give compression= or speedup= and a number above 1, such as compression=10",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    given: dict[str, Any], sentence: str, remedy: str
) -> None:
    assert refused(lambda: FinetuneOptions.of(given)) == (sentence, remedy, 2)


@pytest.mark.parametrize(
    ("keep", "sentence", "remedy"),
    [
        (
            ("third",),
            "--keep third: no layer has that name (there are first, last)",
            "give the name of a layer, or a pattern such as 'layer1.*'",
        ),
        (("first", "l*"), "--keep leaves no layer", "keep fewer layers"),
    ],
)
def test_layers_to_keep_that_are_none_or_all_are_refused(
    keep: tuple[str, ...], sentence: str, remedy: str
) -> None:
    found = refused(lambda: training.train(training.network("folded"), sparsity=0.5, keep=keep))
    assert found == (sentence, remedy, 2)


def test_a_batch_that_cannot_be_dealt_out_is_refused() -> None:
    for size, members in ((30, 4), (2, 3)):
        found = refused(lambda: ProcessGroup(0, members).check(size))  # noqa: B023
        sentence = f"--batch-size {size} cannot be dealt out to {members} processes"
        assert found == (sentence, f"give a multiple of {members}", 2)
    ProcessGroup(1, 4).check(32)


def test_a_team_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ProcessGroup.of_environment() == ProcessGroup(0, 1, 0)
    assert ProcessGroup.of_environment().leads
    monkeypatch.setenv("RANK", "5")
    assert ProcessGroup.of_environment() == ProcessGroup(0, 1, 0)  # nobody said how many there are
    for name, value in (*TORCHRUN.items(), ("RANK", "5"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert ProcessGroup.of_environment() == ProcessGroup(5, 8, 1)
    assert not ProcessGroup.of_environment().leads


TORCHRUN = {"WORLD_SIZE": "8", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE=many is not permitted"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0 is not permitted"),
        ({"RANK": "-1"}, "RANK=-1 is not permitted"),
        ({"LOCAL_RANK": ""}, "LOCAL_RANK= is not permitted"),
        ({"RANK": "8"}, "RANK is 8, of 8 processes numbered from 0"),
        *(
            ({name: None}, f"WORLD_SIZE is 8, but {name} is not set")
            for name in TORCHRUN
            if name != "WORLD_SIZE"
        ),
    ],
)
def test_a_team_that_is_said_by_half_is_refused(
    changes: dict[str, str | None], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**TORCHRUN, **changes}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    found = refused(lambda: training.train(training.network("folded")))
    assert found == (sentence, "start it with torchrun, or unset WORLD_SIZE", 2)


def test_processes_that_do_not_meet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**TORCHRUN, "MASTER_PORT": "no port"}.items():
        monkeypatch.setenv(name, value)
    sentence, remedy, code = refused(lambda: training.train(training.network("folded")))
    assert sentence.startswith("the 8 processes do not meet (") and "no port" in sentence
    assert (remedy, code) == ("start it with torchrun, or unset WORLD_SIZE", 2)


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_one_device_for_several_processes_is_refused(device: str) -> None:
    found = refused(lambda: choose_device(device, "fp32", local_rank=1))
    sentence = f"--device: {device} is one device, and several processes train on this machine"
    assert found == (sentence, "give cuda, so that each takes its own", 2)


def test_too_little_memory_is_named() -> None:
    def too_much() -> None:
        with memory_named(64):
            torch.empty(2**60, dtype=torch.uint8)

    sentence = "--batch-size 64: what is trained on does not fit into memory"
    assert refused(too_much) == (sentence, "give a smaller one", 2)


def test_too_little_memory_in_a_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: object) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(loop, "training_loss", hungry)
    sentence = "--batch-size 16: what is trained on does not fit into memory"
    assert refused(lambda: training.train(training.network("folded"))) == (sentence, "give a smaller one", 2)


def test_other_faults_of_torch_are_no_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_named(64):
        torch.zeros(3).reshape(2, 2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("align", "8x8"), ("keep", ("first",)), ("floor", 0.1), ("granularity", "filter"), ("regrow", 0.1),
        ("schedule", "linear"), ("scope", "layer"), ("prune_from", 0.1), ("prune_until", 0.8), ("prune_every", 8),
        ("regrow_until", 0.5),
    ],
)  # fmt: skip
def test_how_to_prune_without_how_much_is_refused(option: str, value: object) -> None:
    with pytest.raises(OptionError) as fault:
        FinetuneOptions.of({option: value})
    flag = f"--{option.replace('_', '-')}"
    sentence = f"{flag}: nothing is pruned, for no share is asked for; add --sparsity or --budget"
    assert str(fault.value) == sentence
    assert FinetuneOptions.of({option: FinetuneOptions.model_fields[option].default}).share is None


@pytest.mark.parametrize(("option", "value"), [("distil_weight", 0.9), ("distil_temperature", 2.0)])
def test_how_to_be_taught_without_a_teacher_is_refused(option: str, value: float) -> None:
    flag = f"--{option.replace('_', '-')}"
    found = refused(lambda: training.train(training.network("folded"), **{option: value}))
    assert found == (f"{flag} {value:g} without a teacher", f"add --teacher, or leave {flag} out", 2)


def test_a_checkpoint_without_a_folder_is_refused_before_the_first_step() -> None:
    heard: list[float] = []
    found = refused(
        lambda: training.train(
            training.network("normed"),
            checkpoint="nowhere/at/all",
            progress=lambda _, done, __: heard.append(done),
        )
    )
    sentence = "nowhere/at/all: there is no folder nowhere/at for the checkpoint"
    assert found == (sentence, "make the folder first", 2)
    assert heard == []
