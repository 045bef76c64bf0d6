"""Methods of packing next to each other: how much faster than dense, and with how much less energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tightc.plots.style import BAR, BLUE, ORANGE, Rows, data, load_altair, names_axis

if TYPE_CHECKING:
    import altair

_MEASURES = {
    "speedup": "speedup over dense (x)",
    "speedup_per_area": "speedup per area (x)",
    "energy_gain": "energy gain over dense (x)",
}
_WIDTH = 230


def methods_chart(rows: Rows) -> altair.TopLevelMixin:
    """A bar for each row of a report of `compare` and each measure that it has, in the order of the report."""
    alt = load_altair()
    several = len({row["model"] for row in rows}) > 1
    measures = [name for name in _MEASURES if any(row.get(name) is not None for row in rows)]
    values = [
        {
            "method": _label(row, with_model=several),
            **{name: row.get(name) for name in measures},
        }
        for row in rows
    ]
    bars = []
    for number, name in enumerate(measures):
        axis = names_axis("method", "method")
        if number:
            axis = alt.Y("method:N", sort=None, title=None, axis=alt.Axis(labels=False, ticks=False))
        base = alt.Chart(data(values)).encode(y=axis, x=alt.X(f"{name}:Q", title=_MEASURES[name]))
        bar = base.mark_bar(color=ORANGE if name == "energy_gain" else BLUE)
        text = base.mark_text(align="left", dx=4, fontSize=10).encode(
            text=alt.Text(f"{name}:Q", format=".2f")
        )
        bars.append((bar + text).properties(width=_WIDTH, height=alt.Step(BAR + 5)))
    return alt.hconcat(*bars, title="Methods on the same hardware", spacing=24)


def _label(row: Mapping[str, Any], *, with_model: bool) -> str:
    """The name of a row, with the weights that a lossy method drops, since they are a part of its gain."""
    name = f"{row['model']}: {row['variant']}" if with_model else str(row["variant"])
    return f"{name} (drops {row['dropped_weights']:,} weights)" if row["dropped_weights"] else name
