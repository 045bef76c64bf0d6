"""The keys of hardware files, energy and area tables that hold numbers, with their ranges."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

from tightc.config.options import Options, inner_options
from tightc.config.quantity import Quantity

Key = tuple[str | int, ...]


class Range(NamedTuple):
    """What a key takes: texts with a unit, or integers; `outside`: values just beyond, which are refused."""

    ends: tuple[Any, ...]
    outside: tuple[Any, ...]


def numbers(kind: type[Options], values: Mapping[str, Any], at: Key = ()) -> Iterator[tuple[Key, Range]]:
    """Each key of the file `values` of `kind` that holds a number, or may hold one.

    A KeyError is an integer without a range.
    """
    for name, field in kind.model_fields.items():
        inner = inner_options(field.annotation)
        if inner:
            given = values.get(name) or ()
            items = enumerate(given) if isinstance(given, list) else [(None, given)] if given else []
            for index, one in items:
                yield from numbers(inner, one, (*at, name) if index is None else (*at, name, index))
            continue
        parts = [*field.metadata, *_within(field.annotation)]
        quantity = next((part for part in parts if isinstance(part, Quantity)), None)
        if quantity is not None:
            yield (*at, name), _of_quantity(quantity)
        elif int in (field.annotation, *parts):
            parts += [one for part in parts for one in getattr(part, "metadata", ())]
            ends = {end: getattr(one, end) for one in parts for end in ("ge", "le") if hasattr(one, end)}
            least, most = ends["ge"], ends["le"]
            yield (*at, name), Range((least, most), (least - 1, most + 1, 10**30))


def _within(annotation: Any) -> Iterator[Any]:
    for part in get_args(annotation):
        yield part
        yield from _within(part)


def _of_quantity(quantity: Quantity) -> Range:
    units = list(quantity.units)
    zero = f"0 {units[0]}"
    (least, unit), (most, other) = quantity.least.split(), quantity.most.split()
    below = "0.9 B" if quantity.whole else f"{0.99 * float(least)} {unit}"
    outside = (
        below,
        f"{1.01 * float(most)} {other}",
        f"-1 {unit}",
        f"1e-310 {units[-1]}",
        f"1e308 {units[0]}",
    )
    ends = (quantity.least, quantity.most)
    return Range((*ends, zero), outside) if quantity.zero else Range(ends, (*outside, zero))


def changed(values: Mapping[str, Any], changes: Mapping[Key, Any]) -> Any:
    """A copy of `values` with other numbers."""
    found = copy.deepcopy(dict(values))
    for at, value in changes.items():
        inner: Any = found
        for key in at[:-1]:
            inner = inner[key]
        inner[at[-1]] = value
    return found
