"""The layers of a network that take part, and what the array needs to know of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.layer_view.layers import Layer, Network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.selection.channel_dependencies import channels_of
from tightc.selection.filters import UNKNOWN, Channels
from tightc.selection.options import SelectionOptions


@dataclass(frozen=True)
class Prunable:
    """A layer, how many vectors stream through its passes, and what its channels are to other layers.

    The latter two are 1 and nothing where nothing that was asked for depends on them. Where layers share its weight,
    `vectors` has a number for each of them.
    """

    layer: Layer
    vectors: tuple[int, ...] = (1,)
    channels: Channels = UNKNOWN


def prunable(model: Model, network: Network, options: SelectionOptions) -> list[Prunable]:
    """The layers of a plain `model` that are not kept aside, each weight once, in execution order.

    OptionError where --keep names no layer, or leaves none.
    """
    layers = layers_except(network, options.keep)
    if options.granularity == "filter":
        channels = channels_of(model, network, layers)
        return [Prunable(layer, channels=each) for layer, each in zip(layers, channels, strict=True)]
    if options.budget is None or options.budget.kind != "speedup":
        return [Prunable(layer) for layer in layers]
    vectors = count_macs(model, network, InputSizeOptions()).vectors
    return [
        Prunable(
            owner, tuple(vectors[layer.output] for layer in network.layers if layer.weight == owner.weight)
        )
        for owner in layers
    ]


def layers_except(network: Network, keep: Sequence[str]) -> list[Layer]:
    """The layers of `network` that `keep` does not name, each weight once; OptionError where it names none or all."""
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
        raise OptionError("--keep leaves no layer", "keep fewer layers")
    return layers


def _named(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)
