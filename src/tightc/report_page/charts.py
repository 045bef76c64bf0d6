"""The charts of the page: cycles, slots, gains, energy, area, roofline, annealing and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tightc.names import escape
from tightc.plots.style import by_color, grouped_bars
from tightc.report_page.annealing import Curve
from tightc.report_page.baselines import Variant
from tightc.report_page.layer_table import densities, layer_cycles, layer_names
from tightc.report_page.reasons import steps
from tightc.report_page.style import DENSE, PARTS, SUBJECTS, WIDE, Chart, altair, draw, short_names
from tightc.report_page.subject import Subject

MOST_BARS = 60  # layers in a chart; of more, those with most cycles
_NAME = 24
_SLOTS = {"weights": "var(--a)", "empty in tiles": "var(--empty)", "outside tiles": "var(--outside)"}
_STEPS = {"zeros skipped": "var(--dense)", "whole passes": "var(--empty)"}
_MOST_CURVES = 8
_DENSE_ARRAY = "dense array"

Records = list[dict[str, Any]]


def shown_layers(subjects: Sequence[Subject]) -> list[str]:
    """The layers in the charts: all, or of many those with most cycles, in their order."""
    names = layer_names(subjects)
    if len(names) <= MOST_BARS:
        return names
    cycles = layer_cycles(subjects)
    most = set(sorted(names, key=lambda name: -cycles[name])[:MOST_BARS])
    return [name for name in names if name in most]


def cycles_chart(subjects: Sequence[Subject], layers: Sequence[str]) -> Chart:
    """Cycles of each layer, dense and as it is."""
    alt, short = altair(), _short(layers)
    records: Records = []
    for subject in subjects:
        for row in subject.rows:
            if row["name"] in short:
                layer = short[str(row["name"])]
                if subject is subjects[0]:
                    records.append(_bar(layer, "dense", row["dense_cycles"], "cycles"))
                records.append(_bar(layer, subject.label, row["cycles"], "cycles"))
    kinds = _kinds(subjects)

    def make(width: int) -> Any:
        return (
            grouped_bars(
                records,
                alt.Y("layer:N", sort=None, title=None),
                alt.X("value:Q", title="cycles", axis=alt.Axis(format="~s")),
                "kind",
                kinds,
            )
            .mark_bar()
            .encode(description="tip:N")
            .properties(height=alt.Step(8 if len(kinds) > 2 else 9))
        )

    return draw("Cycles of each layer", "Bars: the cycles of each layer, dense and as it is.", make)


def slots_chart(subject: Subject, layers: Sequence[str]) -> Chart | None:
    """What the slots of the array hold in all passes of each layer; None where nothing is packed."""
    alt, short = altair(), _short(layers)
    records: Records = []
    for layer, row in zip(subject.network.layers, subject.rows, strict=True):
        packing = subject.packings.get(layer.weight)
        if packing is None or layer.label not in short or "area" not in row:
            continue
        all_slots = len(packing.tiles) * packing.array.rows * packing.array.columns
        held = row.get("subwords") or row["nonzeros"] - row["dropped_weights"]
        counts = (held, row["area"] - held, all_slots - row["area"])
        for order, (kind, count) in enumerate(zip(_SLOTS, counts, strict=True)):
            tip = f"{short[layer.label]}, {kind}: {count:,} slots, {100 * count / max(1, all_slots):.1f} %"
            records.append(
                {"layer": short[layer.label], "kind": kind, "value": count, "order": order, "tip": tip}
            )
    if not records:
        return None

    def make(width: int) -> Any:
        return (
            alt.Chart(alt.Data(values=records))
            .mark_bar()
            .encode(
                y=alt.Y("layer:N", sort=None, title=None),
                x=alt.X("value:Q", stack="normalize", title="slots", axis=alt.Axis(format="%")),
                color=by_color("kind", _SLOTS),
                order="order:Q",
                description="tip:N",
            )
            .properties(height=alt.Step(18))
        )

    title = "What the slots hold" + (f", {subject.letter}" if subject.letter else "")
    return draw(
        title,
        "Bars: of all slots of all passes, those with a weight, empty in tiles, and outside tiles.",
        make,
    )


def gains_chart(subject: Subject, layers: Sequence[str]) -> Chart:
    """The gain of each layer in cycles, between what its zeros, its whole passes and its packing permit."""
    alt, short = altair(), _short(layers)
    records: Records = []
    for row, density in zip(subject.rows, densities(subject), strict=True):
        if row["name"] in short:
            layer = short[str(row["name"])]
            for step in steps(row, density)[:-1]:
                if step.name in _STEPS:
                    records.append(_bar(layer, step.name, step.gain, "x", 2))
            records.append(_bar(layer, "speedup", row["speedup"] or 1.0, "x", 2))
    kinds = {**_STEPS, "speedup": SUBJECTS[subject.letter]}

    def make(width: int) -> Any:
        base = alt.Chart(alt.Data(values=records)).encode(
            y=alt.Y("layer:N", sort=None, title=None, axis=alt.Axis(grid=True))
        )
        gains = alt.X(
            "value:Q",
            scale=alt.Scale(type="log", nice=False),
            title="gain in cycles (log)",
            axis=alt.Axis(format="~s"),
        )
        ranges = base.mark_rule(color="var(--line)").encode(x=alt.X("min(value):Q"), x2="max(value):Q")
        points = base.mark_point(filled=True, size=52, opacity=1).encode(
            x=gains, color=by_color("kind", kinds), description="tip:N"
        )
        return (ranges + points).properties(height=alt.Step(18))

    title = "Where the gain of each layer ends" + (f", {subject.letter}" if subject.letter else "")
    return draw(
        title,
        "Points: the gain that skipping all zeros would give, that of whole passes, and the speedup.",
        make,
    )


def energy_chart(subjects: Sequence[Subject]) -> Chart:
    """Energy of the network by part, dense and as it is."""
    rows = [("dense", subjects[0].totals["dense_energy_parts_pj"])]
    rows += [(subject.label, subject.totals["energy_parts_pj"]) for subject in subjects]
    scaled = [(name, {part: 1e-6 * value for part, value in parts.items()}) for name, parts in rows]
    return _stacked(
        "Energy by part", "uJ", "Bars: the energy of one run by part, dense and as it is.", scaled
    )


def area_chart(subjects: Sequence[Subject]) -> Chart:
    """Area of the arrays by part, with the dense array as a whole."""
    rows = [("dense", {_DENSE_ARRAY: subjects[0].totals["dense_area_mm2"]})]
    rows += [(subject.label, subject.totals["area_parts_mm2"]) for subject in subjects]
    return _stacked(
        "Area by part", "mm²", "Bars: the area of the arrays by part, and of the dense array.", rows
    )


def roofline_chart(subjects: Sequence[Subject], bytes_per_cycle: float, peak: int) -> Chart:
    """Multiply-accumulates per cycle of each layer against those per byte of DRAM, below the two roofs."""
    alt = altair()
    records = [record for subject in subjects for record in _roof_points(subject, subject is subjects[0])]
    ends = [record["x"] for record in records] + [peak / bytes_per_cycle]
    low, high = min(ends) / 2, max(ends) * 2
    roof = [{"x": x, "y": min(peak, x * bytes_per_cycle)} for x in (low, peak / bytes_per_cycle, high)]
    kinds = _kinds(subjects)

    def make(width: int) -> Any:
        x = alt.X(
            "x:Q",
            scale=alt.Scale(type="log", domain=[low, high], nice=False),
            title="MACs per byte of DRAM",
            axis=alt.Axis(format="~s"),
        )
        y = alt.Y("y:Q", scale=alt.Scale(type="log"), title="MACs per cycle", axis=alt.Axis(format=",.3~r"))
        line = alt.Chart(alt.Data(values=roof)).mark_line(color="var(--fg)", strokeWidth=1.5).encode(x=x, y=y)
        points = (
            alt.Chart(alt.Data(values=records))
            .mark_point(filled=True, size=45, opacity=0.85)
            .encode(x=x, y=y, color=by_color("kind", kinds), description="tip:N")
        )
        return (line + points).properties(height=260)

    return draw(
        "Roofline",
        "Points: MACs per cycle of each layer against its MACs per byte of DRAM, below the roofs.",
        make,
    )


def annealing_chart(curves: Mapping[str, Curve]) -> Chart:
    """The cost of each layer's plan while it was annealed, relative to its start; the longest curves."""
    alt = altair()
    longest = sorted(curves, key=lambda name: -len(curves[name]["moves"]))[:_MOST_CURVES]
    chosen = [name for name in curves if name in longest and curves[name]["cost"][:1] not in ([], [0])]
    short = _short(chosen)
    records = [
        {"layer": short[name], "moves": moves, "cost": cost / curves[name]["cost"][0]}
        for name in chosen
        for moves, cost in zip(curves[name]["moves"], curves[name]["cost"], strict=True)
    ]

    def make(width: int) -> Any:
        return (
            alt.Chart(alt.Data(values=records))
            .mark_line(strokeWidth=1.5)
            .encode(
                x=alt.X("moves:Q", title="moves tried", axis=alt.Axis(format="~s")),
                y=alt.Y("cost:Q", title="cost / cost at the start", scale=alt.Scale(zero=False)),
                color=by_color("layer", dict(zip(short.values(), PARTS, strict=False))),
            )
            .properties(height=240)
        )

    return draw("Annealing", "Lines: the cost of the longest searches against the moves tried.", make)


def baselines_chart(variants: Sequence[Variant], subjects: Sequence[Subject]) -> Chart:
    """The speedup and energy gain of the variants, and of the subjects of the page."""
    alt = altair()
    rows = [(variant.name, variant.figures, "variant") for variant in variants]
    rows += [(f"this page{f', {s.letter}' if s.letter else ''}", s.totals, "page") for s in subjects]
    names = short_names([name for name, _, _ in rows], _NAME)
    titles = {"speedup": "speedup", "energy_gain": "energy gain"}
    records = [
        {"variant": name, "measure": titles[measure], "value": figures[measure] or 0.0, "kind": kind}
        | {"tip": f"{name}, {titles[measure]}: {figures[measure] or 0.0:.2f}x"}
        for name, (_, figures, kind) in zip(names, rows, strict=True)
        for measure in titles
    ]

    def make(width: int) -> Any:
        return (
            grouped_bars(
                records,
                alt.Y("variant:N", sort=None, title=None),
                alt.X("value:Q", title="gain over the dense network", axis=alt.Axis(format="~g")),
                "measure",
                {"speedup": "var(--a)", "energy gain": "var(--empty)"},
            )
            .mark_bar()
            .encode(description="tip:N")
            .properties(height=alt.Step(9))
        )

    return draw("Gains of the variants", "Bars: speedup and energy gain of each variant.", make)


def _stacked(title: str, unit: str, summary: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Chart:
    alt = altair()
    parts = list(dict.fromkeys(part for _, values in rows for part, value in values.items() if value))
    titles = {part: part.replace("_", " ") for part in parts}
    records = [
        {"name": name, "part": titles[part], "value": values[part], "order": order}
        | {"tip": f"{name}, {titles[part]}: {values[part]:,.4g} {unit}"}
        for name, values in rows
        for order, part in enumerate(parts)
        if values.get(part)
    ]
    names = [name for name, _ in rows]
    colors = dict(zip((titles[part] for part in parts if part != _DENSE_ARRAY), PARTS, strict=False))
    if _DENSE_ARRAY in parts:
        colors = {_DENSE_ARRAY: DENSE, **colors}

    def make(width: int) -> Any:
        color = by_color("part", colors)
        if width == WIDE:
            color.legend = alt.Legend(columns=4)
        return (
            alt.Chart(alt.Data(values=records))
            .mark_bar(stroke="var(--bg)", strokeWidth=1)
            .encode(
                y=alt.Y("name:N", sort=names, title=None),
                x=alt.X("value:Q", title=unit, axis=alt.Axis(format=",.3~r")),
                color=color,
                order="order:Q",
                description="tip:N",
            )
            .properties(height=alt.Step(34))
        )

    return draw(title, summary, make)


def _roof_points(subject: Subject, with_dense: bool) -> Records:
    found = []
    for row in subject.rows:
        macs = row["filters"] * row["inputs"] * row["vectors"]
        points = [(subject.label, row["macs_per_dram_byte"], row["macs_per_cycle"])]
        if with_dense and row["dense_dram_bytes"]:
            points.append(("dense", macs / row["dense_dram_bytes"], macs / max(1, row["dense_cycles"])))
        for kind, x, y in points:
            if x and y:
                tip = f"{escape(str(row['name']))}, {kind}: {x:,.3g} MACs per byte, {y:,.3g} MACs per cycle"
                found.append({"x": x, "y": y, "kind": kind, "tip": tip})
    return found


def _kinds(subjects: Sequence[Subject]) -> dict[str, str]:
    """The colors of the dense network and of the subjects."""
    return {"dense": DENSE, **{subject.label: SUBJECTS[subject.letter] for subject in subjects}}


def _short(layers: Sequence[str]) -> dict[str, str]:
    return dict(zip(layers, short_names([escape(name) for name in layers], _NAME), strict=True))


def _bar(layer: str, kind: str, value: float, unit: str, places: int = 0) -> dict[str, Any]:
    return {
        "layer": layer,
        "kind": kind,
        "value": value,
        "tip": f"{layer}, {kind}: {value:,.{places}f} {unit}",
    }
