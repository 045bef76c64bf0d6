"""The layers that take part in pruning, and what selection needs to know of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_names import find_layers
from tightc.model.layer_view.layers import Network
from tightc.selection.channels import ChannelGraph
from tightc.selection.network.budget_costs import budget_costs
from tightc.selection.network.channel_dependencies import channels_of
from tightc.selection.options import SelectionOptions
from tightc.tile.segment_costs import SegmentCosts


@dataclass(frozen=True)
class Prunable:
    """A layer with what a budget counts of it, and the dependencies between the `channels` of all prunable layers.

    Costs are by the rows of a segment. `costs` and `channels` are None if the options do not depend on them.
    """

    layer: Layer
    costs: Mapping[int, SegmentCosts] | None = None
    channels: ChannelGraph | None = None


def prunable(
    model: Model, network: Network, options: SelectionOptions, stored: Network | None = None
) -> list[Prunable]:
    """The layers of a plain `model` that are not skipped, each weight once, in execution order.

    `network`: the layers of the model. `options` say which to skip, and what selection needs to know of the others.
    `stored`: the layers with the types that their weights are saved in, where `network` has others. OptionError if a
    pattern of --skip matches no layer, or all are skipped.
    """
    layers = unskipped_layers(network, options.skip)
    if options.granularity == "filter":
        channels = channels_of(model, network, layers)
        return [Prunable(layer, channels=channels) for layer in layers]
    costs = budget_costs(model, network, options, stored or network)
    return [Prunable(layer, costs.get(layer.weight)) for layer in layers]


def largest_gain(layers: Sequence[Prunable]) -> float:
    """The largest factor of a budget that counts costs of these layers, where each keeps one segment, rounded down.

    A minimum density of the layers makes it smaller.
    """
    costs = [list(entry.costs.values()) for entry in layers if entry.costs]
    dense = sum(own[0].dense for own in costs)
    least = sum(min(float(one.of_segments[1]) for one in own) for own in costs)
    return floor(100 * dense / least) / 100


def unskipped_layers(network: Network, skip: Sequence[str]) -> list[Layer]:
    """The layers of `network` that no pattern of `skip` means, by node, label or weight; each weight once.

    OptionError if a pattern matches no layer, or all layers are skipped.
    """
    skipped = {layer.weight for pattern in skip for layer in find_layers(network.layers, pattern, "--skip")}
    layers = [layer for layer in network.owners if layer.weight not in skipped]
    if not layers:
        raise OptionError("--skip: expected at least one layer left, got none", "skip fewer layers")
    return layers
