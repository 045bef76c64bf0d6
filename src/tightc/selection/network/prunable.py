"""The layers that take part in pruning, and what selection needs to know of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_names import find_layers
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.selection.channels import ChannelGraph
from tightc.selection.network.channel_dependencies import channels_of
from tightc.selection.options import SelectionOptions


@dataclass(frozen=True)
class Prunable:
    """A layer with its input vectors per pass, one number for each layer that shares its weight.

    `channels`: the dependencies between the channels of all prunable layers. `vectors` and `channels` have their
    defaults if the options do not depend on them.
    """

    layer: Layer
    vectors: tuple[int, ...] = (1,)
    channels: ChannelGraph | None = None


def prunable(model: Model, network: Network, options: SelectionOptions) -> list[Prunable]:
    """The layers of a plain `model` that are not skipped, each weight once, in execution order.

    `network`: the layers of the model. `options` say which to skip, and what selection needs to know of the others.
    OptionError if a pattern of --skip matches no layer, or all are skipped.
    """
    layers = unskipped_layers(network, options.skip)
    if options.granularity == "filter":
        channels = channels_of(model, network, layers)
        return [Prunable(layer, channels=channels) for layer in layers]
    if options.budget is None or options.budget.kind != "speedup":
        return [Prunable(layer) for layer in layers]
    vectors = count_macs(model, network, InputSizeOptions()).vectors
    return [
        Prunable(
            owner, tuple(vectors[layer.output] for layer in network.layers if layer.weight == owner.weight)
        )
        for owner in layers
    ]


def unskipped_layers(network: Network, skip: Sequence[str]) -> list[Layer]:
    """The layers of `network` that no pattern of `skip` means, by node, label or weight; each weight once.

    OptionError if a pattern matches no layer, or all layers are skipped.
    """
    skipped = {layer.weight for pattern in skip for layer in find_layers(network.layers, pattern, "--skip")}
    layers = [layer for layer in network.owners if layer.weight not in skipped]
    if not layers:
        raise OptionError("--skip: expected at least one layer left, got none", "skip fewer layers")
    return layers
