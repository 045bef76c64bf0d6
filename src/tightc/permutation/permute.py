"""Permute: find for every layer the packing that fills an array best, and record it in the model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tightc.machine import own_cores
from tightc.model.arrangement import with_packings
from tightc.model.figures import Rows, layer_matrix, packing_figures
from tightc.model.file import Model
from tightc.model.graph import Array
from tightc.model.history import add_history
from tightc.model.layers import Layer, Network, read_network
from tightc.model.packed import unpack_layers
from tightc.permutation.methods import column_combine, dense, first_fit, structured, tight
from tightc.permutation.options import PermuteOptions
from tightc.permutation.task import Lossy, Task
from tightc.report import Listener, Report, first_few, silent
from tightc.tiles.matrix import LayerMatrix
from tightc.tiles.measures import kept_matrix
from tightc.tiles.packing import Packing
from tightc.tiles.verify import fault

METHODS: dict[str, Callable[[LayerMatrix, Task], Packing]] = {
    "column-combine": column_combine.pack,
    "dense": dense.pack,
    "first-fit": first_fit.pack,
    "structured": structured.pack,
    "tight": tight.pack,
}
LOSSY = frozenset(("column-combine",))  # these alone may leave non-zeros without a slot


def permute(
    model: Model, options: PermuteOptions, *, seed: int = 0, listener: Listener = silent
) -> tuple[Model, Report]:
    """`model` with a packing recorded for every layer; its weights and outputs stay as they are.

    Only a lossy method sets weights to zero, those that it gives no slot: the packing is a lossless one of what is
    left, and the report counts what is gone, measured on the weights as they were.

    Layers are searched on `options.jobs` threads; each has its own child of `seed`, so that the result is the same
    for any number of them.
    """
    plain = unpack_layers(model)
    network = read_network(plain)
    packings = _search(network, options, seed, listener)
    permuted = add_history(
        with_packings(plain.with_tensors(_zeroed(network, packings)), packings),
        "permute",
        options.model_dump(mode="json", exclude={"jobs"}),
        seed,
        model,
    )
    totals, layers = packing_figures(network, packings)
    head = {"method": options.method, "array": str(options.array), "fan_in": options.fan_in}
    return permuted, Report("permute", {**head, **totals}, layers, notes=_notes(totals, layers, options))


def _notes(totals: Mapping[str, Any], layers: Rows, options: PermuteOptions) -> tuple[str, ...]:
    dropped = totals["dropped_weights"]
    if dropped:
        share, magnitude = dropped / totals["nonzeros"], totals["dropped_magnitude"]
        return (
            f"{dropped:,} weights were set to zero, {share:.1%} of all that were not zero and {magnitude:.1%} of their "
            "sum of squares; tightc finetune trains the rest",
        )
    above = [row["name"] for row in layers if row["passes"] > row["passes_lower_bound"]]
    if options.method != "tight" or not above:
        return ()
    return (
        f"{first_few(above)}: more passes than the bound; a fan-in above {options.fan_in} may take fewer",
    )


def _zeroed(network: Network, packings: Mapping[str, Packing]) -> dict[str, Array]:
    """The weights of which a packing drops some, by name, with those set to zero."""
    zeroed = {}
    for layer in network.owners:
        kept = kept_matrix(packings[layer.weight], layer_matrix(network, layer)).values
        weight = network.weights[layer.weight]
        if np.count_nonzero(kept) < np.count_nonzero(weight):
            zeroed[layer.weight] = layer.tensor(kept, weight.shape)
    return zeroed


def _search(network: Network, options: PermuteOptions, seed: int, listener: Listener) -> dict[str, Packing]:
    layers = network.owners
    stop = threading.Event()
    lossy = Lossy(options.alpha, options.gamma)
    tasks = [
        Task(options.array, options.fan_in, options.temp_schedule, child, layer.name, listener, stop, lossy)
        for layer, child in zip(layers, np.random.SeedSequence(seed).spawn(len(layers)), strict=True)
    ]
    sizes = [int(np.count_nonzero(network.weights[layer.weight])) for layer in layers]
    largest_first = sorted(range(len(layers)), key=lambda i: -sizes[i])
    with ThreadPoolExecutor(options.jobs or own_cores()) as pool:
        try:
            futures = {
                i: pool.submit(
                    _arrange, layer_matrix(network, layers[i]), layers[i], tasks[i], options.method
                )
                for i in largest_first
            }
            return {layers[i].weight: futures[i].result() for i in range(len(layers))}
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _arrange(matrix: LayerMatrix, layer: Layer, task: Task, method: str) -> Packing:
    packing = METHODS[method](matrix, task)
    wrong = fault(packing, kept_matrix(packing, matrix) if method in LOSSY else matrix)
    if wrong:
        raise AssertionError(f"{method} gave a wrong packing of {layer.name}: {wrong}")
    task.listener(layer.name, 1.0, {"passes": str(len(packing.tiles))})
    return packing
