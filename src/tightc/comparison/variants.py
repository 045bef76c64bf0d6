"""Who takes part in a comparison: one variant for each method and each value of what it is compared over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tightc.comparison.options import CompareOptions, Method
from tightc.permutation.options import PermuteOptions
from tightc.tile.array import ArrayShape

_USUAL_ALPHA = 8  # that of Kung et al., which goes without saying


@dataclass(frozen=True)
class Variant:
    """One row of the comparison: what `permute` does for it, nothing where the hardware cannot run it.

    `fan_in`: inputs that its lanes may carry. `note`: how it differs from what was asked for.
    """

    label: str
    method: Method
    fan_in: int
    permute: PermuteOptions | None
    note: str = ""

    @property
    def is_reference(self) -> bool:
        """Whether others are measured against it besides dense: column combining that drops nothing."""
        return self.method == "column-combine" and self.permute is not None and self.permute.gamma == 0


def variants(options: CompareOptions, array: ArrayShape) -> list[Variant]:
    """All variants in the order of the methods; what is given twice is in it once."""
    found: list[Variant] = []
    for method in options.method:
        found += _OF_METHOD[method](method, options, _Search(options, array))
    return list({variant.label: variant for variant in found}.values())


@dataclass(frozen=True)
class _Search:
    """Options of permute that all variants have in common."""

    options: CompareOptions
    array: ArrayShape

    def __call__(self, method: Method, fan_in: int, **own: Any) -> PermuteOptions:
        return PermuteOptions(
            array=self.array,
            fan_in=fan_in,
            method=method,
            temp_schedule=self.options.temp_schedule,
            time_limit=self.options.time_limit,
            jobs=self.options.jobs,
            **own,
        )


def _ordinary(method: Method, options: CompareOptions, search: _Search) -> list[Variant]:
    return [Variant(method, method, 1, search(method, 1))]


def _column_combine(method: Method, options: CompareOptions, search: _Search) -> list[Variant]:
    carried = options.hardware.fan_in if options.hardware else options.alpha
    alpha = min(options.alpha, carried)
    note = ""
    if alpha < options.alpha and options.hardware:
        name = options.hardware.name
        note = (
            f"column-combine has alpha {alpha}, not {options.alpha}: a lane of {name} carries no more inputs"
        )
    known = "" if alpha == _USUAL_ALPHA else f", alpha {alpha}"
    return [
        Variant(
            f"{method} {_plain(gamma)}{known}",
            method,
            alpha,
            search(method, alpha, alpha=alpha, gamma=gamma),
            note,
        )
        for gamma in options.gamma
    ]


def _plain(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def _nm(method: Method, options: CompareOptions, search: _Search) -> list[Variant]:
    found = []
    for pattern in options.pattern:
        label = f"{method} {pattern}"
        if options.hardware and pattern.group > options.hardware.fan_in:
            name, carried = options.hardware.name, options.hardware.fan_in
            note = f"{label} has no figures: it needs a fan-in of {pattern.group}, a lane of {name} carries {carried}"
            found.append(Variant(label, method, pattern.group, None, note))
        else:
            found.append(
                Variant(label, method, pattern.group, search(method, pattern.group, pattern=pattern))
            )
    return found


def _first_fit(method: Method, options: CompareOptions, search: _Search) -> list[Variant]:
    return [
        Variant(f"{method}, fan-in {fan_in}", method, fan_in, search(method, fan_in))
        for fan_in in options.fan_ins
    ]


def _tight(method: Method, options: CompareOptions, search: _Search) -> list[Variant]:
    found = []
    for objective in options.objective:
        aim = "" if objective == "passes" else f", {objective}"
        for fan_in in options.fan_ins:
            label = f"{method}, fan-in {fan_in}{aim}"
            found.append(Variant(label, method, fan_in, search(method, fan_in, objective=objective)))
    return found


_OF_METHOD: dict[Method, Callable[[Method, CompareOptions, _Search], list[Variant]]] = {
    "dense": _ordinary,
    "structured": _ordinary,
    "column-combine": _column_combine,
    "nm": _nm,
    "first-fit": _first_fit,
    "tight": _tight,
}
