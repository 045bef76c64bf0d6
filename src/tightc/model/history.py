"""`tightc.history`: what was done to a model, by which version, with which options, seed and input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import onnx

from tightc.errors import ModelError
from tightc.model.file import Model

_KEY = "tightc.history"


def read_history(model: Model) -> list[dict[str, Any]]:
    """The stages that made `model`, oldest first; empty for a model that tightc has not touched."""
    text = get_property(model.proto, _KEY)
    try:
        stages = json.loads(text or "[]")
        if not isinstance(stages, list) or not all(isinstance(entry, dict) for entry in stages):
            raise ValueError("not a list of records")
    except ValueError:
        raise ModelError(
            f"{model.origin}: its {_KEY} is not a JSON list of records",
            "run the stages again from the original model",
        ) from None
    return list(stages)


def add_history(
    model: Model, stage: str, options: Mapping[str, Any], seed: int | None, source: Model
) -> Model:
    """`model` with one more stage in its history; `source` is the model that the stage read."""
    entry = {
        "stage": stage,
        "version": version("tightc"),
        "options": dict(options),
        "seed": seed,
        "input": source.sha256,
    }
    stages = [*read_history(model), entry]
    proto = model.editable()
    set_property(proto, _KEY, json.dumps(stages))
    return model.changed(proto)


def get_property(proto: onnx.ModelProto, key: str) -> str | None:
    """A metadata property of the model, None where it has none of that key."""
    return next((entry.value for entry in proto.metadata_props if entry.key == key), None)


def set_property(proto: onnx.ModelProto, key: str, value: str | None) -> None:
    """Sets a metadata property in place, or removes it where `value` is None."""
    kept = [entry for entry in proto.metadata_props if entry.key != key]
    if value is not None:
        kept.append(onnx.StringStringEntryProto(key=key, value=value))
    copies = [onnx.StringStringEntryProto(key=entry.key, value=entry.value) for entry in kept]
    del proto.metadata_props[:]
    proto.metadata_props.extend(copies)
