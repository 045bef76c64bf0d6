"""What a layer is to a simulator: a product of matrices, and the feature maps that it reads and writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureMaps:
    """The feature maps of a layer, in elements, and whether each crosses the edge of the chip in any case.

    `read_from`: the largest map that this layer and those that its map comes from have of it; `written_for`: likewise
    for the one that it writes. A map stays on the chip only if that fits, so that all say the same of it.
    """

    read: int = 0
    written: int = 0
    from_outside: bool = True
    to_outside: bool = True
    read_from: int = 0
    written_for: int = 0


@dataclass(frozen=True)
class GemmWorkload:
    """The product that a layer is: `groups` times `filters` x `inputs` weights on `vectors` vectors of activations.

    `filters` and `inputs` are those of one group. `positions`: inputs that come from one channel of the feature map,
    the size of a convolution's kernel.
    """

    filters: int
    inputs: int
    groups: int
    vectors: int
    positions: int = 1
    maps: FeatureMaps = FeatureMaps()

    @property
    def channels(self) -> int:
        """Channels of the feature map that the layer reads, over all groups."""
        return self.groups * self.inputs // self.positions

    @property
    def weights(self) -> int:
        """Weights of the layer, zeros included."""
        return self.groups * self.filters * self.inputs

    @property
    def outputs(self) -> int:
        """Numbers that the layer gives."""
        return self.groups * self.filters * self.vectors
