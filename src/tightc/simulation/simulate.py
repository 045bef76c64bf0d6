"""Simulate: cycles and energy of a model on a systolic array, dense beside packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.intermediate_values import random_feeds, read_feeds
from tightc.progress import Progress, no_progress
from tightc.report import Report
from tightc.simulation.accelerator.accelerator import Accelerator
from tightc.simulation.accelerator.energy_table import EnergyTable
from tightc.simulation.accelerator.hardware import SUM_BYTES, Hardware
from tightc.simulation.choose_accelerator import choose_accelerator
from tightc.simulation.cost_model.energy import variations
from tightc.simulation.cost_model.events import count_events
from tightc.simulation.cost_model.layer_cost import CostComparison, LayerCost
from tightc.simulation.cost_model.memory import open_sums, schedule
from tightc.simulation.cost_model.passes import Dataflow, Passes, dense_passes
from tightc.simulation.options import SimulateOptions
from tightc.simulation.workload import LayerWork, Workload, read_workload
from tightc.tile.measures import Measures

_COUNTED_BY_USE = ("passes", "dense_passes", "pass_compression")


def simulate(
    model: Model, options: SimulateOptions, *, seed: int = 0, progress: Progress = no_progress
) -> Report:
    """Cycles, utilisation and energy of every layer by closed forms, and of the same layers dense.

    A layer with a packing runs its tiles; one without runs dense, zeros included. With `options.verify` each also runs
    on the cycle engine, on random inputs of the model (from `seed`) or given ones. ModelError where a packing does not
    hold the model's weights, OptionError where it was made for another array or the dataflow is not ws.
    """
    workload = read_workload(model, options)
    accelerator = choose_accelerator(workload, options)
    records = price(workload, accelerator, options.dataflow)
    table = options.energy
    rows = [
        _row(layer, record, workload, table, accelerator)
        for layer, record in zip(workload.layers, records, strict=True)
    ]
    total = sum(records, CostComparison())
    gains = [
        {"entry": v.entry, "change": v.change, "energy_gain": total.energy_gain(v.table, accelerator)}
        for v in variations(table)
    ]
    totals: dict[str, Any] = {
        "array": str(accelerator.array),
        "arrays": accelerator.arrays,
        "hardware": options.hardware.name if options.hardware else "ideal",
        "dataflow": options.dataflow,
        "prefetch_weights": accelerator.prefetch,
        "side_by_side": accelerator.side_by_side,
        "hardware_file": _as_run(options.hardware, accelerator),
        "energy_file": table.model_dump(mode="json"),
        "macs_covered": workload.macs_covered,
        "energy_table": table.name,
        **total.figures(table, accelerator),
        "energy_gain_if": gains,
        **_measured(sum(workload.measures.values(), Measures()) if workload.measures else None),
    }
    if options.verify or options.inputs:
        found = _verified(workload, accelerator, options, seed, progress)
        rows = [{**row, **figures} for row, figures in zip(rows, found, strict=True)]
        totals["verified_layers"] = len(found)
        totals["value_error"] = max(figures["value_error"] for figures in found)
    notes = (
        *model.notes,
        *_notes(totals, accelerator),
        *_batch_note(model, options, accelerator, total.own.cycles),
    )
    return Report("simulate", totals, tuple(rows), workload.outside, notes)


def _verified(
    workload: Workload, accelerator: Accelerator, options: SimulateOptions, seed: int, progress: Progress
) -> list[dict[str, Any]]:
    """What the cycle engine found in each layer."""
    from tightc.simulation.verify import verify

    if options.inputs:
        feeds = read_feeds(options.inputs, workload.plain, options)
    else:
        feeds = random_feeds(workload.plain, options, seed)
    found = []
    for layer, verified in zip(
        workload.layers, verify(workload, accelerator, options.dataflow, feeds), strict=True
    ):
        found.append({"engine_cycles": verified.cycles, "value_error": verified.error})
        progress("verify", len(found) / len(workload.layers), {"layer": layer.layer.name})
    return found


def _as_run(hardware: Hardware | None, accelerator: Accelerator) -> dict[str, Any]:
    """The keys of the hardware file with what flags say instead; none for an ideal chip."""
    if hardware is None:
        return {}
    said = {"array": str(accelerator.array), "arrays": accelerator.arrays}
    switches = {"prefetch_weights": accelerator.prefetch, "side_by_side": accelerator.side_by_side}
    return {**hardware.model_dump(mode="json"), **said, **switches}


def price(workload: Workload, accelerator: Accelerator, dataflow: Dataflow) -> list[CostComparison]:
    """The record of every layer, in order."""
    return [_record(layer, accelerator, dataflow) for layer in workload.layers]


def _record(layer: LayerWork, accelerator: Accelerator, dataflow: Dataflow) -> CostComparison:
    useful = layer.nonzeros * layer.work.vectors
    words = (
        replace(accelerator, array=accelerator.array.of_words(layer.packing.slots_per_weight))
        if layer.packing
        else accelerator
    )
    dense = _cost(dense_passes(dataflow, layer.work, words.array), layer, words, useful)
    return CostComparison(
        _cost(layer.passes(dataflow, accelerator), layer, accelerator, useful) if layer.packing else dense,
        dense,
    )


def _cost(passes: Passes, layer: LayerWork, accelerator: Accelerator, useful_macs: int) -> LayerCost:
    waiting, room = open_sums(passes, 1) * SUM_BYTES, accelerator.sums.usable
    if waiting > room:
        raise OptionError(
            f"--hardware: {layer.layer.name} keeps {waiting:,} bytes of sums of one vector waiting, the partial-sum "
            f"buffer has room for {room:,.0f}",
            "give a larger partial_sum_buffer",
        )
    way = schedule(passes, layer.work, accelerator)
    return LayerCost.of(len(passes), way, useful_macs, count_events(passes, layer.work, accelerator, way))


def _row(
    layer: LayerWork, record: CostComparison, workload: Workload, table: EnergyTable, accelerator: Accelerator
) -> dict[str, Any]:
    head = {
        **layer.identity,
        "method": layer.method,
        "vectors": layer.work.vectors,
        "pieces": record.own.pieces,
        "arrays_used": record.own.arrays_used,
    }
    measures = None if layer.layer.shares else workload.measures.get(layer.layer.weight)
    return {**head, **record.figures(table, accelerator), **_measured(measures)}


def _measured(measures: Measures | None) -> dict[str, Any]:
    """The measures of packings, but for the passes, which a run counts for every use of a weight."""
    figures = measures.figures() if measures else {}
    return {name: value for name, value in figures.items() if name not in _COUNTED_BY_USE}


def _batch_note(
    model: Model, options: SimulateOptions, accelerator: Accelerator, cycles: int
) -> tuple[str, ...]:
    """Says so where the images of a batch one by one take fewer cycles, because more fits into the buffers."""
    if not options.batch or options.batch == 1 or accelerator.is_ideal:
        return ()
    alone = price(
        read_workload(model, options.model_copy(update={"batch": 1})), accelerator, options.dataflow
    )
    each = sum(record.own.cycles for record in alone)
    if each * options.batch >= cycles:
        return ()
    return (f"images one by one take fewer cycles: {each:,} each, in a batch {cycles // options.batch:,}",)


def _notes(totals: Mapping[str, Any], accelerator: Accelerator) -> tuple[str, ...]:
    operands = "int8 operands, int32 sums" if accelerator.operand_bytes == 1 else "fp32 operands and sums"
    where = "on-chip only, buffers that keep up" if accelerator.dram is None else "with DRAM"
    model = f"energy is a model, not measured: {operands}, {where}"
    gains = [entry for entry in totals["energy_gain_if"] if entry["energy_gain"] is not None]
    if not gains or totals["cycles"] == totals["dense_cycles"]:
        return (model,)
    ends = (choose(gains, key=lambda entry: entry["energy_gain"]) for choose in (min, max))
    told = (f"{end['energy_gain']:.2f}x ({end['entry']} {end['change']})" for end in ends)
    return (model, f"what is assumed in the energy table moves the energy gain from {' to '.join(told)}")
