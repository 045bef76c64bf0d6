"""The variants of a comparison: for each method, one for each value of the options that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from tightc.accelerator.choose import accelerator_of
from tightc.accelerator.options import AcceleratorOptions
from tightc.comparison.options import DEFAULT_FAN_IN, CompareOptions
from tightc.cost_model.area import ArrayForm, area_mm2
from tightc.errors import OptionError
from tightc.permutation.options import PermuteOptions
from tightc.permutation.registry import COLUMN_COMBINE, Method, find_method
from tightc.tile.array import ArrayShape

_USUAL_ALPHA = 8  # that of Kung et al., which a label need not name


@dataclass(frozen=True)
class Variant:
    """One row of the comparison: the options of its permute, None if the hardware cannot run it.

    `fan_in`: inputs that its lanes may carry. `note`: how it differs from what was asked for. `tuned`: of all variants
    of its method only the best is a row.
    """

    label: str
    method: str
    fan_in: int
    permute: PermuteOptions | None
    note: str = ""
    tuned: bool = False

    @property
    def is_reference(self) -> bool:
        """Whether the others are measured against it besides dense: column combining that drops nothing."""
        return self.method == COLUMN_COMBINE.name and self.permute is not None and self.permute.gamma == 0


def variants(options: CompareOptions, array: ArrayShape) -> list[Variant]:
    """All variants in the order of the methods; what is given twice is in it once."""
    found = [variant for name in options.method for variant in _of_method(find_method(name), options, array)]
    return list({variant.label: variant for variant in found}.values())


def _of_method(method: Method, options: CompareOptions, array: ArrayShape) -> Iterator[Variant]:
    """One variant for each value of each option that the method reads."""
    accelerator = {
        name: getattr(options, name) for name in AcceleratorOptions.model_fields if name != "array"
    }
    shared = PermuteOptions(
        **accelerator,
        array=array,
        fan_in=min(DEFAULT_FAN_IN, options.hardware.fan_in) if options.hardware else DEFAULT_FAN_IN,
        alpha=options.alpha,  # tight tries column combining too
        temp_schedule=options.temp_schedule,
        time_limit=options.time_limit,
        jobs=options.jobs,
    )
    reads = method.options
    objectives = options.objective if "objective" in reads else (shared.objective,)
    gammas = options.gamma if "gamma" in reads else (shared.gamma,)
    patterns = options.pattern if "pattern" in reads else (shared.pattern,)
    for objective, gamma, pattern in product(objectives, gammas, patterns):
        for fan_in in _tuned(method, options, array) or _fan_ins(method, options, pattern.group):
            own = {
                "method": method.name,
                "fan_in": fan_in,
                "alpha": fan_in if "alpha" in reads else shared.alpha,
                "gamma": gamma,
                "pattern": pattern,
                "objective": objective,
            }
            variant = _variant(method, shared.model_copy(update=own), fan_in, options)
            if method.tuned:
                variant = replace(variant, note=_tuned_note(method, options, array), tuned=True)
            yield variant


def _tuned(method: Method, options: CompareOptions, array: ArrayShape) -> tuple[int, ...]:
    """The fan-ins of a method that is tuned over them, as far as hardware and area table have them; the least if none.

    Empty for other methods.
    """
    most = options.hardware.fan_in if options.hardware else max(method.tuned, default=0)
    carried = tuple(fan_in for fan_in in method.tuned if fan_in <= most)
    held = tuple(fan_in for fan_in in carried if _has_area(fan_in, options, array))
    return held or carried[:1] or tuple(min(most, fan_in) for fan_in in method.tuned[:1])


def _has_area(fan_in: int, options: CompareOptions, array: ArrayShape) -> bool:
    """Whether the area table, if there is one, holds an array of that fan-in."""
    if options.area is None:
        return True
    try:
        area_mm2(ArrayForm.of(accelerator_of(options, array), fan_in, None), options.area)
    except OptionError:
        return False
    return True


def _fan_ins(method: Method, options: CompareOptions, group: int) -> tuple[int, ...]:
    """The fan-ins of a method: those asked for if it reads them, else the one that its own options need."""
    if "fan_in" in method.options:
        return options.fan_ins
    carried = options.hardware.fan_in if options.hardware else options.alpha
    needed = [1]
    if "alpha" in method.options:
        needed.append(min(options.alpha, carried))
    if "pattern" in method.options:
        needed.append(group)
    return (max(needed),)


def _variant(method: Method, own: PermuteOptions, fan_in: int, options: CompareOptions) -> Variant:
    """The variant with the options `own`, or without any if its pattern is beyond the hardware."""
    label, hardware, note = _label(method, own), options.hardware, ""
    permute: PermuteOptions | None = own
    if hardware and "pattern" in method.options and fan_in > hardware.fan_in:
        note = (
            f"{label} has no figures: it needs a fan-in of {fan_in}, a lane of {hardware.name} carries "
            f"{hardware.fan_in}"
        )
        permute = None
    elif hardware and "alpha" in method.options and own.alpha < options.alpha:
        note = (
            f"{method.name} has alpha {own.alpha}, not {options.alpha}: a lane of {hardware.name} carries no more "
            "inputs"
        )
    return Variant(label, method.name, fan_in, permute, note)


def _tuned_note(method: Method, options: CompareOptions, array: ArrayShape) -> str:
    tried = ", ".join(map(str, _tuned(method, options, array)))
    return f"{method.name} is shown with the best of fan-in {tried}"


def _label(method: Method, own: PermuteOptions) -> str:
    """The name of the row: the method and the values of its options, usual ones left out."""
    reads = method.options
    parts = [method.name]
    if "gamma" in reads:
        parts[0] += f" {repr(float(own.gamma)).removesuffix('.0')}"
    if "pattern" in reads:
        parts[0] += f" {own.pattern}"
    if "alpha" in reads and own.alpha != _USUAL_ALPHA:
        parts.append(f"alpha {own.alpha}")
    if "fan_in" in reads:
        parts.append(f"fan-in {own.fan_in}")
    if "objective" in reads and own.objective != "passes":
        parts.append(own.objective)
    return ", ".join(parts)
