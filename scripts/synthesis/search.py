"""Looks for the netlists of a design that matter: the fastest, the smallest, and the smallest at a given clock."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from synthesis.tools import Design, Netlist, Setup, synthesize

_PS = 1000
_NO_TARGET = 100  # ps: less than any design takes, so that all gates are sized for speed
_CLOCK_STEP = 0.05  # ns
_BISECTIONS = 4


@dataclass(frozen=True)
class Found:
    """The netlists of one design; `at_clock` is None where none meets the clock."""

    fastest: Netlist
    smallest: Netlist
    at_clock: Netlist | None


def fastest(design: Design, setup: Setup) -> Netlist:
    """The netlist with the shortest path."""
    first = synthesize(design, "fast", _NO_TARGET, setup)
    second = synthesize(design, "fast", round(0.8 * first.period * _PS), setup)
    return min(first, second, key=lambda netlist: (netlist.period, netlist.area))


def common_clock(netlists: list[Netlist]) -> float:
    """The shortest clock in ns, in steps of 50 ps, that all `netlists` meet."""
    return round(ceil(max(n.period for n in netlists) / _CLOCK_STEP - 1e-9) * _CLOCK_STEP, 3)


def smallest_at(design: Design, clock: float, setup: Setup) -> Netlist | None:
    """The smallest netlist found with a path of at most `clock` ns, by bisection over the target given to abc.

    The mappings are tried from the smallest to the fastest, and the first that meets the clock is taken.
    """
    for mapping in ("small", "balanced", "fast"):
        low, high = _NO_TARGET, round(1.5 * clock * _PS)
        best = synthesize(design, mapping, low, setup)
        if best.period > clock:
            continue
        target = round(clock * _PS)
        for _ in range(_BISECTIONS):
            found = synthesize(design, mapping, target, setup)
            if found.period <= clock:
                best, low = min(best, found, key=lambda netlist: netlist.area), target
            else:
                high = target
            target = (low + high) // 2
        return best
    found = fastest(design, setup)
    return found if found.period <= clock else None


def search(design: Design, clock: float, setup: Setup) -> Found:
    """The three netlists of `design`."""
    return Found(
        fastest(design, setup),
        synthesize(design, "small", round(10 * clock * _PS), setup),
        smallest_at(design, clock, setup),
    )
