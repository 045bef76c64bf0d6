"""Small values that the shell gives as text, such as 32x32 and 2:4, and Python also as tuples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_core import CoreSchema, core_schema

from tightc.errors import OptionError


def text_coded_schema(kind: type, parse: Callable[[object], Any], expected: str, pattern: str) -> CoreSchema:
    """How pydantic reads and writes a `kind`, which is a named tuple: from text by `parse`, to text by str.

    A plain tuple of as many items is read as the text of a `kind` that holds them. `parse` raises OptionError, which
    becomes an error that asks for what is `expected`. `pattern`: of the text, for editors, which know no `parse`.
    """

    def validate(value: object) -> Any:
        if isinstance(value, kind):
            return value
        try:
            return parse(str(kind(*value)) if isinstance(value, tuple) else value)
        except (OptionError, TypeError, ValueError):
            raise ValueError(f"should be {expected}") from None

    return core_schema.no_info_plain_validator_function(
        validate,
        serialization=core_schema.to_string_ser_schema(),
        json_schema_input_schema=core_schema.str_schema(pattern=pattern),
    )
