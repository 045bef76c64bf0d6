"""Every family at every opset and by every exporter; `make test-zoo` runs this, and `make test` does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import tightc
from helpers.zoo.families import DYNAMO_FORMS, FAMILIES, FORMS, Form, has_dynamo_exporter, weight_macs
from helpers.zoo.stages import check_stages, covered_share

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
