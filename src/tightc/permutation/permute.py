"""Permute: finds a packing for every layer, and records it in the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tightc.accelerator.energy_table import default_table
from tightc.accelerator.options import AcceleratorOptions
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.idle_weights import idle_weights
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import Rows, layer_matrix, packing_metrics
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.mac_counts import coverage
from tightc.model.onnx_proto.stored_tensors import Array, LazyArrays
from tightc.model.packings.annealing_record import with_annealing
from tightc.model.packings.metadata import with_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.permutation.annealing.curve import thin
from tightc.permutation.combining_budget import with_kept_weights
from tightc.permutation.fan_in_choice import pack_best
from tightc.permutation.layer_costs import layer_costs
from tightc.permutation.layer_scheduler import LayerJob, PackedLayers
from tightc.permutation.network_progress import NetworkProgress
from tightc.permutation.options import PermuteOptions
from tightc.permutation.packing_costs import PackingCosts, slower_than_dense
from tightc.permutation.registry import find_method
from tightc.progress import Progress, no_progress
from tightc.report import Interrupted, Report, Result, join_names
from tightc.tile.measures import dropped_weights, kept_matrix
from tightc.tile.packing import Packing


def permute(
    model: Model, options: PermuteOptions, *, seed: int = 0, progress: Progress = no_progress
) -> Result:
    """`model` with a packing recorded for every layer; its weights and outputs do not change.

    Only a lossy method sets weights to zero, namely those without a slot. The packing is a lossless one of the other
    weights, and the report counts the dropped ones, measured on the weights as they were. With a budget it keeps as
    many as meet that. A method that leaves out idle
    weights sets these to zero first, which changes no output; a note counts them.

    The search runs on `options.jobs` threads or on a Dask cluster. Each layer has its own child of `seed`, so the
    result is the same for any number of workers, unless a time limit ends the search. If Ctrl-C does, Interrupted
    carries the result so far.
    """
    plain = unpack_layers(model)
    network = read_network(plain)
    left_out: tuple[str, ...] = ()
    if find_method(options.method).leaves_out_idle:
        plain, network, left_out = _without_idle(plain, network)
    if options.subword_bits is not None:
        network.require_subwords(network.owners, plain.origin)
    costs, assumed = layer_costs(plain, network, options)
    jobs = layer_jobs(network, options, costs)
    if options.budget is not None:
        jobs = with_kept_weights(jobs, options, progress)
    chosen, found, tried = pack_best(jobs, options, seed, _of_network(network, options, progress))
    packings = {layer.weight: packing for layer, packing in zip(network.owners, found.packings, strict=True)}
    ended, cut_short = _early_end(found)
    entry = HistoryEntry("permute", _recorded(chosen), seed, ended)
    annealing = _annealing(network, found)
    recorded = with_packings(network.store(plain, zeroed_weights(network, packings)), packings)
    permuted = stage_result(with_annealing(recorded, annealing), entry, model)
    assert chosen.fan_in != "auto"
    fan_in = chosen.fan_in if "fan_in" in find_method(chosen.method).options else None
    totals, layers = packing_metrics(network, packings, fan_in)
    layers = tuple(
        {**row, "annealing": annealing[layer.weight]} if layer.weight in annealing else row
        for row, layer in zip(layers, network.owners, strict=True)
    )
    head = {"method": chosen.method, "array": str(chosen.array), "fan_in": chosen.fan_in}
    uncovered, covered = coverage(plain, network, options)
    notes = (
        *model.notes,
        *left_out,
        *assumed,
        *tried,
        *cut_short,
        *_notes(totals, layers, options),
        *slower_than_dense(
            {layer.name: (costs.get(layer.output), packings[layer.weight]) for layer in network.owners}
        ),
    )
    report = Report("permute", {**head, **totals, "macs_covered": covered}, layers, uncovered, notes)
    if found.interrupted:
        raise Interrupted(Result(permuted, report))
    return Result(permuted, report)


def _early_end(found: PackedLayers) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What ended the search before all moves were tried, for the history, and a note on it; empty where nothing did."""
    if not found.cut_short:
        return {}, ()
    by = "interrupt" if found.interrupted else "time limit"
    note = f"the {by} ended the search in {join_names(found.cut_short)} before all moves were tried"
    return {"by": by, "layers": list(found.cut_short)}, (note,)


def _without_idle(plain: Model, network: Network) -> tuple[Model, Network, tuple[str, ...]]:
    """The plain model with its idle weights set to zero, its layers, and a note on them if there are any."""
    idle = idle_weights(plain, network)
    if not idle:
        return plain, network, ()
    owners = {layer.weight: layer for layer in network.owners}

    def kept(name: str) -> Array:
        matrix = network.matrix(owners[name])
        return owners[name].tensor(np.where(idle[name], matrix.dtype.type(0), matrix), network.shapes[name])

    cleared = network.store(plain, LazyArrays({name: partial(kept, name) for name in idle}))
    count = sum(int(flags.sum()) for flags in idle.values())
    note = f"{count:,} weights on which no output depends were set to zero"
    return cleared, read_network(cleared), (note,)


def _of_network(network: Network, options: PermuteOptions, progress: Progress) -> Progress:
    """`progress` with a task for the whole network, and the time left."""
    if progress is no_progress:
        return progress
    moves = {layer.label: int(np.count_nonzero(network.weights[layer.weight])) for layer in network.owners}
    return NetworkProgress(
        progress, moves, options.time_limit or options.temp_schedule.time_limit or math.inf
    )


def _annealing(network: Network, found: PackedLayers) -> dict[str, dict[str, Any]]:
    """The points of the annealing curves that are recorded, by weight."""
    curves = {
        layer.weight: curve
        for layer, curve in zip(network.owners, found.curves, strict=False)
        if curve is not None
    }
    return thin(curves, {name: int(np.count_nonzero(network.weights[name])) for name in curves})


def _recorded(options: PermuteOptions) -> dict[str, Any]:
    """What the history tells of the options: what the result depends on, without what describes no hardware."""
    given = {name for name in AcceleratorOptions.model_fields if getattr(options, name) not in (None, ())}
    unused = {"jobs", "dask", "area", *AcceleratorOptions.model_fields} - (given - {"area"})
    if options.energy == default_table():
        unused.add("energy")
    if options.budget is None:  # newer than the others
        unused.add("budget")
    return options.model_dump(mode="json", exclude=unused)


def _notes(totals: Mapping[str, Any], layers: Rows, options: PermuteOptions) -> tuple[str, ...]:
    dropped = totals["dropped_weights"]
    if dropped:
        share, magnitude = dropped / totals["nonzeros"], totals["dropped_magnitude"]
        return (
            f"{dropped:,} weights were set to zero, {share:.1%} of all that were not zero and {magnitude:.1%} of their "
            "sum of squares; tightc finetune trains the rest",
        )
    above = [row["label"] for row in layers if row["passes"] > row["passes_lower_bound"]]
    if not above or options.fan_in == "auto" or "objective" not in find_method(options.method).options:
        return ()  # auto has tried other fan-ins
    return (
        f"{join_names(above)}: more passes than the bound; a fan-in above {options.fan_in} may take fewer",
    )


def zeroed_weights(network: Network, packings: Mapping[str, Packing]) -> Mapping[str, Array]:
    """The weights of layers with dropped weights, by name, with these set to zero."""

    def kept(layer: Layer) -> Array:
        matrix = kept_matrix(packings[layer.weight], layer_matrix(network, layer))
        return layer.tensor(matrix.values, network.shapes[layer.weight])

    return LazyArrays(
        {
            layer.weight: partial(kept, layer)
            for layer in network.owners
            if dropped_weights(packings[layer.weight], layer_matrix(network, layer)).any()
        }
    )


def layer_jobs(
    network: Network, options: PermuteOptions, costs: Mapping[str, PackingCosts]
) -> list[LayerJob]:
    """The layers in order. Time is divided by non-zeros, for the objective `cycles` also by the cycles of a pass."""
    jobs = []
    for layer in network.owners:
        of_layer = costs.get(layer.output)
        steps = of_layer.vectors if of_layer and options.objective == "cycles" else 0
        jobs.append(
            LayerJob(
                layer.label,
                partial(layer_matrix, network, layer, options.subword_bits),
                int(np.count_nonzero(network.weights[layer.weight])) * options.array.pass_cycles(steps),
                of_layer,
                prod(network.shapes[layer.weight]) * network.stored[layer.weight].itemsize,
            )
        )
    return jobs
