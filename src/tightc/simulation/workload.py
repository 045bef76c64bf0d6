"""The workload of the simulator: every layer of a model as a GEMM, with its packing where it has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.accelerator import Accelerator
from tightc.config.input_sizes import InputSizeOptions
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.layer_passes import passes_of_dense, passes_of_packing
from tightc.cost_model.network_gemms import network_gemms
from tightc.cost_model.passes import Dataflow, Passes
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import layer_identity, layer_matrix
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import decode_layers
from tightc.report import Figures
from tightc.tile.measures import Measures, largest_fan_in, measure
from tightc.tile.packing import Packing


@dataclass(frozen=True)
class LayerWorkload:
    """A layer with its GEMM, its non-zeros and, if permuted, its packing.

    `identity`: what names the layer in reports. `filter_slots`: (filters,) int64, slots that the non-zeros of each
    filter take: subwords where slots hold those. `nonzero_weights` counts whole weights.
    """

    layer: Layer
    identity: Mapping[str, Any]
    gemm: GemmWorkload
    filter_slots: NDArray[np.int64]
    nonzero_weights: int
    packing: Packing | None

    @property
    def nonzeros(self) -> int:
        """Slots that its non-zeros take."""
        return int(self.filter_slots.sum())

    def columns(self, rows: int) -> int:
        """Columns of `rows` slots that its filters take at least in any lossless packing."""
        return int(np.sum(-(-self.filter_slots // rows)))

    @property
    def method(self) -> str:
        """The method of its packing, "dense" where it has none."""
        return self.packing.method if self.packing else "dense"

    def passes(self, dataflow: Dataflow, accelerator: Accelerator) -> Passes:
        """The passes of its tiles, or of all its weights where it has no packing or a dense one.

        Dense passes are in `dataflow` on the array of `accelerator`; tiles are weight-stationary on their own.
        """
        if not self.packing or self.packing.method == "dense":
            return self.dense_passes(dataflow, accelerator)
        return passes_of_packing(self.packing, self.gemm, accelerator)

    def dense_passes(self, dataflow: Dataflow, accelerator: Accelerator) -> Passes:
        """The passes of all its weights in `dataflow`; weight-stationary where `accelerator` has banks."""
        return passes_of_dense(dataflow, self.gemm, accelerator)


@dataclass(frozen=True)
class Workload:
    """The layers of a plain model in order, with the `measures` of each packing by weight.

    `uncovered`: operators with multiply-accumulates that no layer covers; `macs_covered`: the fraction that layers do.
    """

    plain: Model
    network: Network
    layers: tuple[LayerWorkload, ...]
    measures: Mapping[str, Measures]
    uncovered: tuple[Figures, ...]
    macs_covered: float | None

    @property
    def packings(self) -> dict[str, Packing]:
        """The packings by weight."""
        return {own.layer.weight: own.packing for own in self.layers if own.packing}


def read_workload(model: Model, input_sizes: InputSizeOptions) -> Workload:
    """The layers of `model`, dense, pruned, permuted or packed, for inputs of `input_sizes`.

    ModelError where a packing does not fit its weights.
    """
    plain, decoded = decode_layers(model)
    network = read_network(plain)
    counts = count_macs(plain, network, input_sizes)
    packings = matching_packings(plain, network, decoded)
    gemms = network_gemms(plain, network, counts)
    layers = tuple(
        LayerWorkload(
            layer,
            layer_identity(layer),
            gemms[layer.output],
            *_count_nonzeros(network, layer, packings.get(layer.weight)),
            packings.get(layer.weight),
        )
        for layer in network.layers
    )
    fan_in = largest_fan_in(packings.values())
    measures = {
        layer.weight: measure(packing, layer_matrix(network, layer, packing.subword_bits), fan_in)
        for layer in network.owners
        if (packing := packings.get(layer.weight))
    }
    return Workload(
        plain,
        network,
        layers,
        measures,
        uncovered=counts.uncovered,
        macs_covered=counts.macs_covered,
    )


def _count_nonzeros(network: Network, layer: Layer, packing: Packing | None) -> tuple[NDArray[np.int64], int]:
    """(slots that the non-zeros of each filter take, non-zero weights)."""
    slots = layer_matrix(network, layer, packing.subword_bits if packing else None).slots()
    return slots.sum(axis=1, dtype=np.int64), int(np.count_nonzero(slots))
