"""The charts that belong to the report of a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tightc.plots.annealing import annealing_chart
from tightc.plots.cycles import cycles_chart
from tightc.plots.energy import energy_chart
from tightc.plots.front import front_chart
from tightc.plots.methods import methods_chart
from tightc.plots.slot_fill import slot_fill_chart
from tightc.plots.style import Rows, load_altair

if TYPE_CHECKING:
    import altair

_CHARTS = {
    "permute": (slot_fill_chart, annealing_chart),
    "simulate": (cycles_chart, energy_chart),
    "compare": (methods_chart,),
    "explore": (front_chart,),
}


def report_chart(stage: str, rows: Rows) -> altair.TopLevelMixin:
    """The charts of a report of `stage`, one of _CHARTS, below each other; `rows`: its layers, or points."""
    charts = [chart for draw in _CHARTS[stage] if (chart := draw(rows)) is not None]
    return load_altair().vconcat(*charts, spacing=30).resolve_scale(color="independent")
