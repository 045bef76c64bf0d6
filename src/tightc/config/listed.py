"""Options that are lists: given as a list, as one value, or as text with commas between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Listed:
    """Several values as a list or as text with commas between them, each read from its text by `read`.

    `items`: what they are, for the error. A value that is itself a named tuple, such as an array, is one value.
    `pattern`: of the text of one, for editors, which know no `read`.
    """

    read: Callable[[str], Any]
    items: str
    pattern: str = "[^,]+"

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the list, behind the split."""
        return core_schema.no_info_before_validator_function(self._split, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A list, one value, or text."""
        found = handler(schema)
        one = rf"\s*{self.pattern}\s*"
        item, text = found["items"], {"type": "string", "pattern": f"^{one}$"}
        joined = {"type": "string", "pattern": f"^{one}(,{one})*$"}
        return {"anyOf": [{**found, "items": {"anyOf": [item, text]}}, item, joined]}

    def _split(self, value: object) -> tuple[Any, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if type(parts) not in (list, tuple):
            parts = [parts]
        try:
            return tuple(self.read(part.strip()) if isinstance(part, str) else part for part in parts)  # type: ignore[attr-defined]
        except ValueError:
            raise ValueError(f"should be {self.items} separated by commas") from None
