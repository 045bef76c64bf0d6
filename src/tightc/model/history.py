"""`tightc.history`: what was done to a model, by which version, with which options, seed and input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from tightc.errors import InternalError, ModelError
from tightc.model.file import Model
from tightc.model.file_format.digests import write_digests
from tightc.model.file_format.headers import packed_tensor_names, read_headers, write_headers
from tightc.model.onnx_proto.metadata import HISTORY, get_property, set_property
from tightc.model.validity import REPORT, require_valid


def read_history(model: Model) -> list[dict[str, Any]]:
    """The stages that made `model`, oldest first; empty for a model that tightc has not touched."""
    text = get_property(model.proto, HISTORY)
    try:
        stages = json.loads(text or "[]")
        if not isinstance(stages, list) or not all(isinstance(entry, dict) for entry in stages):
            raise ValueError("not a list of records")
    except ValueError:
        raise ModelError(
            f"{model.origin}: its {HISTORY} is not a JSON list of records",
            "run the stages again from the original model",
        ) from None
    return list(stages)


def early_end(model: Model) -> str:
    """What ended the last stage before its time, such as "time limit"; empty where it ran to its end."""
    ended = next((entry.get("ended") for entry in reversed(read_history(model))), None)
    return str(ended.get("by", "?")) if isinstance(ended, dict) else ""


@dataclass(frozen=True)
class HistoryEntry:
    """What a stage did: its name, its resolved options, its seed where it draws.

    `ended` says what ended it before its time, and how far it was then; empty where it ran to its end.
    """

    stage: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    ended: Mapping[str, Any] = field(default_factory=dict)


def stage_result(model: Model, entry: HistoryEntry, source: Model) -> Model:
    """What a stage gives: the `model` that it made of `source`, checked, with its history and digests of its content.

    What was noted of the source goes into the history. InternalError where the model is not valid.
    """
    record = {
        "stage": entry.stage,
        "version": version("tightc"),
        "options": dict(entry.options),
        "seed": entry.seed,
        "input": source.sha256,
        **({"ended": dict(entry.ended)} if entry.ended else {}),
        **({"notes": list(source.notes)} if source.notes else {}),
    }
    stages = [*read_history(model), record]
    proto = model.editable()
    try:
        heads = read_headers(proto, model.origin)
        if heads:  # those of tightc 0.2.0 have no digests yet
            write_headers(proto, heads)
        set_property(proto, HISTORY, json.dumps(stages))
        write_digests(proto, packed_tensor_names(proto, model.origin))
    except ModelError as fault:  # what was read is sound by now: it is the result that is not
        raise InternalError(fault.sentence, REPORT) from None
    made = replace(model.changed(proto), notes=(), folded=())
    require_valid(made, source)
    return made
