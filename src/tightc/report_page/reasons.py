"""The gains of a layer that were possible, step by step."""

from __future__ import annotations

from dataclasses import dataclass

from tightc.report import Figures


@dataclass(frozen=True)
class Step:
    """A gain in cycles that was possible up to a step: its name, the gain, and what limits it from here on."""

    name: str
    gain: float
    meaning: str


def steps(row: Figures, density: float) -> list[Step]:
    """The gain by its non-zeros alone, by whole passes, by its packing, and with stalls.

    Those that the layer lacks are left out: a layer without a packing has no bound, and ideal hardware no stalls.
    """
    found = (
        [Step("zeros skipped", 1 / density, "1 / density, if a pass could be of any size")] if density else []
    )
    bound = (row.get("passes_lower_bound") or 0) * row["temporal_tiles"]
    if bound:
        name = "whole passes"
        found.append(
            Step(name, row["dense_passes"] / bound, "dense passes / the bound: no packing needs fewer passes")
        )
    if row["pass_compression"]:
        found.append(Step("this packing", row["pass_compression"], "dense passes / passes of its tiles"))
    if row["speedup"] and (row["stall_cycles"] or row["dense_stall_cycles"] or not bound):
        found.append(
            Step("with stalls", row["speedup"], "dense cycles / cycles, with waiting for buffers and DRAM")
        )
    return found
