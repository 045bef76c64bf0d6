"""Exports that hold a batch of 1 in their constants, in the stages that run a model on data: as the open exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import tightc
from helpers.zoo.families import DYNAMO_FORMS, FAMILIES, QUICK, Form, has_dynamo_exporter

Exported = Callable[[str, Form], Path]
HOLD_THEIR_BATCH = ("shufflenet", "shufflenet-v2", "vit", "swin", "ssd", "yolo")
OPEN = Form(17, open_batch=True)
TOLERANCE = 0.01  # of the largest output


def samples(name: str, model: tightc.Model) -> tightc.NormalizedImages | tightc.Samples:
    """24 random inputs of a network."""
    given = np.random.default_rng(1).standard_normal((24, *FAMILIES[name].shape))
    return tightc.load_images({"input": given.astype(np.float32)}, model)


def outputs(model: tightc.Model, name: str) -> list[np.ndarray]:
    """All outputs for three inputs, one after the other."""
    session = onnxruntime.InferenceSession(model.proto.SerializeToString())
    given = np.random.default_rng(7).standard_normal((3, 1, *FAMILIES[name].shape)).astype(np.float32)
    return [output for each in given for output in session.run(None, {"input": each})]


def assert_same_function(one: tightc.Model, other: tightc.Model, name: str) -> None:
    for found, wanted in zip(outputs(one, name), outputs(other, name), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())


def error(model: tightc.Model, wanted: tightc.Model, name: str) -> float:
    """The mean square error of the outputs of `model`."""
    pairs = zip(outputs(model, name), outputs(wanted, name), strict=True)
    return float(np.mean([np.square(one - other).mean() for one, other in pairs]))


def finetuned(model: tightc.Model, name: str) -> tightc.Model:
    """The model, pruned and trained for two epochs to give what it gave."""
    pruned = tightc.prune(model, sparsity=0.5).model
    given = samples(name, model)
    result = tightc.finetune(
        pruned,
        given,
        teacher=model,
        epochs=2,
        batch_size=8,
        learning_rate=0.05,
        device="cpu",
        dtype="float32",
    )
    assert not np.allclose(outputs(result.model, name)[0], outputs(pruned, name)[0], rtol=0.05)
    return result.model


@pytest.mark.parametrize("name", HOLD_THEIR_BATCH)
def test_finetune_trains_a_fixed_batch_as_an_open_one(exported: Exported, name: str) -> None:
    models = [tightc.load(exported(name, form)) for form in (QUICK, OPEN)]
    assert_same_function(*(finetuned(model, name) for model in models), name)


@pytest.mark.parametrize("name", ["vit", "swin", "shufflenet"])
def test_finetune_trains_what_the_dynamo_exporter_writes(exported: Exported, name: str) -> None:
    if not has_dynamo_exporter():
        pytest.skip("the dynamo exporter needs onnxscript, which is not installed")
    models = [tightc.load(exported(name, form)) for form in DYNAMO_FORMS]
    assert_same_function(*(finetuned(model, name) for model in models), name)


@pytest.mark.parametrize("name", ["vit", "swin", "shufflenet"])
def test_quantize_takes_a_fixed_batch_as_well_as_an_open_one(exported: Exported, name: str) -> None:
    """Where a rounding of 32 bits moves an activation by a step of 8 bits, the outputs differ; the error does not."""
    errors = []
    for form in (QUICK, OPEN):
        model = tightc.load(exported(name, form))
        quantized, _ = tightc.quantize(model, images=samples(name, model), calibration_images=16)
        errors.append(error(quantized, model, name))
    assert errors[0] == pytest.approx(errors[1], rel=0.5)
    assert errors[0] < 0.01 * np.var(outputs(model, name))


@pytest.mark.parametrize("name", ["vit", "shufflenet"])
def test_obs_prunes_a_fixed_batch_as_well_as_an_open_one(exported: Exported, name: str) -> None:
    """Which of two weights goes may hang on a rounding; what the pruning costs does not."""
    errors = []
    for form in (QUICK, OPEN):
        model = tightc.load(exported(name, form))
        given = samples(name, model)
        pruned, _ = tightc.prune(model, images=given, sparsity=0.5, criterion="obs", calibration_images=24)
        by_magnitude, _ = tightc.prune(model, sparsity=0.5)
        report, other = (tightc.evaluate(each, given, teacher=model) for each in (pruned, by_magnitude))
        errors.append(error(pruned, model, name))
        assert report.totals["agreement"] >= other.totals["agreement"]
        assert errors[-1] < 0.7 * error(by_magnitude, model, name)
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_evaluate_runs_a_fixed_batch_one_by_one(exported: Exported) -> None:
    fixed, unfixed = (tightc.load(exported("ssd", form)) for form in (QUICK, OPEN))
    report = tightc.evaluate(fixed, samples("ssd", fixed), teacher=unfixed)
    assert report.totals["samples"] == 24 and report.totals["relative_error"] < 1e-5
