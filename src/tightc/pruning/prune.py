"""Prune: set the weights worth least to zero, wherever they are, or so that what is left fills an array."""

from __future__ import annotations

import numpy as np

from tightc.model.arrangement import recorded_weights, with_packings
from tightc.model.figures import Rows, density_figures
from tightc.model.file import Model
from tightc.model.history import add_history
from tightc.model.layers import Network, read_network
from tightc.model.packed import unpack_layers
from tightc.pruning.options import PruneOptions
from tightc.report import Report, first_few
from tightc.selection.prunable import Prunable, prunable
from tightc.selection.select import Candidates, select


def prune(model: Model, options: PruneOptions) -> tuple[Model, Report]:
    """`model` with weights of its layers (those kept aside) set to zero until the share asked for is left.

    Biases stay. Every layer keeps at least one weight. An arrangement of the model is dropped: it was made for other
    zeros. OptionError where --keep names no layer.
    """
    plain = unpack_layers(model)
    network = read_network(plain)
    layers = prunable(plain, network, options)
    pruned = with_packings(plain.with_tensors(_pruned(network, layers, options)), {})
    pruned = add_history(pruned, "prune", options.model_dump(mode="json"), None, model)
    totals, rows = density_figures(read_network(pruned))
    return pruned, Report("prune", totals, rows, notes=_notes(plain, rows, options))


def _notes(before: Model, rows: Rows, options: PruneOptions) -> tuple[str, ...]:
    notes = []
    lone = [row["name"] for row in rows if row["nonzeros"] == 1 and row["weights"] > 1]
    if lone:
        notes.append(
            f"{first_few(lone)}: a single weight is left; --floor, --keep or --scope layer would spare more"
        )
    if options.granularity == "filter":
        notes.append(
            "a filter without weights gives a constant, what bias and norm make of zero; where the inputs that read it "
            "went with it, the constant is missing until tightc finetune trains the rest"
        )
    if recorded_weights(before.proto):
        notes.append("the arrangement was made for other zeros and is gone: run tightc permute again")
    return tuple(notes)


def _pruned(network: Network, layers: list[Prunable], options: PruneOptions) -> dict[str, np.ndarray]:
    """The weights of `layers` with those worth least set to zero, by name."""
    share = options.share
    assert share is not None, "the options were checked"
    matrices = [network.matrix(entry.layer) for entry in layers]
    candidates = [
        Candidates(np.square(matrix.astype(np.float64)), entry.layer.groups, entry.vectors, entry.channels)
        for matrix, entry in zip(matrices, layers, strict=True)
    ]
    pruned = {}
    for entry, matrix, kept in zip(layers, matrices, select(candidates, options, share), strict=True):
        weight = network.weights[entry.layer.weight]
        left = np.where(kept, matrix, weight.dtype.type(0))
        pruned[entry.layer.weight] = entry.layer.tensor(left, weight.shape)
    return pruned
