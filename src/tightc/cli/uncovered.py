"""What of a model is not covered, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from tightc.report import Figures, Report

_MOST = 8


def uncovered_lines(report: Report, *, whole: bool) -> Iterator[str]:
    """A line for each operator that is not covered, by its share of the MACs; the first eight, or the `whole` list."""
    entries = sorted(report.uncovered, key=lambda entry: -(entry["macs_share"] or 0.0))
    shown = entries if whole else entries[:_MOST]
    several = len({entry.get("model") for entry in entries}) > 1
    yield from (_line(entry, several) for entry in shown)
    rest = entries[len(shown) :]
    if rest:
        share = sum(entry["macs_share"] or 0.0 for entry in rest)
        yield f"not covered: {len(rest)} more operators ({share:.1%} of the MACs); -v or --json lists them all"


def _line(entry: Figures, several: bool) -> str:
    share = "an unknown share" if entry["macs_share"] is None else f"{entry['macs_share']:.1%}"
    macs = "" if entry["macs"] is None else f", {entry['macs']:,}"
    model = f"{entry['model']}: " if several else ""
    return f"{model}not covered: {entry['operator']} {entry['name']} ({share} of the MACs{macs}): {entry['reason']}"
