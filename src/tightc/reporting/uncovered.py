"""The operators that tightc does not pack, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from tightc.names import message_text
from tightc.report import Figures, Report

_MOST = 8


def uncovered_lines(report: Report, *, whole: bool) -> Iterator[str]:
    """A line for each operator that is not covered: unknown fractions of the MACs first, then the largest.

    The first eight and a line for the rest, or the `whole` list.
    """
    entries = sorted(report.uncovered, key=lambda entry: -_size(entry))
    shown = entries if whole else entries[:_MOST]
    several = len({entry.get("model") for entry in entries}) > 1
    yield from (message_text(_line(entry, several)) for entry in shown)
    rest = entries[len(shown) :]
    if rest:
        shares = [entry["macs_share"] for entry in rest]
        share = _shown(None if None in shares else sum(shares))
        yield f"not covered: {len(rest)} more operators ({share} of the MACs); -v or --json lists them all"


def _size(entry: Figures) -> float:
    share = entry["macs_share"]
    return 1.0 if share is None else float(share)


def _shown(share: float | None) -> str:
    return "an unknown share" if share is None else f"{share:.1%}"


def _line(entry: Figures, several: bool) -> str:
    share = _shown(entry["macs_share"])
    macs = "" if entry["macs"] is None else f", {entry['macs']:,}"
    model = f"{entry['model']}: " if several else ""
    return f"{model}not covered: {entry['operator']} {entry['name']} ({share} of the MACs{macs}): {entry['reason']}"
