"""Repeated fields of a protobuf message."""

from __future__ import annotations

from typing import Any


def replace_items(field: Any, items: list[Any]) -> None:
    """Replaces the content of a repeated field by copies of `items`, which may come from it."""
    copies = []
    for item in items:
        copy = type(item)()
        copy.CopyFrom(item)
        copies.append(copy)
    del field[:]
    field.extend(copies)
