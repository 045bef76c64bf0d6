"""Options that are lists: given as a list, as one value, or as text with commas between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BeforeValidator


def listed(read: Callable[[str], Any], items: str) -> BeforeValidator:
    """Several values as a list or as text with commas between them, each read from its text by `read`.

    `items`: what they are, for the error. A value that is itself a named tuple, such as an array, is one value.
    """

    def split(value: object) -> tuple[Any, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if type(parts) not in (list, tuple):
            parts = [parts]
        try:
            return tuple(read(part.strip()) if isinstance(part, str) else part for part in parts)  # type: ignore[attr-defined]
        except ValueError:
            raise ValueError(f"should be {items} separated by commas") from None

    return BeforeValidator(split)
