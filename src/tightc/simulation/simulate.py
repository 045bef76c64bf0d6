"""Simulate: cycles and energy of a model on a systolic array, dense beside packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tightc.errors import OptionError
from tightc.model.arrangement import fitting_packings
from tightc.model.figures import identity, layer_matrix
from tightc.model.file import Model
from tightc.model.layers import Layer, Network, read_network
from tightc.model.packed import unpack_layers
from tightc.model.streams import count_streams
from tightc.report import Report
from tightc.simulation import cycles, events
from tightc.simulation.energy import PARTS, EnergyTable, energy_pj
from tightc.simulation.events import Events
from tightc.simulation.options import SimulateOptions
from tightc.tiles.array import ArrayShape
from tightc.tiles.measures import Measures, measure, ratio
from tightc.tiles.packing import Packing

_COUNTED_BY_USE = ("passes", "dense_passes", "pass_compression")
_DEFAULT_ARRAY = ArrayShape(32, 32)


@dataclass(frozen=True)
class Run:
    """What a layer, or a network when added up, costs on the array, as it is and dense."""

    passes: int = 0
    dense_passes: int = 0
    useful_macs: int = 0
    cycles: int = 0
    dense_cycles: int = 0
    events: Events = field(default_factory=Events)
    dense_events: Events = field(default_factory=Events)

    def __add__(self, other: Run) -> Run:
        return Run(**{key: value + getattr(other, key) for key, value in self.__dict__.items()})


@dataclass(frozen=True)
class _Load:
    """The array, what stays in it, and the vectors that stream through a layer."""

    array: ArrayShape
    dataflow: str
    vectors: int


def simulate(model: Model, options: SimulateOptions) -> Report:
    """Cycles, utilisation and energy of every layer by closed forms, and of the same layers dense.

    A layer with a packing runs its tiles; one without runs dense, zeros included. ModelError where a packing does not
    hold the model's weights, OptionError where it was made for another array or the dataflow is not ws.
    """
    plain = unpack_layers(model)
    network = read_network(plain)
    streams = count_streams(plain, network, options)
    packings = fitting_packings(plain, network)
    measures = {
        layer.weight: measure(packings[layer.weight], layer_matrix(network, layer))
        for layer in network.owners
        if layer.weight in packings
    }
    array = _array(packings, options)
    rows = []
    total = Run()
    for layer in network.layers:
        load = _Load(array, options.dataflow, streams.vectors[layer.output])
        run = _run(layer, network, packings.get(layer.weight), load)
        total += run
        method = packings[layer.weight].method if layer.weight in packings else "dense"
        head = {**identity(layer), "method": method, "vectors": load.vectors}
        rows.append({**head, **_figures(run, array, options.energy), **_measured(measures.get(layer.weight))})
    totals = {
        "array": str(array),
        "dataflow": options.dataflow,
        "macs_covered": streams.macs_covered,
        "energy_table": f"{options.energy.name} ({options.energy.node_nm:g} nm, {options.energy.voltage_v:g} V)",
        **_figures(total, array, options.energy),
        **_measured(sum(measures.values(), Measures()) if measures else None),
    }
    notes = (
        "energy is a model, not measured: int8 operands, int32 sums, on-chip only, buffers that keep up",
    )
    return Report("simulate", totals, tuple(rows), streams.outside, notes)


def _array(packings: Mapping[str, Packing], options: SimulateOptions) -> ArrayShape:
    arranged = next((packing.array for packing in packings.values()), None)
    if arranged and options.dataflow != "ws":
        raise OptionError(
            f"--dataflow {options.dataflow}: the model's tiles are weight-stationary",
            "use --dataflow ws, or simulate the model as it was before tightc permute",
        )
    if arranged and options.array not in (None, arranged):
        raise OptionError(
            f"--array {options.array}: the model was arranged for {arranged}",
            f"use --array {arranged}, or run tightc permute --array {options.array} first",
        )
    return options.array or arranged or _DEFAULT_ARRAY


def _run(layer: Layer, network: Network, packing: Packing | None, load: _Load) -> Run:
    block = (load.array, layer.filters // layer.groups, layer.inputs, load.vectors)
    dense_cycles = layer.groups * cycles.DENSE[load.dataflow](*block)
    dense_events = sum((events.DENSE[load.dataflow](*block) for _ in range(layer.groups)), Events())
    useful = int(np.count_nonzero(network.weights[layer.weight])) * load.vectors
    dense_passes = layer.groups * cycles.passes(load.dataflow, *block)
    if packing is None:
        return Run(dense_passes, dense_passes, useful, dense_cycles, dense_cycles, dense_events, dense_events)
    passes = len(packing.tiles)
    return Run(
        passes,
        dense_passes,
        useful,
        passes * cycles.pass_cycles(load.array, load.vectors),
        dense_cycles,
        events.packed_events(packing, load.vectors),
        dense_events,
    )


def _figures(run: Run, array: ArrayShape, table: EnergyTable) -> dict[str, Any]:
    parts, dense_parts = energy_pj(run.events, table), energy_pj(run.dense_events, table)
    energy, dense_energy = sum(parts.values()), sum(dense_parts.values())
    slots = array.rows * array.columns
    return {
        "passes": run.passes,
        "dense_passes": run.dense_passes,
        "pass_compression": ratio(run.dense_passes, run.passes),
        "cycles": run.cycles,
        "dense_cycles": run.dense_cycles,
        "speedup": ratio(run.dense_cycles, run.cycles),
        "utilisation": ratio(run.useful_macs, slots * run.cycles),
        "energy_pj": energy,
        "dense_energy_pj": dense_energy,
        "energy_gain": ratio(dense_energy, energy),
        "energy_parts_pj": {part: parts[part] for part in PARTS},
        "dense_energy_parts_pj": {part: dense_parts[part] for part in PARTS},
    }


def _measured(measures: Measures | None) -> dict[str, Any]:
    """The measures of packings, but for the passes, which a run counts for every use of a weight."""
    figures = measures.figures() if measures else {}
    return {name: value for name, value in figures.items() if name not in _COUNTED_BY_USE}
