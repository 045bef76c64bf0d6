"""Simulate: cycles and energy of a model on a systolic array, dense and packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import SUM_BYTES, Hardware
from tightc.cost_model.area import ArrayForm, area_metrics
from tightc.cost_model.bank_note import bank_note
from tightc.cost_model.layer_cost import CostComparison, LayerCost, layer_cost, sums_fit
from tightc.cost_model.memory import peak_live_sums
from tightc.cost_model.passes import Dataflow, Passes
from tightc.cost_model.sensitivity import energy_variations
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.intermediate_values import random_feeds, read_feeds
from tightc.model.layer_view.layer_metrics import with_stream_bits
from tightc.model.runtime.float32_copy import bfloat16_notes
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.progress import Progress, no_progress
from tightc.report import Report
from tightc.simulation.batch import batch_note, batch_size
from tightc.simulation.choose_accelerator import choose_accelerator
from tightc.simulation.options import SimulateOptions
from tightc.simulation.vector_unit import latency_metrics, latency_note, vector_operators
from tightc.simulation.why import why
from tightc.simulation.workload import LayerWorkload, Workload, read_workload
from tightc.tile.bounds import folds
from tightc.tile.measures import Measures, largest_fan_in, ratio

_PACKED: Mapping[str, int] = MappingProxyType({})  # all weights come packed
_COUNTED_PER_USE = ("passes", "dense_passes", "pass_compression")


def simulate(
    model: Model, options: SimulateOptions, *, seed: int = 0, progress: Progress = no_progress
) -> Report:
    """Cycles, utilization and energy of every layer by closed forms, and of the same layers dense.

    A layer with a packing runs its tiles; one without runs dense, zeros included. With `options.verify`, each layer
    also runs on the cycle engine, on `options.inputs` or on random inputs of the model (from `seed`), with reports to
    `progress`. ModelError where a packing does not match the model's weights; OptionError where it needs another array,
    dataflow or fan-in.
    """
    given = options
    options, assumed = resolve_open_sizes(model.proto, model.origin, options)
    workload = read_workload(model, options)
    accelerator = _with_decoder(choose_accelerator(workload, options), options)
    bits = _stream_bits(workload)
    streamed = bits if options.weights == "stream" else {}
    costs = layer_costs(workload, accelerator, options.dataflow, streamed)
    rows = [
        _row(workload, layer, cost, options.energy, accelerator)
        for layer, cost in zip(workload.layers, costs, strict=True)
    ]
    total = sum(costs, CostComparison())
    totals = _totals(workload, total, options, accelerator)
    latency, unknown = _latency(workload, total, options, accelerator)
    totals |= latency
    if workload.packings:
        totals, (*rows,) = with_stream_bits(totals, tuple(rows), bits)
    if options.verify or options.inputs:
        found = _verify(workload, accelerator, options, seed, progress)
        rows = [{**row, **metrics} for row, metrics in zip(rows, found, strict=True)]
        totals["verified_layers"] = len(found)
        totals["value_error"] = max(metrics["value_error"] for metrics in found)
    if options.why:
        rows = [{**row, "why": why(row, totals)} for row in rows]
    notes = (
        *model.notes,
        *assumed,
        *(bfloat16_notes(model.proto) if options.verify or options.inputs else ()),
        *_energy_notes(totals, accelerator),
        *unknown,
        *batch_note(workload.plain, given, totals["batch"]),
        *_batch_note(model, options, accelerator, total.actual.cycles),
        *_bank_note(workload, costs),
        *_stream_note(options, streamed),
    )
    return Report("simulate", totals, tuple(rows), workload.uncovered, notes)


def layer_costs(
    workload: Workload, accelerator: Accelerator, dataflow: Dataflow, streamed: Mapping[str, int] = _PACKED
) -> list[CostComparison]:
    """The cost of every layer of `workload`, as it is and dense, in order, in `dataflow` on `accelerator`.

    `streamed`: bits in the weight stream of the weights that come as such, by weight.
    """
    return [
        _compare_costs(layer, accelerator, dataflow, streamed.get(layer.layer.weight))
        for layer in workload.layers
    ]


def _stream_bits(workload: Workload) -> dict[str, int]:
    """Bits of each layer in the weight stream, by weight."""
    packings = workload.packings
    if all(packing.method == "dense" for packing in packings.values()):
        return {}
    # loads numba, which a simulation without tiles does not need
    from tightc.model.packings.weight_stream import WeightStream

    return WeightStream.of(workload.network, packings).bits()


def _stream_note(options: SimulateOptions, streamed: Mapping[str, int]) -> tuple[str, ...]:
    """A note where weights should come from a stream, and no layer is in it."""
    if options.weights == "packed" or streamed:
        return ()
    return (
        "no layer has tiles for a weight stream, so all weights come as they are: run tightc permute first",
    )


def _with_decoder(accelerator: Accelerator, options: SimulateOptions) -> Accelerator:
    """`accelerator` with the decoder of the stream; OptionError where weights are no stream, or there is no DRAM."""
    if options.weights == "packed":
        if options.decoder is not None:
            raise OptionError("--decoder: expected --weights stream too, got packed", "add --weights stream")
        return accelerator
    if accelerator.dram_bytes_per_cycle is None:
        raise OptionError(
            "--weights stream: expected hardware with DRAM, got ideal",
            "add --hardware such as tight-32x32, or leave --weights out",
        )
    return replace(accelerator, decoder=options.decoder)


def _compare_costs(
    layer: LayerWorkload, accelerator: Accelerator, dataflow: Dataflow, stream_bits: int | None
) -> CostComparison:
    words = accelerator
    if layer.packing:
        words = replace(accelerator, array=accelerator.array.of_words(layer.packing.slots_per_weight))
    dense = _cost(layer.dense_passes(dataflow, words), layer, words, layer.nonzero_weights)
    if not layer.packing:
        return CostComparison(dense, dense)
    passes = layer.passes(dataflow, accelerator)
    if stream_bits is not None:
        passes = replace(passes, stream_bytes=stream_bits // 8)
    actual = _cost(passes, layer, accelerator, layer.nonzeros)
    return CostComparison(actual, dense)


def _cost(passes: Passes, layer: LayerWorkload, accelerator: Accelerator, nonzeros: int) -> LayerCost:
    """The cost of `layer` in these `passes`, whose slots hold `nonzeros`."""
    if not sums_fit(passes, accelerator):
        live_bytes, room = peak_live_sums(passes, 1) * SUM_BYTES, accelerator.sums.usable
        raise OptionError(
            f"--hardware: expected a partial-sum buffer for the {live_bytes:,} bytes of live partial sums that one "
            f"vector has in {layer.layer.label}, got {room:,.0f}",
            "give a larger partial_sum_buffer",
        )
    return layer_cost(passes, layer.gemm, accelerator, nonzeros * layer.gemm.vectors)


def _totals(
    workload: Workload, total: CostComparison, options: SimulateOptions, accelerator: Accelerator
) -> dict[str, Any]:
    """The metrics of the whole network, with the hardware and energy table that they hold for."""
    table = options.energy
    gains = [
        {
            "entry": varied.entry,
            "change": varied.change,
            "assumed": varied.assumed,
            "energy_gain": total.energy_gain(varied.table, accelerator),
        }
        for varied in energy_variations(table)
    ]
    metrics = total.metrics(table, accelerator)
    batch = batch_size(workload.plain, options)
    return {
        "array": str(accelerator.array),
        "fan_in": largest_fan_in(layer.packing for layer in workload.layers if layer.packing),
        "arrays": accelerator.arrays,
        "hardware": options.hardware.name if options.hardware else "ideal",
        "dataflow": options.dataflow,
        "weights_from_dram": options.weights,
        "decoder": options.decoder,
        "batch": batch,
        **_modes(accelerator),
        "hardware_file": _hardware_keys(options.hardware, accelerator),
        "energy_file": table.model_dump(mode="json"),
        "macs_covered": workload.macs_covered,
        "energy_table": table.name,
        **metrics,
        **_per_inference(metrics, batch or 1),
        **_area(workload, options, accelerator, metrics["speedup"]),
        "energy_gain_if": gains,
        **_packing_metrics(sum(workload.measures.values(), Measures()) if workload.measures else None),
    }


def _latency(
    workload: Workload, total: CostComparison, options: SimulateOptions, accelerator: Accelerator
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The latency of the whole network, and a note where it is unknown; both empty without a clock."""
    if accelerator.clock_hz is None:
        return {}, ()
    operators = vector_operators(workload, options)
    metrics = latency_metrics(
        operators,
        total.actual.cycles,
        total.dense.cycles,
        accelerator.vector_operations_per_cycle,
        accelerator.clock_hz,
    )
    return metrics, latency_note(operators)


def _per_inference(metrics: Mapping[str, Any], batch: int) -> dict[str, float]:
    """The energies of `metrics` in uJ for one input of the model, of which a run takes `batch`."""
    return {
        f"{dense}energy_per_inference_uj": 1e-6 * metrics[f"{dense}energy_pj"] / batch
        for dense in ("", "dense_")
    }


def _area(
    workload: Workload, options: SimulateOptions, accelerator: Accelerator, speedup: float | None
) -> dict[str, Any]:
    """The area of the arrays that the packings need; empty without an area table.

    OptionError where the array is not of the kind that was synthesized: int8, with one operand loaded.
    """
    if options.area is None:
        return {}
    if accelerator.operand_bytes != 1:
        raise OptionError(
            "--area: expected hardware with int8 operands, as the table's elements have, got fp32",
            "leave --area out",
        )
    if options.dataflow == "os":
        raise OptionError(
            "--area: expected dataflow ws or is, as the table's elements keep a weight, got os",
            "leave --area out",
        )
    packings = [layer.packing for layer in workload.layers if layer.packing]
    fan_in = accelerator.fan_in or max((packing.fan_in for packing in packings), default=1)
    subword_bits = next((packing.subword_bits for packing in packings if packing.subword_bits), None)
    return area_metrics(ArrayForm.of(accelerator, fan_in, subword_bits), speedup, options.area)


def _row(
    workload: Workload,
    layer: LayerWorkload,
    cost: CostComparison,
    table: EnergyTable,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """The metrics of one layer."""
    measures = None if layer.layer.shared_with else workload.measures.get(layer.layer.weight)
    array = accelerator.array
    return {
        **layer.identity,
        "method": layer.method,
        "vectors": layer.gemm.vectors,
        "temporal_tiles": cost.actual.temporal_tiles,
        "arrays_used": cost.actual.arrays_used,
        **cost.metrics(table, accelerator),
        **_packing_metrics(measures),
        "weights": layer.gemm.weights,
        "nonzeros": layer.nonzero_weights,
        "density": ratio(layer.nonzero_weights, layer.gemm.weights),
        "passes_by_slots": folds(layer.nonzeros, array.rows * array.columns),
        "passes_by_filters": folds(layer.columns(array.rows), array.columns),
        "dense_temporal_tiles": cost.dense.temporal_tiles,
    }


def _packing_metrics(measures: Measures | None) -> dict[str, Any]:
    """The measures of packings without their passes, which a simulation counts for every use of a weight."""
    metrics = measures.figures() if measures else {}
    return {name: value for name, value in metrics.items() if name not in _COUNTED_PER_USE}


def _hardware_keys(hardware: Hardware | None, accelerator: Accelerator) -> dict[str, Any]:
    """The keys of the hardware file, with the values of flags in their place; empty for ideal hardware."""
    if hardware is None:
        return {}
    return {
        **hardware.model_dump(mode="json"),
        "array": str(accelerator.array),
        "arrays": accelerator.arrays,
        **_modes(accelerator),
    }


def _modes(accelerator: Accelerator) -> dict[str, Any]:
    """How the arrays work, by the names of the options."""
    return {
        "prefetch_weights": accelerator.prefetch,
        "replicate_tiles": accelerator.replicate_tiles,
        "columns_per_lane_register": accelerator.columns_per_lane_register,
        "overlap_drain": accelerator.overlap_drain,
        "accumulator_bypass": accelerator.accumulator_bypass,
    }


def _verify(
    workload: Workload, accelerator: Accelerator, options: SimulateOptions, seed: int, progress: Progress
) -> list[dict[str, Any]]:
    """The metrics of the cycle engine for each layer."""
    from tightc.simulation.verify import verify

    if options.inputs:
        feeds = read_feeds(options.inputs, workload.plain, options)
    else:
        feeds = random_feeds(workload.plain, options, seed)
    found = []
    verified = verify(workload, accelerator, options.dataflow, feeds)
    for layer, result in zip(workload.layers, verified, strict=True):
        found.append({"engine_cycles": result.cycles, "value_error": result.error})
        progress("verify", len(found) / len(workload.layers), {"layer": layer.layer.label})
    return found


def _batch_note(
    model: Model, options: SimulateOptions, accelerator: Accelerator, cycles: int
) -> tuple[str, ...]:
    """A note where the images of a batch take fewer cycles one by one, because more fits the buffers."""
    if not options.batch or options.batch == 1 or accelerator.is_ideal:
        return ()
    single = read_workload(model, options.model_copy(update={"batch": 1}))
    each = sum(cost.actual.cycles for cost in layer_costs(single, accelerator, options.dataflow))
    if each * options.batch >= cycles:
        return ()
    return (f"images one by one take fewer cycles: {each:,} each, in a batch {cycles // options.batch:,}",)


def _bank_note(workload: Workload, costs: Sequence[CostComparison]) -> tuple[str, ...]:
    """A note on packed layers that wait for banks and take more cycles than dense."""
    return bank_note(
        [
            layer.layer.name
            for layer, cost in zip(workload.layers, costs, strict=True)
            if cost.actual.bank_stall_cycles and cost.actual.cycles > cost.dense.cycles
        ]
    )


def _energy_notes(totals: Mapping[str, Any], accelerator: Accelerator) -> tuple[str, ...]:
    """What the energy model covers, and how far the assumed entries of its table move the gain."""
    operands = "int8 operands, int32 sums" if accelerator.operand_bytes == 1 else "fp32 operands and sums"
    no_dram = accelerator.dram_bytes_per_cycle is None
    scope = "on-chip only, unlimited buffers" if no_dram else "with DRAM"
    note = f"energy is a model, not measured: {operands}, {scope}"
    gains = [
        entry for entry in totals["energy_gain_if"] if entry["assumed"] and entry["energy_gain"] is not None
    ]
    if not gains or totals["cycles"] == totals["dense_cycles"]:
        return (note,)
    ends = (choose(gains, key=lambda entry: entry["energy_gain"]) for choose in (min, max))
    texts = (f"{end['energy_gain']:.2f}x ({end['entry']} {end['change']})" for end in ends)
    return (note, f"assumed entries of the energy table move the energy gain from {' to '.join(texts)}")
