"""`tightc.history`: the stages that made a model, each with version, options, seed and SHA-256 of its input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from tightc.errors import InternalError, ModelError
from tightc.model.file import Model
from tightc.model.file_format.digests import write_digests
from tightc.model.file_format.headers import lack_digests, names_of_tensors, read_headers, write_headers
from tightc.model.onnx_proto.metadata import HISTORY, get_property, read_json, set_property
from tightc.model.validity import REPORT_FAULT, require_valid


def read_history(model: Model) -> list[dict[str, Any]]:
    """The records of the stages that made `model`, oldest first; empty for a model not written by tightc."""
    text = get_property(model.proto, HISTORY)
    try:
        stages = read_json(text or "[]")
        if not isinstance(stages, list) or not all(isinstance(entry, dict) for entry in stages):
            raise ValueError("expected a list of objects, got something else")
    except ValueError as fault:
        raise ModelError(
            f"{model.origin}: its {HISTORY} is not a JSON list of records ({fault})",
            "run the stages again from the original model",
        ) from None
    return list(stages)


def early_end_reason(model: Model) -> str:
    """Why the last stage of `model` stopped early, such as "time limit"; empty where it was not stopped."""
    ended = next((entry.get("ended") for entry in reversed(read_history(model))), None)
    return str(ended.get("by", "?")) if isinstance(ended, dict) else ""


@dataclass(frozen=True)
class HistoryEntry:
    """A stage's record: its name, resolved options, and seed where it uses random numbers.

    `ended` tells why the stage stopped early and how much was done by then; empty where it was not stopped.
    `environment` tells what else the bytes depend on, such as threads; empty where they depend on the options alone.
    """

    stage: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    ended: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


def stage_result(model: Model, entry: HistoryEntry, source: Model) -> Model:
    """The checked result of a stage: `model`, made from `source`, with `entry` in its history and new digests.

    The notes of `source` go into the history. InternalError where the model is not valid.
    """
    record = {
        "stage": entry.stage,
        "version": version("tightc"),
        "options": dict(entry.options),
        "seed": entry.seed,
        "input": source.sha256,
        **({"environment": dict(entry.environment)} if entry.environment else {}),
        **({"ended": dict(entry.ended)} if entry.ended else {}),
        **({"notes": list(source.notes)} if source.notes else {}),
    }
    stages = [*read_history(model), record]
    proto = model.copy_proto()
    try:
        headers = read_headers(proto, model.origin)
        packed = names_of_tensors(headers)
        if lack_digests(proto):  # as those of tightc 0.2.0
            write_headers(proto, headers)
        del headers  # the packings may be large
        set_property(proto, HISTORY, json.dumps(stages))
        write_digests(proto, packed)
    except ModelError as fault:  # the source was checked when it was read, so the result is at fault
        raise InternalError(fault.sentence, REPORT_FAULT) from None
    result = replace(model.with_proto(proto), notes=(), normalized=())
    require_valid(result, source)
    return result
