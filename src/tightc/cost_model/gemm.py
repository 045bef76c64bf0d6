"""A layer as the simulator sees it: a matrix product (GEMM), and the feature maps that it reads and writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureMaps:
    """The feature maps that a layer reads and writes, in elements.

    `from_model_input`, `to_model_output`: whether a map is an input or output of the model, which always crosses DRAM.
    `producer_output`: the largest output of the layers whose maps this one reads. `consumer_input`: the largest input
    of the layers that read this one's map. A map is kept on chip only if both sides fit, so both agree on it.
    """

    read: int = 0
    written: int = 0
    from_model_input: bool = True
    to_model_output: bool = True
    producer_output: int = 0
    consumer_input: int = 0


@dataclass(frozen=True)
class GemmWorkload:
    """The matrix product of a layer: `groups` times `filters` x `inputs` weights on `vectors` activation vectors.

    `filters` and `inputs` count one group. `positions`: inputs that come from one channel of the feature map, which is
    the size of a convolution's kernel. `overlaps`: whether sums are added to others where they leave the array, as in a
    transposed convolution, which has fewer outputs than sums.
    """

    filters: int
    inputs: int
    groups: int
    vectors: int
    positions: int = 1
    feature_maps: FeatureMaps = FeatureMaps()
    overlaps: bool = False

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
        """Elements of the layer's output."""
        return self.feature_maps.written if self.overlaps else self.groups * self.filters * self.vectors
