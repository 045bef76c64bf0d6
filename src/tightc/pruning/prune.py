"""Prune: set the weights of least magnitude to zero, one by one, wherever they are."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from tightc.errors import OptionError
from tightc.model.arrangement import recorded_weights, with_packings
from tightc.model.figures import Rows, density_figures
from tightc.model.file import Model
from tightc.model.history import add_history
from tightc.model.layers import Layer, Network, read_network
from tightc.model.packed import unpack_layers
from tightc.pruning.magnitude import smallest, spare_largest
from tightc.pruning.options import PruneOptions
from tightc.report import Report, first_few


def prune(model: Model, options: PruneOptions) -> tuple[Model, Report]:
    """`model` with `options.sparsity` of the weights of its layers (those kept aside) set to zero; biases stay.

    Every layer keeps at least one weight. An arrangement of the model is dropped: it was made for other zeros.
    """
    plain = unpack_layers(model)
    network = read_network(plain)
    layers = _prunable(network, options.keep)
    scopes = [[layer] for layer in layers] if options.scope == "layer" else [layers]
    zeroed = {}
    for scope in scopes:
        zeroed.update(_zero_smallest(network, scope, options.sparsity))
    pruned = with_packings(plain.with_tensors(zeroed), {})
    pruned = add_history(pruned, "prune", options.model_dump(mode="json"), None, model)
    totals, rows = density_figures(read_network(pruned))
    return pruned, Report("prune", totals, rows, notes=_notes(plain, rows))


def _notes(before: Model, rows: Rows) -> tuple[str, ...]:
    notes = []
    lone = [row["name"] for row in rows if row["nonzeros"] == 1 and row["weights"] > 1]
    if lone:
        notes.append(f"{first_few(lone)}: a single weight is left; --keep or --scope layer would spare more")
    if recorded_weights(before.proto):
        notes.append("the arrangement was made for other zeros and is gone: run tightc permute again")
    return tuple(notes)


def _prunable(network: Network, keep: tuple[str, ...]) -> list[Layer]:
    names = [layer.name for layer in network.layers]
    for pattern in keep:
        if not any(_named(name, pattern) for name in names):
            raise OptionError(
                f"--keep {pattern}: no layer has that name (there are {', '.join(names)})",
                "give the name of a layer, or a pattern such as 'layer1.*'",
            )
    kept = {layer.weight for layer in network.layers if any(_named(layer.name, pattern) for pattern in keep)}
    layers = [layer for layer in network.owners if layer.weight not in kept]
    if not layers:
        raise OptionError("--keep leaves no layer to prune", "keep fewer layers")
    return layers


def _named(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _zero_smallest(network: Network, layers: list[Layer], sparsity: float) -> dict[str, np.ndarray]:
    """The weights of `layers` with the smallest of all of them set to zero, by name."""
    weights = [network.weights[layer.weight] for layer in layers]
    magnitudes = np.concatenate([np.abs(weight.ravel().astype(np.float64)) for weight in weights])
    sizes = [weight.size for weight in weights]
    marked = spare_largest(smallest(magnitudes, round(sparsity * len(magnitudes))), magnitudes, sizes)
    parts = np.split(marked, np.cumsum(sizes)[:-1])
    return {
        layer.weight: np.where(part.reshape(weight.shape), weight.dtype.type(0), weight)
        for layer, weight, part in zip(layers, weights, parts, strict=True)
    }
