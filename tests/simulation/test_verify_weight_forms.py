"""Verify on the less common operators: transposed, integer and dequantized layers, against onnxruntime."""

from __future__ import annotations

import pytest

from helpers.chains import ARRAY
from helpers.loading import loaded
from helpers.weight_forms import WEIGHT_FORMS
from tightc.model.layer_view.layers import read_network
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate


@pytest.mark.parametrize("form", WEIGHT_FORMS)
def test_the_engine_computes_what_onnxruntime_does(form: str) -> None:
    model = loaded(WEIGHT_FORMS[form]())
    assert read_network(model).uncovered == ()
    report = simulate(model, SimulateOptions(array=ARRAY, verify=True))
    assert report.totals["verified_layers"] == 1 and report.totals["macs_covered"] == 1.0
    assert report.totals["value_error"] < (0.02 if "Linear" in form else 1e-5)
