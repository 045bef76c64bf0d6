"""Points of an exploration: cycles over energy, and over area where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tightc.plots.energy import UNITS
from tightc.plots.style import SERIES, Rows, data, load_altair, numbers_axis

if TYPE_CHECKING:
    import altair

_WIDTH, _HEIGHT = 300, 260
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
_STATUSES = ("front", "dominated")


def front_chart(rows: Rows) -> altair.TopLevelMixin:
    """A mark for each point that was evaluated, by array; those of the front are filled and have their number.

    `rows`: those of a report of `explore`. Points that were skipped or do not fit have no figures and no mark.
    """
    alt = load_altair()
    points = [row for row in rows if row["status"] in _STATUSES]
    most = max((row["energy_pj"] for row in points), default=0.0)
    unit = next((name for name, size in UNITS.items() if most >= size), "pJ")
    values: list[dict[str, Any]] = [
        {
            "point": row["number"],
            "label": str(row["number"]) if row["status"] == "front" else "",
            "array": row["array"],
            "status": row["status"],
            "cycles": row["cycles"],
            "energy": row["energy_pj"] / UNITS[unit],
            "area": row.get("area_mm2"),
        }
        for row in points
    ]
    charts = [_scatter(values, "energy", f"energy ({unit})")]
    if any(value["area"] is not None for value in values):
        charts.append(_scatter(values, "area", "area (mm2)"))
    return alt.hconcat(*charts, title="Points by array: filled and with its number on the front", spacing=30)


def _scatter(values: Sequence[dict[str, Any]], measure: str, title: str) -> altair.TopLevelMixin:
    """Cycles over a measure."""
    alt = load_altair()
    arrays = list(dict.fromkeys(value["array"] for value in values))
    colors, shapes = (alt.Scale(domain=arrays, range=[*names]) for names in (SERIES, _SHAPES))
    base = alt.Chart(data(values)).encode(
        x=alt.X(f"{measure}:Q", title=title, axis=numbers_axis(tickCount=6)),
        y=alt.Y("cycles:Q", title="cycles", axis=numbers_axis(tickCount=6)),
    )
    marks = base.mark_point(size=70, opacity=1).encode(
        stroke=alt.Stroke("array:N", title="array", scale=colors),
        shape=alt.Shape("array:N", title="array", scale=shapes),
        fill=alt.condition(
            "datum.status === 'front'",
            alt.Fill("array:N", title="array", scale=colors),
            alt.value("transparent"),
        ),
        tooltip=["point:N", "status:N"],
    )
    texts = base.mark_text(align="left", dx=7, dy=-6, fontSize=10).encode(text="label:N")
    return (marks + texts).properties(width=_WIDTH, height=_HEIGHT)
