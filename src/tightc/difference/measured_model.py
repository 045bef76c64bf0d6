"""One of the two models of a diff, with the measures of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tightc.difference.options import DiffOptions
from tightc.model.file import Model
from tightc.model.file_format.headers import read_headers, tensor_names
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import density_metrics
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.onnx_proto.graph import constant_tensors
from tightc.model.onnx_proto.stored_tensors import bytes_of
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import is_packed, unpack_layers
from tightc.report import Figures, Report
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape
from tightc.tile.packing import Packing
from tightc.tile.store import to_stream
from tightc.tile.subwords import subwords_of

_SIMULATED = ("passes", "cycles", "energy_pj", "method")


@dataclass(frozen=True)
class UnpackedModel:
    """A `model` and its `plain` form, with its layers, packings by weight, and bytes in the file by weight."""

    model: Model
    plain: Model
    network: Network
    packings: Mapping[str, Packing]
    stored_bytes: Mapping[str, int]

    @classmethod
    def of(cls, model: Model) -> UnpackedModel:
        """ModelError where a packing does not fit its weights."""
        plain = unpack_layers(model)
        network = read_network(plain)
        weights = {layer.weight for layer in network.layers}
        return cls(model, plain, network, matching_packings(plain, network), _stored_bytes(model, weights))

    @property
    def array(self) -> ArrayShape | None:
        """The array of its tiles, in PEs for whole weights; None where it has none."""
        packing = next(iter(self.packings.values()), None)
        return None if packing is None else packing.array

    @property
    def words_array(self) -> ArrayShape | None:
        """The array on which a model without tiles is compared with this one."""
        packing = next(iter(self.packings.values()), None)
        if packing is None:
            return None
        bits = packing.subword_bits
        return packing.array.of_words(1 if bits is None else subwords_of(bits))

    def tiles(self, weight: str) -> tuple[Any, ...]:
        """What tells the tiles of a weight from others."""
        packing = self.packings.get(weight)
        if packing is None:
            return ()
        stream = to_stream(packing)
        return (packing.array, packing.fan_in, packing.subword_bits, stream.grid, stream.content.tobytes())


@dataclass(frozen=True)
class MeasuredModel:
    """An unpacked model with its simulation: `totals`, and the measures of each layer by its output."""

    unpacked: UnpackedModel
    totals: Mapping[str, Any]
    layers: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, unpacked: UnpackedModel, options: DiffOptions, array: ArrayShape | None) -> MeasuredModel:
        """`unpacked` simulated on `array`, or on that of the options."""
        report = simulate(unpacked.plain, options.simulated(array))
        density, densities = density_metrics(unpacked.network)
        totals = {**report.totals, "density": density["density"], "bytes": unpacked.model.size}
        layers = unpacked.network.layers
        return cls(unpacked, totals, _by_output(layers, report, densities, unpacked), report.notes)


def _by_output(
    layers: Sequence[Layer], report: Report, densities: Sequence[Figures], unpacked: UnpackedModel
) -> dict[str, dict[str, Any]]:
    return {
        layer.output: {
            "density": density["density"],
            **{name: row[name] for name in _SIMULATED},
            "bytes": unpacked.stored_bytes[layer.weight],
            "type": unpacked.network.stored[layer.weight].name,
        }
        for layer, row, density in zip(layers, report.layers, densities, strict=True)
    }


def _stored_bytes(model: Model, weights: set[str]) -> dict[str, int]:
    """The bytes that each of `weights` takes among the tensors of `model`, packed or plain."""
    sizes = {name: bytes_of(tensor) or 0 for name, tensor in constant_tensors(model.proto)}
    headers = read_headers(model.proto, model.origin) if is_packed(model) else {}
    return {
        weight: sum(sizes[name] for name in tensor_names(weight, headers.get(weight, {"tiles": ""})))
        or sizes.get(weight, 0)
        for weight in weights
    }
