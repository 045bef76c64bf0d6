"""The annealing curves of `permute`: how the cost of each layer falls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tightc.plots.style import BLUE, ORANGE, Rows, data, layer_name, load_altair, numbers_axis

if TYPE_CHECKING:
    import altair

_COLUMNS = 4
_SIZE = (120, 70)  # pixels of the curve of a layer
_LONGEST_NAME = 170  # pixels
_SERIES = ("cost", "excess")


def annealing_chart(rows: Rows) -> altair.TopLevelMixin | None:
    """A small curve for each layer that was annealed, in the order of the report; None where there is none.

    `rows`: layers of a report of `permute`. Cost and inputs beyond the fan-in, by moves.
    """
    alt = load_altair()
    values = [
        {"layer": layer_name(row), "series": series, "moves": moves, "value": value}
        for row in rows
        if row.get("annealing")
        for series in _SERIES
        for moves, value in zip(row["annealing"]["moves"], row["annealing"][series], strict=True)
    ]
    names = list(dict.fromkeys(value["layer"] for value in values))
    if not names:
        return None
    color = alt.Color(
        "series:N",
        title="curve",
        scale=alt.Scale(domain=_SERIES, range=[BLUE, ORANGE]),
        legend=alt.Legend(labelExpr="datum.label === 'cost' ? 'cost' : 'inputs beyond the fan-in'"),
    )
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=_SERIES, range=[[1, 0], [4, 2]]), legend=None)
    curve = (
        alt.Chart(data(values))
        .mark_line(point=alt.OverlayMarkDef(size=8))
        .encode(
            x=alt.X("moves:Q", title="moves", axis=numbers_axis(tickCount=3, grid=False)),
            y=alt.Y("value:Q", title="inputs", axis=numbers_axis(tickCount=3)),
            color=color,
            strokeDash=dash,
        )
        .properties(width=_SIZE[0], height=_SIZE[1])
    )
    header = alt.Header(title=None, labelAnchor="start", labelFontSize=11, labelLimit=_LONGEST_NAME)
    title = alt.Title(
        "Annealing of each layer",
        subtitle="cost = inputs beyond the fan-in + 1/4 of the inputs that all lanes carry",
    )
    return (
        curve.facet(alt.Facet("layer:N", sort=names, header=header), columns=_COLUMNS, title=title)
        .resolve_scale(x="independent", y="independent")
        .resolve_axis(x="independent", y="independent")
    )
