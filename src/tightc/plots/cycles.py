"""Cycles of each layer, dense and packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tightc.plots.style import (
    BAR,
    BLACK,
    BLUE,
    GRAY,
    WIDTH,
    Rows,
    grouped_bars,
    layer_name,
    load_altair,
    names_axis,
    numbers_axis,
)

if TYPE_CHECKING:
    import altair

FORMS = {"dense": GRAY, "as it is": BLUE}


def cycles_chart(rows: Rows) -> altair.TopLevelMixin:
    """Two bars for each layer: cycles of its dense form and as it is, with the speedup as text.

    `rows`: layers of a report of `simulate`.
    """
    alt = load_altair()
    values = []
    for row in rows:
        speedup = "" if row["speedup"] is None else f"{row['speedup']:.2f}x"
        values.append(
            {"layer": layer_name(row), "form": "dense", "cycles": row["dense_cycles"], "speedup": ""}
        )
        values.append(
            {"layer": layer_name(row), "form": "as it is", "cycles": row["cycles"], "speedup": speedup}
        )
    x = alt.X("cycles:Q", title="cycles", axis=numbers_axis(tickCount=8))
    base = grouped_bars(values, names_axis("layer", "layer"), x, "form", FORMS, title="form")
    texts = base.mark_text(align="left", dx=4, fontSize=9).encode(text="speedup:N", color=alt.value(BLACK))
    return (base.mark_bar() + texts).properties(
        width=WIDTH, height=alt.Step(BAR - 3), title="Cycles of each layer"
    )
