"""Small values that options take as text and show as text, such as 32x32 and 2:4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_core import CoreSchema, core_schema

from tightc.errors import OptionError


def text_coded_schema(kind: type, parse: Callable[[object], Any], wish: str) -> CoreSchema:
    """How pydantic reads a `kind` by `parse`, which gives OptionError, and writes it by str; a fault says `wish`."""

    def validate(value: object) -> Any:
        if isinstance(value, kind):
            return value
        try:
            return parse(value)
        except OptionError:
            raise ValueError(f"should be {wish}") from None

    return core_schema.no_info_plain_validator_function(
        validate, serialization=core_schema.to_string_ser_schema()
    )
