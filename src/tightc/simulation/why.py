"""Why a layer gains what it gains, in one sentence made of its report row.

Every cause is a counterfactual of the row: passes that slots, filters or the fan-in need at least, cycles without
stalls, energy without a part. A cause is named only where it moves the gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from tightc.tile.array import ArrayShape

_MATTERS = 1.05  # a factor on the gain from which on a cause is named
_ENERGY_MATTERS = 1.25  # that on the energy gain, which more things move
_DOMINATES = 0.5  # fraction of the cycles
_STALLS = {
    "dram_stall_cycles": "DRAM",
    "activation_stall_cycles": "the activation buffer",
    "weight_stall_cycles": "the weight buffer",
    "sum_stall_cycles": "the partial-sum buffer",
    "bank_stall_cycles": "the banks of the activation buffer",
}
_PARTS = {
    "mac": "multiply-accumulates take",
    "idle": "idle PEs take",
    "multiplexer": "multiplexers take",
    "registers": "registers take",
    "lanes": "lanes take",
    "activation_buffer": "the activation buffer takes",
    "weight_buffer": "the weight buffer takes",
    "partial_sum_buffer": "partial sums take",
    "index": "the index takes",
    "dram": "DRAM takes",
    "bank_network": "the network of the banks takes",
}
_SEARCHING = ("tight", "first-fit")  # methods that may reach the bound


def why(row: Mapping[str, Any], totals: Mapping[str, Any]) -> str:
    """One sentence on what the layer of `row` gains over its dense form, and what limits that.

    `row`, `totals`: a layer and the totals of a report of `simulate`, or of its JSON.
    """
    if not row["cycles"]:
        return "It has no weights left, so it takes no cycles."
    clauses = [f"{row['speedup']:.2f}x: {_tiles(row, totals)}"]
    clauses += [
        clause
        for clause in (_stalls(row), _time(row, totals), _streaming(row, totals), _energy(row, totals))
        if clause is not None
    ]
    return "; ".join(clauses) + "."


def _tiles(row: Mapping[str, Any], totals: Mapping[str, Any]) -> str:
    """What decides the number of its tiles."""
    if not _is_packed(row, totals):
        return _unpacked(row, totals)
    tiles, filters = row["passes"] // row["temporal_tiles"], row["passes_by_filters"]
    least = row.get("passes_lower_bound", filters)  # a layer that shares its weight has none
    dense = row["dense_passes"] // row["dense_temporal_tiles"]
    head = (
        f"{_count(tiles)}, as many as in dense form"
        if tiles == dense
        else f"{_count(tiles)} in place of {dense:,}"
    )
    if tiles == dense == 1:
        return "one tile holds it in dense form too, and no layer takes fewer"
    if tiles == 1:
        return f"{head}, and no layer takes fewer"
    if tiles <= row["passes_by_slots"]:
        return (
            f"{head}; its {_slots_taken(row)} (density {row['density']:.3g}) need at least {tiles:,} of "
            f"{totals['array']} slots"
        )
    if tiles <= filters:
        return (
            f"{head}; filters take whole columns of {_array(totals).rows} slots, which needs {filters:,}, while the "
            f"number of slots alone allows {row['passes_by_slots']:,}"
        )
    if tiles <= least:
        return f"{head}; {_scarce(row, totals)} needs {least:,}, while the filters alone allow {filters:,}"
    if row["method"] in _SEARCHING:
        return f"{head}; the search stayed {tiles - least:,} above the bound of {least:,} at fan-in {totals['fan_in']}"
    return f"{head}; at fan-in {totals['fan_in']} the bound is {least:,}, which method {row['method']} did not reach"


def _unpacked(row: Mapping[str, Any], totals: Mapping[str, Any]) -> str:
    """The same of a layer without a packing, which runs dense."""
    if totals["dataflow"] != "ws":
        return f"not packed, dense in dataflow {totals['dataflow']}"
    tiles, least = row["passes"] // row["temporal_tiles"], row["passes_by_filters"]
    if tiles == 1:
        return "not packed, but one tile holds it in dense form, and no layer takes fewer"
    if tiles <= least:
        return f"not packed, but a lossless packing needs at least {least:,} tiles too"
    return (
        f"not packed, so all {tiles:,} dense tiles run, zeros included (density {row['density']:.3g}); a packing needs "
        f"at least {least:,}"
    )


def _scarce(row: Mapping[str, Any], totals: Mapping[str, Any]) -> str:
    """How the fan-in limits a lane."""
    fan_in, readers, columns = totals["fan_in"], row["filters"], _array(totals).columns
    if row["groups"] > 1 and fan_in * readers < columns:
        return (
            f"an input of its {row['groups']:,} groups has {readers:,} filter{'s' if readers > 1 else ''}, so a lane "
            f"of fan-in {fan_in} fills at most {fan_in * readers:,} of {columns:,} columns, which"
        )
    return f"the fan-in of {fan_in}"


def _stalls(row: Mapping[str, Any]) -> str | None:
    """What stalls take from the gain, or from the dense layer."""
    free = _gain_without_stalls(row)
    if row["speedup"] * _MATTERS < free:
        name = max((name for name in _STALLS if name in row), key=lambda name: int(row[name]))
        return (
            f"stalls take {row['stall_cycles']:,} of {row['cycles']:,} cycles, most of them of {_STALLS[name]} "
            f"({row[name]:,}); without any, it would gain {free:.2f}x"
        )
    if row["speedup"] > free * _MATTERS:
        return (
            f"the dense form stalls {row['dense_stall_cycles']:,} of its {row['dense_cycles']:,} cycles; without any "
            f"stalls, it would gain {free:.2f}x"
        )
    return None


def _gain_without_stalls(row: Mapping[str, Any]) -> float:
    return float((row["dense_cycles"] - row["dense_stall_cycles"]) / row["compute_cycles"])


def _time(row: Mapping[str, Any], totals: Mapping[str, Any]) -> str | None:
    """Why, without stalls, cycles fall by more or less than tiles do."""
    if not _is_packed(row, totals) or totals["dataflow"] != "ws":
        return None
    tiles, dense = row["passes"] // row["temporal_tiles"], row["dense_passes"] // row["dense_temporal_tiles"]
    by_tiles, free = dense / tiles, _gain_without_stalls(row)
    if by_tiles / _MATTERS <= free <= by_tiles * _MATTERS:
        return None
    if totals["replicate_tiles"]:
        reason = "tiles are replicated where the array has room"
    elif totals["arrays"] > 1:
        reason = (
            f"{totals['arrays']} arrays take the passes in turn, {ceil(row['passes'] / totals['arrays']):,} in place "
            f"of {ceil(row['dense_passes'] / totals['arrays']):,} each"
        )
    elif row["temporal_tiles"] != row["dense_temporal_tiles"]:
        reason = (
            f"each temporal tile of the vectors loads all tiles, and there are {row['temporal_tiles']:,} of them in "
            f"place of {row['dense_temporal_tiles']:,}"
        )
    elif not totals["prefetch_weights"]:  # then only arrays of other widths differ in the cycles of a pass
        reason = "an array of whole words, not subwords, has fewer columns, and its passes are shorter"
    elif totals["overlap_drain"]:
        reason = "the first tile loads before anything streams, and the last one drains after that"
    else:
        reason = "the first tile loads before anything streams"
    return f"{reason}, so that tiles by {by_tiles:.2f}x make {free:.2f}x of cycles without stalls"


def _streaming(row: Mapping[str, Any], totals: Mapping[str, Any]) -> str | None:
    """How much of the cycles no vector enters, where few vectors do."""
    if totals["dataflow"] != "ws" or totals["replicate_tiles"]:
        return None
    streamed = row["passes"] // row["temporal_tiles"] * row["vectors"]
    other = 1 - streamed / (row["arrays_used"] * row["compute_cycles"])
    if other <= _DOMINATES:
        return None
    vectors = row["vectors"]
    return (
        f"a tile streams {vectors:,} vector{'s' if vectors > 1 else ''}, so that loading and draining take "
        f"{other:.0%} of the cycles without stalls"
    )


def _energy(row: Mapping[str, Any], totals: Mapping[str, Any]) -> str | None:
    """The part that keeps the energy gain below the speedup: the one with most energy beyond dense / speedup."""
    if not _is_packed(row, totals) or row["energy_gain"] * _ENERGY_MATTERS >= row["speedup"]:
        return None
    parts = row["energy_parts_pj"]
    wanted = {part: dense / row["speedup"] for part, dense in row["dense_energy_parts_pj"].items()}
    part = max(parts, key=lambda name: float(parts[name] - wanted[name]))
    dense, energy = row["dense_energy_parts_pj"][part], parts[part]
    compared = f"{dense / energy:.2f}x less than in dense form" if dense else "none in dense form"
    if energy > dense > 0:
        compared = f"{energy / dense:.2f}x that of the dense form"
    if f"{energy:.2g}" == f"{dense:.2g}":
        compared = "as much as in dense form"
    gain = row["dense_energy_pj"] / (row["energy_pj"] - energy + wanted[part])
    return (
        f"energy gains {row['energy_gain']:.2f}x, as {_PARTS[part]} {energy / row['energy_pj']:.0%} of it, {compared} "
        f"({gain:.2f}x if that fell by the speedup)"
    )


def _slots_taken(row: Mapping[str, Any]) -> str:
    """What takes the slots: non-zero weights, or their subwords."""
    return f"{row['subwords']:,} subwords" if row.get("subwords") else f"{row['nonzeros']:,} non-zeros"


def _is_packed(row: Mapping[str, Any], totals: Mapping[str, Any]) -> bool:
    """Whether it has a packing; a layer that shares the weight of another has that one's, if the model has any."""
    measured = totals if row["shares"] is not None else row
    return row["method"] != "dense" or "tightness" in measured


def _array(totals: Mapping[str, Any]) -> ArrayShape:
    return ArrayShape.parse(totals["array"])


def _count(tiles: int) -> str:
    return f"{tiles:,} tile{'' if tiles == 1 else 's'}"
