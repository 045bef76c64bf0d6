"""Lengths of time as people write them: 30s, 5m, 1.5h, or a number of seconds."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _seconds(value: Any) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|m|min|h|)", str(value).strip().lower())
    if isinstance(value, bool) or not found or float(found[1]) == 0:
        raise ValueError("should be a time above 0 such as 30s, 5m or 1.5h")
    return float(found[1]) * _SECONDS[found[2]]


Duration = Annotated[
    float, BeforeValidator(_seconds), PlainSerializer(lambda seconds: f"{seconds:g}s", return_type=str)
]
