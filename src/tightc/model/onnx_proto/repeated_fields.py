"""Editing of repeated protobuf fields."""

from __future__ import annotations

from typing import Any


def replace_items(field: Any, items: list[Any]) -> None:
    """Replace the content of the repeated `field` by copies of `items`, which may be taken from it."""
    copies = []
    for item in items:
        copy = type(item)()
        copy.CopyFrom(item)
        copies.append(copy)
    del field[:]
    field.extend(copies)
