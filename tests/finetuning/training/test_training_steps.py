"""EMA, schedules, BatchNorm recalibration and masks, each against its formula."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracle
from helpers import models, training
from tightc.bridge.module import TorchGraph
from tightc.finetuning.batches.batches import Batches
from tightc.finetuning.network.masks import Masks
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.process.device import ComputeDevice, choose_device
from tightc.finetuning.process.process_group import ProcessGroup
from tightc.finetuning.training.batchnorm_recalibration import recalibrate_batchnorm
from tightc.finetuning.training.lr_schedules import cosine_lr, one_cycle
from tightc.finetuning.training.optimizer import make_optimizer
from tightc.finetuning.training.pruning_schedule import kept_at
from tightc.finetuning.training.weight_ema import WeightEma
from tightc.model.onnx_proto.graph import read_graph

FP32 = ComputeDevice(torch.device("cpu"), bfloat16=False)


# --- weight EMA


@given(
    st.lists(st.floats(-10, 10, allow_nan=False), min_size=1, max_size=30), st.sampled_from([0.5, 0.9, 0.999])
)
def test_the_ema_decays_faster_in_the_first_steps(values: list[float], decay: float) -> None:
    weight = torch.nn.Parameter(torch.tensor([values[0], 0.0], dtype=torch.float64))
    ema = WeightEma([weight], decay)
    wanted = values[0]
    for step, value in enumerate(values, start=1):
        with torch.no_grad():
            weight[0] = value
        ema.update()
        kept = min(decay, step / (step + 9))
        wanted = kept * wanted + (1 - kept) * value
    assert ema.steps == len(values)
    assert float(ema.shadow[0][0]) == pytest.approx(wanted, abs=1e-9)


def test_a_second_swap_restores_weights_and_ema() -> None:
    weights = [torch.nn.Parameter(torch.tensor([1.0, 2.0])), torch.nn.Parameter(torch.tensor([[3.0]]))]
    ema = WeightEma(weights, 0.5)
    with torch.no_grad():
        weights[0].add_(10)
    ema.swap()
    assert weights[0].tolist() == [1.0, 2.0] and ema.shadow[0].tolist() == [11.0, 12.0]
    ema.swap()
    assert weights[0].tolist() == [11.0, 12.0] and ema.shadow[0].tolist() == [1.0, 2.0]
    other = WeightEma(weights, 0.5)
    other.load_state(7, [torch.tensor([5.0, 6.0]), torch.tensor([[4.0]])])
    assert (other.steps, other.shadow[0].tolist()) == (7, [5.0, 6.0])
    assert weights[0].tolist() == [11.0, 12.0]


# --- schedules


@given(st.integers(1, 200), st.floats(0, 0.99), st.sampled_from([0.001, 0.05, 10.0]))
def test_the_cosine_rises_to_its_peak_and_falls_to_zero(steps: int, warmup: float, peak: float) -> None:
    rates = [cosine_lr(step, steps, peak, warmup) for step in range(steps)]
    rising = max(1, round(steps * warmup))
    assert all(0 < rate <= peak for rate in rates)
    assert all(before >= after for before, after in zip(rates[rising - 1 :], rates[rising:], strict=False))
    for step, rate in enumerate(rates):
        lifted = rate / min(1.0, (step + 1) / rising)
        assert lifted == pytest.approx(peak * math.cos(math.pi * step / steps / 2) ** 2)
    assert cosine_lr(steps, steps, peak, warmup) == pytest.approx(0, abs=1e-12)


@given(st.integers(2, 200), st.floats(0, 0.99), st.sampled_from([0.0, 0.05, 0.9]))
def test_one_cycle_goes_up_and_down_once_and_the_momentum_the_other_way(
    steps: int, warmup: float, momentum: float
) -> None:
    peak, rising = 0.5, max(1, round(steps * warmup))
    schedule = [one_cycle(step, steps, peak, momentum, warmup) for step in range(steps + 1)]
    rates, momenta = zip(*schedule, strict=True)
    low = max(0.0, momentum - 0.1)
    assert schedule[0] == pytest.approx((peak / 25, momentum))
    assert schedule[rising] == pytest.approx((peak, low))
    if rising < steps:
        assert schedule[steps] == pytest.approx((peak * 1e-4, momentum))
    assert list(rates[: rising + 1]) == sorted(rates[: rising + 1])
    assert list(rates[rising:]) == sorted(rates[rising:], reverse=True)
    assert list(momenta[: rising + 1]) == sorted(momenta[: rising + 1], reverse=True)
    assert list(momenta[rising:]) == sorted(momenta[rising:])


@given(st.sampled_from(["cubic", "linear", "one-shot"]), st.floats(0.1, 1), st.floats(0, 1))
def test_the_kept_fraction_falls_from_start_to_end(kind: str, start: float, part: float) -> None:
    end = start * part
    shares = [kept_at(kind, done / 20, start, end) for done in range(21)]
    assert shares[0] == pytest.approx(end if kind == "one-shot" else start)
    assert shares[-1] == end
    assert all(before >= after - 1e-12 for before, after in pairwise(shares))
    halfway = {"cubic": 1 / 8, "linear": 1 / 2, "one-shot": 0}[kind]
    assert shares[10] == pytest.approx(end + (start - end) * halfway)


# --- BatchNorm recalibration


def norm_inputs(which: str, images: np.ndarray) -> np.ndarray:
    """The input of the normalization after the first convolution: (images, filters, height, width)."""
    weight = training.tensors(training.network(which))["first_w"].astype(np.float64)
    return oracle.convolution(images, weight, pads=(1, 1, 1, 1))


def test_recalibrated_statistics_are_means_of_batch_statistics() -> None:
    student = TorchGraph(read_graph(training.proto_of("normed")))
    batches = list(torch.randn(3, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    before = {name: array.copy() for name, array in student.trained().items()}
    recalibrate_batchnorm(student, [(batch,) for batch in batches], FP32)
    seen = [norm_inputs("normed", batch.numpy()) for batch in batches]
    found = student.trained()
    np.testing.assert_allclose(
        found["mean"], np.mean([x.mean((0, 2, 3)) for x in seen], axis=0), rtol=1e-4, atol=1e-6
    )
    variances = np.mean([x.var((0, 2, 3), ddof=1) for x in seen], axis=0)
    np.testing.assert_allclose(found["variance"], variances, rtol=1e-4)
    assert not student.training
    for name in before.keys() - {"mean", "variance"}:
        assert (found[name] == before[name]).all()


def test_norms_with_shared_statistics_combine_their_update_rates() -> None:
    text = TWO_NORMS.format("mean, variance", "mean, variance")
    student = TorchGraph(read_graph(two_norms(text)))
    images = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(0)) + 3
    recalibrate_batchnorm(student, [(images,)], FP32)
    found = student.trained()
    one, two = (x.numpy().astype(np.float64) for x in (images, images + 2))
    # the second update keeps 0.9 of the first, which is 0.1 of its batch; the sum is scaled to 1
    for name, first, second in (
        ("mean", one.mean((0, 2, 3)), two.mean((0, 2, 3))),
        ("variance", one.var((0, 2, 3), ddof=1), two.var((0, 2, 3), ddof=1)),
    ):
        np.testing.assert_allclose(found[name], (0.09 * first + 0.1 * second) / 0.19, rtol=1e-4)


TWO_NORMS = """g (float[batch, 2, 4, 4] image) => (float[batch, 2, 4, 4] y) {{
    a = BatchNormalization(image, scale, shift, {})
    moved = Add(image, two)
    b = BatchNormalization(moved, scale, shift, {})
    y = Add(a, b)
}}"""


def two_norms(text: str) -> onnx.ModelProto:
    ones = np.ones(2, np.float32)
    return models.build(
        text, scale=ones, shift=0 * ones, mean=ones, variance=ones, two=np.full((1, 2, 1, 1), 2, np.float32)
    )


def test_a_network_without_batchnorm_is_unchanged() -> None:
    student = TorchGraph(read_graph(training.proto_of("folded")))
    before = {name: array.copy() for name, array in student.trained().items()}
    recalibrate_batchnorm(student, [(torch.zeros(2, 1, 8, 8),)], FP32)
    assert all((array == before[name]).all() for name, array in student.trained().items())


def test_recalibration_uses_the_final_weights() -> None:
    """One batch of all images: mean and variance over all of them."""
    options = {"bn_recalibration_images": 64, "batch_size": 64, "ema_decay": 0.9, "epochs": 6}
    after, _ = training.train(training.network("normed"), **options)
    without, _ = training.train(training.network("normed"), **{**options, "bn_recalibration_images": 0})
    images = training.NORMALIZATION.apply(training.quadrants().pixels)
    found = training.tensors(after)
    x = oracle.convolution(images, found["first_w"].astype(np.float64), pads=(1, 1, 1, 1))
    np.testing.assert_allclose(found["mean"], x.mean((0, 2, 3)), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["variance"], x.var((0, 2, 3), ddof=1), rtol=1e-3)
    assert not np.allclose(training.tensors(without)["variance"], found["variance"], rtol=0.05)
    for name in ("first_w", "last_w", "scale", "shift"):
        assert (training.tensors(without)[name] == found[name]).all()


# --- masks, optimizers, devices


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_masks_also_clear_the_optimizer_state(optimizer: str) -> None:
    student = TorchGraph(read_graph(training.proto_of("folded", density=0.5)))
    masks = Masks(student.weights())
    options = FinetuneOptions.of({"optimizer": optimizer, "momentum": 0.9, "weight_decay": 0.5})
    descent = make_optimizer(student, options)
    for step in range(4):
        descent.zero_grad()
        student(torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(step)))[
            0
        ].square().sum().backward()
        masks.mask_gradients()
        descent.step()
        masks.mask_update(descent)
        if step == 1:
            masks.set_mask(0, torch.zeros(masks.weights[0].shape, dtype=torch.bool))
            masks.set_mask(1, torch.ones(masks.weights[1].shape, dtype=torch.bool))
    assert not masks.weights[0].any()
    for weight, mask in zip(masks.weights, masks.masks, strict=True):
        remembered = [value for value in descent.state[weight].values() if value.shape == weight.shape]
        assert remembered and all((value[mask == 0] == 0).all() for value in remembered)
        assert (weight[mask == 0] == 0).all()
    assert masks.weights[1][masks.masks[1] == 1].all(), "what was zero at the start is never chosen"
    assert int((masks.masks[1] == 0).sum()) == int(
        (training.tensors(training.network("folded", 0.5))["last_w"] == 0).sum()
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weights_decay_and_nothing_else_does(optimizer: str) -> None:
    student = TorchGraph(read_graph(training.proto_of("normed")))
    options = {"optimizer": optimizer, "learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.5}
    descent = make_optimizer(student, FinetuneOptions.of(options))
    before = {name: array.copy() for name, array in student.trained().items()}
    for parameter in student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    descent.step()
    for name, array in student.trained().items():
        share = 0.95 if name in ("first_w", "last_w") else 1.0
        np.testing.assert_allclose(array, share * before[name], rtol=1e-6)


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("size", [2, 4])
def test_a_batch_is_sharded_completely(augment: bool, size: int) -> None:
    batches = Batches(training.quadrants(), training.NORMALIZATION, 16, augment, torch.device("cpu"))
    chosen = batches.shuffled(torch.Generator().manual_seed(1))[0]
    generators = [torch.Generator().manual_seed(2) for _ in range(size + 1)]
    (whole,), labels = batches.batch(chosen, generators[-1])
    shares = [batches.batch(chosen, generators[rank], ProcessGroup(rank, size)) for rank in range(size)]
    assert all(len(images) == len(own) == 16 // size for (images,), own in shares)
    for place in range(16):
        (images,), own = shares[place % size]
        assert torch.equal(images[place // size], whole[place])
        assert own[place // size] == labels[place]
    states = {generator.get_state().numpy().tobytes() for generator in generators}
    assert len(states) == 1, "all draw as much, so that they stay in step"


def test_device_and_dtype() -> None:
    assert choose_device("cpu", "float32") == ComputeDevice(torch.device("cpu"), bfloat16=False)
    assert choose_device("cpu", "bfloat16", local_rank=3) == ComputeDevice(torch.device("cpu"), bfloat16=True)
    with choose_device("cpu", "bfloat16").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with choose_device("cpu", "float32").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
