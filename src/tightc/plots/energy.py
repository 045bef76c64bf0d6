"""Energy of each layer by part, dense and packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tightc.plots.style import BAR, WIDTH, Rows, by_color, data, layer_name, load_altair, names_axis

if TYPE_CHECKING:
    import altair

# the palette "muted" of Paul Tol (2021), safe for color-blind people, and black; a part has the same color everywhere
COLORS = {
    "mac": "#332288",
    "multiplexer": "#88CCEE",
    "registers": "#44AA99",
    "lanes": "#117733",
    "activation_buffer": "#999933",
    "weight_buffer": "#DDCC77",
    "partial_sum_buffer": "#CC6677",
    "index": "#882255",
    "dram": "#AA4499",
    "bank_network": "#000000",
    "idle": "#DDDDDD",
}
FORMS = ("dense", "as it is")
UNITS = {"mJ": 1e9, "uJ": 1e6, "nJ": 1e3, "pJ": 1.0}  # in pJ


def energy_chart(rows: Rows) -> altair.TopLevelMixin:
    """Two bars for each layer, dense above, cut into the parts of the energy that are not 0.

    `rows`: layers of a report of `simulate`.
    """
    alt = load_altair()
    most = max((max(row["energy_pj"], row["dense_energy_pj"]) for row in rows), default=0.0)
    unit = next((name for name, size in UNITS.items() if most >= size), "pJ")
    values = [
        {
            "layer": layer_name(row),
            "form": form,
            "part": part,
            "energy": parts[part] / UNITS[unit],
            "order": order,
        }
        for row in rows
        for form, key in zip(FORMS, ("dense_energy_parts_pj", "energy_parts_pj"), strict=True)
        for parts in (row[key],)
        for order, part in enumerate(COLORS)
        if parts.get(part)
    ]
    present = {value["part"] for value in values}
    used = {part: color for part, color in COLORS.items() if part in present}
    return (
        alt.Chart(data(values), title="Energy of each layer by part: dense above, as it is below")
        .mark_bar(stroke="white", strokeWidth=0.4)
        .encode(
            y=names_axis("layer", "layer"),
            yOffset=alt.YOffset("form:N", sort=FORMS),
            x=alt.X("sum(energy):Q", title=f"energy ({unit})", axis=alt.Axis(format="~g", tickCount=8)),
            color=by_color(
                "part", used, title="part", legend=alt.Legend(labelExpr="replace(datum.label, /_/g, ' ')")
            ),
            order="order:Q",
        )
        .properties(width=WIDTH, height=alt.Step(BAR - 3))
    )
