"""Reports: measures as attributes, JSON, HTML, data frames."""

from __future__ import annotations

import json
import sys

import pytest

from tightc.errors import OptionError
from tightc.report import LayerReport, MeasureAttributes, Report
from tightc.simulation.report.glossary import GLOSSARY

LAYER = {"name": "a <b>", "matrix": "x", "nonzeros": 3, "density": 0.5, "parts": {"macs": 2.0}}
REPORT = Report(
    "finetune", {"passes": 4, "density": 0.25, "nested": {"a": 1}}, (LAYER,), notes=("less < more",)
)


def test_measures_are_attributes() -> None:
    assert REPORT.passes == 4 and REPORT.density == 0.25
    assert REPORT.layers[0].nonzeros == 3 == REPORT.layers[0]["nonzeros"]
    assert REPORT.layers[0].name == "a <b>" and isinstance(REPORT.layers[0], LayerReport)
    with pytest.raises(
        AttributeError, match="expected one of passes, density, nested, got cycles: this report does"
    ):
        REPORT.cycles  # noqa: B018
    assert not hasattr(REPORT, "cycles")
    assert {"passes", "density", "layers"} <= set(dir(REPORT)) and "cycles" not in dir(REPORT)
    assert "density" in dir(REPORT.layers[0]) and "passes" not in dir(REPORT.layers[0])


def test_every_measure_says_what_it_is() -> None:
    assert MeasureAttributes.speedup.__doc__ == "dense_cycles / cycles."
    assert {"cycles", "speedup", "energy_pj", "utilisation"} <= set(GLOSSARY) & set(dir(MeasureAttributes))


def test_the_object_of_json() -> None:
    found = json.loads(json.dumps(REPORT.to_dict()))
    assert found["schema"] == "tightc.finetune/1" and found["layers"] == [LAYER]
    assert list(found) == ["schema", "totals", "layers", "uncovered", "notes"]


def test_json_has_neither_nan_nor_infinity() -> None:
    row = LayerReport({"name": "a", "parts": {"x": float("inf"), "y": [1.5, float("nan")]}})
    found = Report("compress", {"drop": float("nan"), "images": 3}, (row,)).to_dict()
    assert found["totals"] == {"drop": None, "images": 3}
    assert found["layers"] == [{"name": "a", "parts": {"x": None, "y": [1.5, None]}}]
    json.dumps(found, allow_nan=False)


def test_text_and_html() -> None:
    assert str(REPORT).splitlines() == [
        "name   nonzeros  density", "a <b>         3    0.500", "passes: 4", "density: 0.250", "note: less < more"
    ]  # fmt: skip
    assert repr(REPORT) == "<Report of finetune: density 0.250, passes 4>"
    page = REPORT._repr_html_()
    assert '<td style="text-align: left">a &lt;b&gt;</td>' in page and "<li>note: less &lt; more</li>" in page
    assert "<table>" not in Report("evaluate", {"accuracy": 99.0})._repr_html_()


def test_the_text_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = tuple({**LAYER, "name": "long/" * 20} for _ in range(2))
    assert all(len(line) <= 40 for line in str(Report("finetune", {}, rows)).splitlines())


def test_a_data_frame() -> None:
    frame = REPORT.to_pandas()
    assert frame.to_dict("records") == [
        {"name": "a <b>", "matrix": "x", "nonzeros": 3, "density": 0.5, "parts.macs": 2.0}
    ]
    assert frame["nonzeros"].dtype == int and frame["density"].dtype == float
    assert Report("evaluate", {"accuracy": 99.0}).to_pandas().to_dict("records") == [{"accuracy": 99.0}]


def test_without_pandas_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match=r"to_pandas needs pandas, .*; pip install 'tightc\[pandas\]'"):
        REPORT.to_pandas()
