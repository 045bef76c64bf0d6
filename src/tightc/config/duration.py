"""Durations: 30s, 5m, 1.5h, or a number of seconds."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

# with bounded numbers of digits, since matching would try all ways to divide them
_FORM = re.compile(r"((?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:e[-+]?\d{1,4})?)\s*(s|m|min|h|)", re.ASCII)
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _seconds(value: Any) -> float:
    found = _FORM.fullmatch(str(value).strip().lower())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0 < seconds < math.inf:
        raise ValueError("should be a time above 0, such as 30s, 5m or 1.5h")
    return seconds


def _text(seconds: float) -> str:
    """The text that `_seconds` turns into exactly `seconds`."""
    return f"{repr(seconds).removesuffix('.0')}s"


_TEXT = (
    r"^\s*(?=[0-9.]*[1-9])([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\s*([sS]|[mM]|[mM][iI][nN]|[hH])?\s*$"
)
_Given = Annotated[float, Field(gt=0)] | Annotated[str, Field(pattern=_TEXT)]
Duration = Annotated[
    float, BeforeValidator(_seconds, json_schema_input_type=_Given), PlainSerializer(_text, return_type=str)
]
