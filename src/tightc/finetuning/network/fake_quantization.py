"""Quantization-aware training: float weights are trained, and the network sees their integer values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.quantized_weights import QuantizedWeight, as_narrow, layer_scales
from tightc.model.onnx_proto.graph import Array, Graph
from tightc.model.onnx_proto.integer_types import integer_limits, weight_bits
from tightc.tile.subwords import LARGEST, Int8, counts, nearest, places, subwords_of, within


class FakeQuantization:
    """The `quantized` weights of a student, and the subwords of each that may be nonzero.

    The float weights get the gradients of the quantized ones (straight-through estimator: Bengio et al., 2013). With
    `subword_bits`, `allowed` holds per weight the set of subwords that it may use, coded as in
    `tightc.tile.subwords.within`: with `keep_zeros` the nonzero ones, else all. Without, all subwords are allowed.
    """

    def __init__(
        self,
        student: TorchGraph,
        quantized: Sequence[QuantizedWeight],
        subword_bits: int | None,
        *,
        keep_zeros: bool,
    ) -> None:
        self._bits = subword_bits
        self._quantized = {entry.value: entry for entry in quantized}
        self._weights = {name: student.parameter(name) for name in self._quantized}
        self._scales = {
            name: _spread_like(self._weights[name], entry, entry.scale)
            for name, entry in self._quantized.items()
        }
        self._limits = {
            name: [_spread_like(self._weights[name], entry, limit) for limit in deviation_limits(entry)]
            for name, entry in self._quantized.items()
        }
        every = 2 ** subwords_of(subword_bits or 4) - 1
        self.allowed = {
            name: torch.full_like(weight, every, dtype=torch.uint8) for name, weight in self._weights.items()
        }
        if subword_bits is not None and keep_zeros:
            for name in self._weights:
                self.allowed[name].copy_(torch.from_numpy(places(self._int8(name), subword_bits)))
        self._table = torch.from_numpy(within(subword_bits or 4).astype(np.int64)).flatten()

    def scale(self, layer: Layer) -> NDArray[np.float64]:
        """The quantization steps of the int8 weight of `layer`: (filters,) or (1,)."""
        return layer_scales(self._quantized[layer.weight], layer, tuple(self._weights[layer.weight].shape))

    def nonzero_subwords(self, name: str) -> int:
        """The number of nonzero subwords of the weight `name`."""
        return int(counts(self._int8(name), self._bits or 4).sum())

    def select_subwords(self, name: str, many: NDArray[np.int64]) -> None:
        """Allows each entry of the weight `name` its count of subwords, those that approximate it best.

        `many`: subwords per entry, of the weight's shape.
        """
        assert self._bits is not None, "subwords are selected only where they are pruned"
        values = self._int8(name)
        kept = np.sign(values) * nearest(self._bits)[many, np.abs(values)].astype(np.int8)
        self.allowed[name].copy_(torch.from_numpy(places(kept, self._bits)))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Fake-quantizes the weights in place while the context lasts."""
        floats = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self.apply()
        try:
            yield
        finally:
            for name, weight in self._weights.items():
                weight.data.copy_(floats[name])

    def apply(self) -> None:
        """Fake-quantizes the weights in place for good."""
        for name, weight in self._weights.items():
            weight.data.copy_(self._fake_quantized(name))

    def load_state(self, allowed: Mapping[str, Tensor]) -> None:
        """Restores the saved sets of allowed subwords."""
        for name, current in self.allowed.items():
            current.copy_(allowed[name])

    def _int8(self, name: str) -> Int8:
        """The int8 value nearest to each entry of a weight, with all subwords allowed, in the weight's shape."""
        steps = self._weights[name].detach() / self._scales[name]
        values: Int8 = steps.round().clamp(-LARGEST, LARGEST).to(torch.int8).cpu().numpy()
        return values

    def _fake_quantized(self, name: str) -> Tensor:
        """The dequantized value of each entry of a weight, from its allowed subwords."""
        weight, scale = self._weights[name].detach(), self._scales[name]
        if self._bits is None:
            least, largest = self._limits[name]
            return (weight / scale).round().clamp(least, largest) * scale
        magnitude = (weight.abs() / scale).round().clamp(max=LARGEST)
        place = self.allowed[name].long() * (LARGEST + 1) + magnitude.long()
        magnitude = self._table.to(weight.device)[place].to(weight.dtype)
        return weight.sign() * magnitude * scale


def is_rescalable(entry: QuantizedWeight, graph: Graph) -> bool:
    """Whether each filter of the weight `entry` of `graph` has its own scale, which no other node reads.

    And whether its limits are symmetric: a factor below 0 changes the sign of the integers.
    """
    filters = graph.tensors[entry.weight].shape[0]
    readers = graph.consumers().get(entry.scale_name, [])
    least, largest = deviation_limits(entry)
    own_scales = entry.axis == 0 and entry.scale.shape == (filters,) and len(readers) == 1
    return own_scales and np.array_equal(-least, largest)


def deviation_limits(entry: QuantizedWeight) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The least and the largest integer less zero point that training may store, in the shape of the zero points.

    Eight bits around a zero point in their middle are symmetric, so that subwords are parts of a 7-bit magnitude.
    """
    low, high = integer_limits(entry.dtype)
    in_middle = 2 * entry.zero_points == low + high + 1
    least = low - entry.zero_points + (in_middle & (weight_bits(entry.dtype) == 8))
    return least, high - entry.zero_points


def integer_constants(
    tensors: Mapping[str, Array],
    quantized: Iterable[QuantizedWeight],
    factors: Mapping[str, NDArray[np.float64]],
) -> dict[str, Array]:
    """The integer constants, by name and less their zero points, of fake-quantized weights among `tensors`.

    Filters that were multiplied by `factors` since then get scales multiplied by their magnitudes.
    """
    constants: dict[str, Array] = {}
    for entry in quantized:
        factor = factors.get(entry.value)
        scale = entry.scale if factor is None else entry.scale * np.where(factor == 0, 1, np.abs(factor))
        values = tensors[entry.value]
        steps = np.rint(values / entry.spread(scale, values.shape))
        least, largest = (entry.spread(limit, values.shape) for limit in deviation_limits(entry))
        constants[entry.weight] = as_narrow(np.clip(steps, least, largest))
        if factor is not None:
            constants[entry.scale_name] = scale.astype(np.float32)
    return constants


def _spread_like(weight: Tensor, entry: QuantizedWeight, values: Array) -> Tensor:
    """Scales or limits of `entry` as float32, in a form that broadcasts over the `weight`."""
    spread = entry.spread(values, tuple(weight.shape)).astype(np.float32)
    return torch.from_numpy(spread).to(weight.device)
