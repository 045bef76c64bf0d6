"""Every family at every opset and by every exporter; `make test-zoo` runs this, and `make test` does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

import tightc
from helpers.zoo.families import DYNAMO_FORMS, FAMILIES, FORMS, Form, has_dynamo_exporter, weight_macs
from helpers.zoo.stages import AT_RUN_TIME, check_stages, covered_share

Exported = Callable[[str, Form], Path]
CASES = [
    (name, form)
    for name, family in FAMILIES.items()
    for form in (*FORMS, *DYNAMO_FORMS)
    if form.opset >= family.first_opset
]

pytestmark = pytest.mark.zoo


@pytest.mark.parametrize(("name", "form"), CASES, ids=[f"{name}-{form}" for name, form in CASES])
def test_an_export_goes_through_every_stage(
    exported: Exported, tmp_path: Path, name: str, form: Form
) -> None:
    if form.dynamo and not has_dynamo_exporter():
        pytest.skip("the dynamo exporter needs onnxscript, which is not installed")
    path = exported(name, form)
    (opset,) = (entry.version for entry in onnx.load(path).opset_import if not entry.domain)
    assert opset == form.opset
    report = tightc.inspect(tightc.load(path))
    assert report.macs == weight_macs(name)
    assert covered_share(report) >= 0.99
    check_stages(path, tmp_path)


class _RandomInputs(CalibrationDataReader):
    def __init__(self, shape: tuple[int, ...]) -> None:
        random = np.random.default_rng(0)
        self.feeds: Iterator[dict[str, Any]] = iter(
            [{"input": random.standard_normal((1, *shape)).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self.feeds, None)


def quantized(name: str, kind: str, source: Path, path: Path) -> Path:
    """The model of `source` quantized by onnxruntime."""
    if kind == "dynamic":
        quantize_dynamic(source, path, weight_type=QuantType.QUInt8)
        return path
    form, dtype = {
        "qdq": (QuantFormat.QDQ, QuantType.QInt8),
        "qoperator": (QuantFormat.QOperator, QuantType.QUInt8),
    }[kind]
    quantize_static(
        source,
        path,
        _RandomInputs(FAMILIES[name].shape),
        quant_format=form,
        per_channel=kind == "qdq",
        activation_type=dtype,
        weight_type=dtype,
    )
    return path


@pytest.mark.parametrize("kind", ["qdq", "qoperator", "dynamic"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_quantized_by_onnxruntime_goes_through_every_stage(
    exported: Exported, tmp_path: Path, name: str, kind: str
) -> None:
    path = quantized(name, kind, exported(name, Form(13)), tmp_path / "quantized.onnx")
    report = tightc.inspect(tightc.load(path))
    uncovered = {row["operator"] for row in report.uncovered if row["reason"] != AT_RUN_TIME}
    assert uncovered <= ({"QGemm"} if kind == "qoperator" else set())
    assert uncovered or report.macs == weight_macs(name)
    check_stages(path, tmp_path)
