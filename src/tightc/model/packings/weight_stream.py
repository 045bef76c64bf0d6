"""The weight stream of a network: which layers it holds, its memory image, and the bits of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tightc.errors import StreamError
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import Network
from tightc.stream.contents import Contents, slot_contents
from tightc.stream.image import AGAIN, read_image, record_bytes, write_image
from tightc.stream.layer import StoredLayer, in_stored_order, stored_layer
from tightc.tile.packing import Packing


@dataclass(frozen=True)
class WeightStream:
    """The layers of a stream by weight, in the order of the network; `packings` have their order of slots.

    A layer without a packing, or with a dense one, is not in the stream.
    """

    packings: Mapping[str, Packing]
    layers: Mapping[str, tuple[StoredLayer, Contents]]

    @classmethod
    def of(cls, network: Network, packings: Mapping[str, Packing]) -> WeightStream:
        """The stream of `packings`, by weight."""
        ordered: dict[str, Packing] = {}
        layers: dict[str, tuple[StoredLayer, Contents]] = {}
        for layer in network.owners:
            packing = packings.get(layer.weight)
            if packing is None or packing.method == "dense":
                continue
            stored = stored_layer(packing)
            own = ordered[layer.weight] = in_stored_order(packing, stored)
            matrix = layer_matrix(network, layer, packing.subword_bits)
            layers[layer.weight] = stored, slot_contents(stored, own, matrix)
        return cls(ordered, layers)

    def image(self) -> bytes:
        """The memory image. There is a layer at least."""
        return write_image(list(self.layers.values()))

    def bits(self) -> dict[str, int]:
        """Bits of the record of each layer."""
        usual = next((stored.lanes for stored, _ in self.layers.values()), None)
        return {
            weight: 8 * len(record_bytes(stored, contents, usual or stored.lanes))
            for weight, (stored, contents) in self.layers.items()
        }

    def require_equal(self, content: bytes, origin: str) -> None:
        """StreamError unless `content`, an image that `origin` names, holds the same tiles and weights."""
        found = read_image(content, origin)
        if len(found) != len(self.layers):
            raise StreamError(f"{origin}: expected {len(self.layers)} layers, got {len(found)}", AGAIN)
        for (weight, (stored, contents)), (other, held) in zip(self.layers.items(), found, strict=True):
            if not (_same_tiles(stored, other) and _same_contents(stored, contents, held)):
                raise StreamError(f"{origin}: the stream has other tiles or weights of {weight}", AGAIN)


def _same_tiles(one: StoredLayer, other: StoredLayer) -> bool:
    sizes = [(own.lanes, own.filters, own.inputs, own.groups, len(own.tiles)) for own in (one, other)]
    return sizes[0] == sizes[1] and all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(one.tiles, other.tiles, strict=True)
        for name in ("filters", "inputs", "ends", "columns", "lanes")
    )


def _same_contents(layer: StoredLayer, one: Contents, other: Contents) -> bool:
    if not layer.tiles:
        return True
    return (one.width, one.floating) == (other.width, other.floating) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("magnitudes", "signs")
    )
