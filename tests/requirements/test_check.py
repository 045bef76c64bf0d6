"""What check measures, against simulate, evaluate, onnxruntime and plain counts; and what has no value."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import numpy_helper

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.requirements import check as module
from tightc.requirements.measures import COUNTED_BY_PERMUTE, MEASURES

CONFIGS = tightc.configs()
FAST = {"array": (8, 8), "fan_in": 4, "method": "first-fit"}
ON_DATA = {"accuracy", "accuracy_drop", "agreement"}


@pytest.fixture(scope="module")
def dense() -> tightc.Model:
    return loaded(models.cnn(), "dense.onnx")


@pytest.fixture(scope="module")
def packed(dense: tightc.Model) -> tightc.Model:
    pruned = tightc.prune(dense, sparsity=0.5).model
    return tightc.pack(tightc.permute(pruned, **FAST).model).model


@pytest.fixture(scope="module")
def images() -> tightc.NormalizedImages:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 3, 8, 8), np.uint8)
    return tightc.load_images((pixels, np.arange(64) % 4), (3, 8, 8))


def accuracy_by_hand(model: tightc.Model, images: tightc.NormalizedImages) -> float:
    """One image at a time, by onnxruntime."""
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())
    right = 0
    for pixels, label in zip(images.images.pixels, images.images.labels, strict=True):
        (logits,) = session.run(None, {name: pixels[np.newaxis].astype(np.float32) / 255})
        right += int(np.argmax(logits[0]) == label)
    return 100 * right / len(images.images.labels)


def rows(report: tightc.Report) -> dict[str, Any]:
    return {row["name"]: row["value"] for row in report.layers}


def numbers(totals: dict[str, Any]) -> set[str]:
    return {name for name, value in totals.items() if type(value) in (int, float)}


@pytest.mark.parametrize("hardware", [None, "tight-32x32", "multiplexed-32x32"])
@pytest.mark.parametrize("area", [None, "nangate45"])
def test_every_number_of_simulate_can_be_required(
    dense: tightc.Model, packed: tightc.Model, hardware: str | None, area: str | None
) -> None:
    given: dict[str, Any] = {}
    if hardware:
        given |= {"hardware": CONFIGS / "hardware" / f"{hardware}.yaml"}
    if area:
        given |= {"area": CONFIGS / "area" / f"{area}.yaml"}
    for model, own in ((dense, given), (packed, {**given, "array": (8, 8)})):
        totals = tightc.simulate(model, **own).totals
        names = numbers(totals) - set(COUNTED_BY_PERMUTE)
        assert names <= set(MEASURES)
        report = tightc.check(model, require=[f"{name}>=-1" for name in sorted(names)], **own)
        assert report.passed and rows(report) == {name: totals[name] for name in names}


def test_every_name_has_a_value_somewhere(
    dense: tightc.Model, packed: tightc.Model, images: tightc.NormalizedImages
) -> None:
    hardware = yaml.safe_load((CONFIGS / "hardware" / "tight-32x32.yaml").read_text(encoding="utf-8"))
    hardware |= {"array": "8x8", "activation_buffer": {**hardware["activation_buffer"], "banks": 16}}
    report = tightc.check(
        packed,
        require=[f"{name}>=-1e300" for name in MEASURES],
        against=dense,
        images=images,
        hardware=hardware,
        area=CONFIGS / "area" / "nangate45.yaml",
    )
    assert {row["name"] for row in report.layers if row["value"] is None} == set()
    assert report.passed


def test_bytes_and_density_are_those_of_the_file(
    dense: tightc.Model, packed: tightc.Model, tmp_path: Path
) -> None:
    pruned = tightc.prune(dense, sparsity=0.5).model
    for model in (dense, pruned, packed):
        path = tmp_path / "net.onnx"
        tightc.save(model, path)
        found = rows(
            tightc.check(tightc.load(path), require=["bytes>0", "density>0", "nonzeros>0", "weights>0"])
        )
        assert found["bytes"] == path.stat().st_size
        plain = tightc.unpack(model).model if model is packed else model
        weights = [
            numpy_helper.to_array(tensor)
            for tensor in plain.proto.graph.initializer
            if tensor.name in ("first_w", "second_w", "last_w")
        ]
        size, nonzeros = sum(w.size for w in weights), sum(int(np.count_nonzero(w)) for w in weights)
        assert (found["weights"], found["nonzeros"], found["density"]) == (size, nonzeros, nonzeros / size)


def test_the_accuracies_are_those_of_onnxruntime() -> None:
    dense = tightc.load(tightc.examples() / "digits.onnx")
    images = tightc.load_images(tightc.examples() / "digits.npz", dense, split="test")
    packed = tightc.pack(tightc.permute(tightc.prune(dense, sparsity=0.8).model, **FAST).model).model
    base, own = accuracy_by_hand(dense, images), accuracy_by_hand(packed, images)
    assert base != own, "the models must differ, or nothing is tested"
    require = [f"accuracy=={own!r}", f"accuracy_drop=={base - own!r}", "agreement<100"]
    report = tightc.check(packed, require=require, against=dense, images=images, batch_size=7)
    assert report.passed, str(report)
    assert rows(report)["agreement"] == tightc.evaluate(packed, images, teacher=dense).agreement


def test_what_is_not_required_is_not_evaluated(
    packed: tightc.Model, images: tightc.NormalizedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    evaluate = module.evaluate

    def counted(model: tightc.Model, *arguments: Any, **keywords: Any) -> tightc.Report:
        runs.append(model.origin)
        return evaluate(model, *arguments, **keywords)

    monkeypatch.setattr(module, "evaluate", counted)
    tightc.check(packed, require=["speedup>1"])
    assert runs == []
    tightc.check(packed, require=["accuracy>1", "accuracy<99"], images=images)
    assert len(runs) == 1
    tightc.check(packed, require=["accuracy>1", "accuracy_drop<9"], images=images, against=packed)
    assert len(runs) == 3


def test_a_figure_that_the_file_states_is_not_believed(packed: tightc.Model) -> None:
    proto = packed.to_proto()
    for key in ("speedup", "accuracy", "tightc.speedup"):
        proto.metadata_props.append(onnx.StringStringEntryProto(key=key, value="1000"))
    report = tightc.check(loaded(proto), require=["speedup>=999"])
    assert not report.passed and rows(report)["speedup"] == tightc.simulate(packed).speedup


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("accuracy", "it needs data; add --data"),
        ("accuracy_drop", "it needs data and the model to compare with; add --data and --against"),
        ("tightness", "it needs tiles; permute the model first"),
        ("latency_ms", "it needs hardware of that kind; add --hardware"),
        ("area_mm2", "it needs an area table; add --area"),
    ],
)  # fmt: skip
def test_a_requirement_without_a_value_fails(dense: tightc.Model, name: str, reason: str) -> None:
    for operator in (">=", "<=", "<", ">", "=="):
        report = tightc.check(dense, require=[f"{name}{operator}0", "speedup>=1"])
        (row, other) = report.layers
        assert (row["value"], row["result"], row["reason"]) == (None, "failed", reason)
        assert other["result"] == "ok" and not report.passed and report.totals["failed"] == 1
        assert f"{name} has no value: {reason}" in report.notes


def test_a_drop_without_a_base_fails(packed: tightc.Model, images: tightc.NormalizedImages) -> None:
    report = tightc.check(packed, require="accuracy_drop<=100", images=images)
    assert report.layers[0]["reason"] == "it needs the model to compare with; add --against"
    assert not report.passed


def test_a_model_compared_with_itself_is_noted(
    dense: tightc.Model, packed: tightc.Model, images: tightc.NormalizedImages
) -> None:
    for against, noted in ((packed, True), (dense, False)):
        report = tightc.check(packed, require="accuracy_drop<=100", against=against, images=images)
        assert any("compared with itself" in note for note in report.notes) == noted


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_measure_that_is_no_number_fails_and_is_null_in_json(
    packed: tightc.Model, value: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tightc.simulate(packed)
    spoiled = tightc.Report("simulate", {**report.totals, "speedup": value})
    monkeypatch.setattr(module, "simulate", lambda *_arguments, **_keywords: spoiled)
    for requirement in ("speedup>=1", "speedup<=1", "speedup<1e300"):
        found = tightc.check(packed, require=requirement)
        assert found.layers[0]["result"] == "failed" and not found.passed
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["layers"][0]["value"] is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("images", "images: expected a requirement on accuracy or accuracy_drop or agreement, got none; "),
        ("against", "against: expected a requirement on accuracy_drop or agreement, got none; add require"),
    ],
)
def test_what_no_requirement_needs_is_refused(
    dense: tightc.Model, images: tightc.NormalizedImages, given: str, words: str
) -> None:
    keywords: dict[str, Any] = {given: {"images": images, "against": dense}[given]}
    with pytest.raises(tightc.OptionError) as caught:
        tightc.check(dense, require="speedup>=1", **keywords)
    assert str(caught.value).startswith(words)


def test_wrong_options_are_refused_as_in_simulate(packed: tightc.Model, dense: tightc.Model) -> None:
    for keywords in ({"array": (4, 4)}, {"dataflow": "os"}):
        messages = []
        for call in (
            lambda k=keywords: tightc.simulate(packed, **k),
            lambda k=keywords: tightc.check(packed, require="speedup>=1", **k),
        ):
            with pytest.raises(tightc.OptionError) as caught:
                call()
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    with pytest.raises(tightc.OptionError, match="against: expected a Model, got str"):
        tightc.check(dense, require="accuracy_drop<1", against="dense.onnx")  # type: ignore[arg-type]
