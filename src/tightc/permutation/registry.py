"""The one table of methods: tightc's own, and those that installed packages add through entry points.

How to write a method: docs/design/methods.md.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Literal

from tightc.errors import OptionError

if TYPE_CHECKING:
    from tightc.tile.packing import Packing

GROUP = "tightc.methods"

Option = Literal["fan_in", "alpha", "gamma", "budget", "pattern", "objective", "subword_bits"]
Need = Literal["settings", "context"]


@dataclass(frozen=True)
class Method:
    """A way to pack a layer matrix, and what tightc has to know of it.

    `target`: its function, as `module:function`, imported when it is first used. The function is called with the
    LayerMatrix and the PackingProblem, then by keyword with each of `needs`: `settings` is a SearchSettings, `context`
    a SearchContext. It returns a Packing.

    `options`: the options of permute that the result depends on; compare makes a row for each of their values. A
    method without `fan_in`, `alpha` and `pattern` packs for an ordinary array, of fan-in 1. `lossy`: whether non-zeros
    may be left without a slot. `tuned`: the fan-ins of which compare shows the best alone; without any it shows those
    that are asked for. `leaves_out_idle`: whether weights on which no output depends are set to zero before it packs.
    """

    name: str
    target: str
    options: frozenset[Option] = frozenset()
    needs: tuple[Need, ...] = ()
    lossy: bool = False
    tuned: tuple[int, ...] = ()
    leaves_out_idle: bool = False

    def load(self) -> Callable[..., Packing]:
        """The function, imported on the first call."""
        module, _, function = self.target.partition(":")
        pack: Callable[..., Packing] = getattr(importlib.import_module(module), function)
        return pack


DENSE = Method("dense", "tightc.permutation.methods.dense:pack")
STRUCTURED = Method("structured", "tightc.permutation.methods.structured:pack")
WHOLE_FILTERS = Method("whole-filters", "tightc.permutation.methods.whole_filters:pack", leaves_out_idle=True)
COLUMN_COMBINE = Method(
    "column-combine",
    "tightc.permutation.methods.column_combine:pack",
    options=frozenset(("alpha", "gamma", "budget")),
    needs=("context",),
    lossy=True,
)
NM = Method(
    "nm",
    "tightc.permutation.methods.nm.pack:pack",
    options=frozenset(("pattern",)),
    needs=("settings", "context"),
    lossy=True,
)
ROW_NM = Method(
    "row-nm",
    "tightc.permutation.methods.row_nm:pack",
    options=frozenset(("fan_in",)),
    needs=("context",),
    tuned=(4, 8, 16, 32),
)
SERIES_NM = Method(
    "series-nm",
    "tightc.permutation.methods.series_nm:pack",
    options=frozenset(("fan_in",)),
    needs=("context",),
    tuned=(4, 8, 16, 32),
)
DISPLACE = Method(
    "displace",
    "tightc.permutation.methods.displace:pack",
    options=frozenset(("fan_in",)),
    needs=("context",),
    tuned=(2, 4, 8, 16, 32),
)
VUSA = Method(
    "vusa",
    "tightc.permutation.methods.vusa:pack",
    options=frozenset(("fan_in",)),
    needs=("context",),
    tuned=(2, 4, 8, 16, 32),
)
FIRST_FIT = Method(
    "first-fit",
    "tightc.permutation.methods.first_fit:pack",
    options=frozenset(("fan_in", "subword_bits")),
    needs=("context",),
)
TIGHT = Method(
    "tight",
    "tightc.permutation.methods.tight.pack:pack",
    options=frozenset(("fan_in", "subword_bits", "objective")),
    needs=("settings", "context"),
)

BUILT_IN = {
    method.name: method
    for method in (
        TIGHT,
        FIRST_FIT,
        COLUMN_COMBINE,
        NM,
        ROW_NM,
        SERIES_NM,
        DISPLACE,
        VUSA,
        WHOLE_FILTERS,
        STRUCTURED,
        DENSE,
    )
}


def method_names() -> tuple[str, ...]:
    """The names of all methods, tightc's own first; imports none of them."""
    return (*BUILT_IN, *sorted(_installed()))


def find_method(name: str) -> Method:
    """The method of that name; OptionError if there is none, or if its package cannot be imported."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name not in _installed():
        nearest = difflib.get_close_matches(name, method_names(), n=1)
        raise OptionError(
            f"expected one of {', '.join(method_names())}, got {name!r}",
            f"did you mean {nearest[0]}?"
            if nearest
            else "choose one of these, or install the package that adds it",
        )
    return _loaded(_installed()[name])


@cache
def _installed() -> dict[str, EntryPoint]:
    """Entry points by name; if two packages use one name, the first one on the path counts."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if entry.name not in BUILT_IN:
            found.setdefault(entry.name, entry)
    return found


@cache
def _loaded(entry: EntryPoint) -> Method:
    remedy = "reinstall or remove the package that adds it"
    try:
        method = entry.load()
    except (ImportError, AttributeError) as fault:
        raise OptionError(
            f"method {entry.name}: {entry.value} cannot be imported ({fault})", remedy
        ) from fault
    if not isinstance(method, Method) or method.name != entry.name:
        raise OptionError(
            f"method {entry.name}: expected {entry.value} to be a Method of that name, got {method!r}", remedy
        )
    return method
