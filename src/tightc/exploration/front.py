"""The Pareto front: who is dominated by whom, in the measures that count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Values = Mapping[str, float | None]

# measure of the front -> its key in a row; all are better when smaller, but for accuracy
KEYS = {
    "cycles": "cycles",
    "energy": "energy_pj",
    "area": "area_mm2",
    "bytes": "packed_bytes",
    "accuracy": "accuracy",
}


def dominates(one: Values, other: Values, measures: Sequence[str]) -> bool:
    """Whether `one` is as good as `other` in all `measures` and better in one; False where a value is missing."""
    better = False
    for measure in measures:
        own, others = one.get(KEYS[measure]), other.get(KEYS[measure])
        if own is None or others is None:
            return False
        if measure == "accuracy":
            own, others = -own, -others
        if own > others:
            return False
        better |= own < others
    return better


def dominator(values: Values, others: Mapping[int, Values], measures: Sequence[str]) -> int | None:
    """The number of the first of `others` that dominates `values`; None where none does."""
    return next((number for number, one in others.items() if dominates(one, values, measures)), None)
