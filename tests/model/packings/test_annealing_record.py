"""The record of annealing curves: read as written, and refused with a reason where it is damaged."""

from __future__ import annotations

import json

import pytest

from helpers import models
from helpers.loading import loaded
from tightc.errors import ModelError
from tightc.model.onnx_proto.metadata import ANNEALING, set_property
from tightc.model.packings.annealing_record import read_annealing, with_annealing

CURVE = {"moves": [0, 4], "cost": [2.5, 1.25], "excess": [1, 0]}


def test_curves_are_read_as_written() -> None:
    model = loaded(models.cnn())
    assert read_annealing(model) == {}
    recorded = with_annealing(model, {"first_w": CURVE})
    assert read_annealing(recorded) == {"first_w": CURVE}
    assert read_annealing(with_annealing(recorded, {})) == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[", "expected JSON, got something else at character 1"),
        ("[]", "expected an object, got something else"),
        ('{"w": 3}', "expected a list of numbers from 0 as moves, got something else"),
        (json.dumps({"w": {**CURVE, "cost": [1, -1]}}), "expected a list of numbers from 0 as cost"),
        (json.dumps({"w": {**CURVE, "excess": [True, 0]}}), "expected a list of numbers from 0 as excess"),
        (json.dumps({"w": {**CURVE, "excess": [1]}}), "expected as many moves as costs and excesses"),
    ],
)
def test_a_damaged_record_is_refused(text: str, what: str) -> None:
    model = loaded(models.cnn())
    proto = model.copy_proto()
    set_property(proto, ANNEALING, text)
    with pytest.raises(ModelError) as caught:
        read_annealing(model.with_proto(proto))
    assert caught.value.sentence.startswith(f"net.onnx: its tightc.annealing is damaged ({what}")
    assert caught.value.remedy == "run tightc permute again"
