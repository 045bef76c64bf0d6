"""How full the tiles of each layer are, compared with those of its dense form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tightc.plots.style import BAR, BLUE, ORANGE, WIDTH, Rows, data, layer_name, load_altair, names_axis

if TYPE_CHECKING:
    import altair


def slot_fill_chart(rows: Rows) -> altair.TopLevelMixin:
    """A bar for each layer: the percentage of the slots of its tiles that hold a weight, and its tiles as text.

    `rows`: layers of a report of `permute`. A tick marks the density, which is what the dense form fills.
    """
    alt = load_altair()
    values = [
        {
            "layer": layer_name(row),
            "filled": 100 * (row["tightness"] or 0),
            "density": 100 * row["density"],
            "tiles": _tiles(row["passes"], row["dense_passes"]),
        }
        for row in rows
    ]
    base = alt.Chart(data(values)).encode(y=names_axis("layer", "layer"))
    filled = alt.X("filled:Q", title="slots that hold a weight (%)", scale=alt.Scale(domain=[0, 100]))
    bars = base.mark_bar(color=BLUE).encode(x=filled)
    ticks = base.mark_tick(color=ORANGE, thickness=3, opacity=1).encode(x="density:Q")
    texts = base.mark_text(align="left", dx=5, fontSize=10).encode(
        x=alt.XDatum(100), text=alt.Text("tiles:N")
    )
    return (bars + ticks + texts).properties(
        width=WIDTH,
        height=alt.Step(BAR + 3),
        title="Slots filled by weights (tick: density of the layer), and tiles",
    )


def _tiles(passes: int, dense: int) -> str:
    return f"{passes:,} of {dense:,} tile{'' if dense == 1 else 's'}"
