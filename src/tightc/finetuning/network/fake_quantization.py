"""Weights that are whole numbers: real ones behind them are trained, and rounded wherever the network is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.model.layer_view.quantized_weights import QuantizedWeight
from tightc.model.onnx_proto.graph import Array, Graph
from tightc.tile.subwords import LARGEST, Int8, counts, nearest, places, subwords_of, within


class FakeQuantization:
    """The weights of a student that are `whole`, and which of their digits may be other than zero.

    The real weights behind get the gradients of the rounded ones (straight through: Bengio et al., 2013). With `bits` a
    weight has digits of so many, and `allowed` holds for each the set of those that it may use, as in
    `tightc.tile.subwords.within`: where they are `fixed` those that it has, else all. Without, all are.
    """

    def __init__(
        self, student: TorchGraph, whole: Sequence[QuantizedWeight], bits: int | None, *, fixed: bool
    ) -> None:
        self._bits = bits
        self._whole = {entry.value: entry for entry in whole}
        self._weights = {name: student.parameter(name) for name in self._whole}
        self._scales = {
            name: torch.from_numpy(_shaped(self._whole[name], weight.dim()).astype(np.float32)).to(
                weight.device
            )
            for name, weight in self._weights.items()
        }
        every = 2 ** subwords_of(bits or 4) - 1
        self.allowed = {
            name: torch.full_like(weight, every, dtype=torch.uint8) for name, weight in self._weights.items()
        }
        if bits is not None and fixed:
            for name in self._weights:
                self.allowed[name].copy_(torch.from_numpy(places(self._nearest_whole(name), bits)))
        self._table = torch.from_numpy(within(bits or 4).astype(np.int64)).flatten()

    def scale(self, name: str) -> NDArray[np.float64]:
        """A step of the weight `name`: (filters,) or (1,)."""
        return self._whole[name].scale

    def used(self, name: str) -> int:
        """How many digits of the weight `name` are not zero."""
        return int(counts(self._nearest_whole(name), self._bits or 4).sum())

    def choose(self, name: str, many: NDArray[np.int64]) -> None:
        """Allows each weight of `name` so many digits, those that bring it nearest to what is behind it."""
        assert self._bits is not None, "only digits are chosen"
        whole = self._nearest_whole(name)
        left = np.sign(whole) * nearest(self._bits)[many, np.abs(whole)].astype(np.int8)
        self.allowed[name].copy_(torch.from_numpy(places(left, self._bits)))

    @contextmanager
    def pressed(self) -> Iterator[None]:
        """The weights as the network is to see them, for a while."""
        behind = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self.press()
        try:
            yield
        finally:
            for name, weight in self._weights.items():
                weight.data.copy_(behind[name])

    def press(self) -> None:
        """The same for good."""
        for name, weight in self._weights.items():
            weight.data.copy_(self._rounded(name))

    def load(self, allowed: Mapping[str, Tensor]) -> None:
        """Takes over what another allows."""
        for name, mine in self.allowed.items():
            mine.copy_(allowed[name])

    def _nearest_whole(self, name: str) -> Int8:
        """A weight as whole numbers with all digits, in its own shape."""
        steps = self._weights[name].detach() / self._scales[name]
        whole: Int8 = steps.round().clamp(-LARGEST, LARGEST).to(torch.int8).cpu().numpy()
        return whole

    def _rounded(self, name: str) -> Tensor:
        """The real number that each weight's allowed digits make."""
        weight, scale = self._weights[name].detach(), self._scales[name]
        magnitude = (weight.abs() / scale).round().clamp(max=LARGEST)
        if self._bits is not None:
            place = self.allowed[name].long() * (LARGEST + 1) + magnitude.long()
            magnitude = self._table.to(weight.device)[place].to(weight.dtype)
        return weight.sign() * magnitude * scale


def rescalable(entry: QuantizedWeight, graph: Graph) -> bool:
    """Whether each filter of a weight in the model's `graph` has a scale of its own, which no other node reads."""
    filters = graph.tensors[entry.weight].shape[0]
    readers = graph.consumers().get(entry.scale_name, [])
    return entry.axis == 0 and len(entry.scale) == filters and len(readers) == 1


def as_whole(
    tensors: Mapping[str, Array], whole: Iterable[QuantizedWeight], factors: Mapping[str, NDArray[np.float64]]
) -> dict[str, Array]:
    """The int8 constants, by name, whose real values are among `tensors`, those of a grid that was pressed.

    Where the filters of a weight were multiplied by `factors` since, their scales take these up, all but the signs.
    """
    constants: dict[str, Array] = {}
    for entry in whole:
        factor = factors.get(entry.value)
        scale = entry.scale if factor is None else entry.scale * np.where(factor == 0, 1, np.abs(factor))
        real = tensors[entry.value]
        steps = np.rint(real / _shaped(replace(entry, scale=scale), real.ndim))
        constants[entry.weight] = np.clip(steps, -LARGEST, LARGEST).astype(np.int8)
        if factor is not None:
            constants[entry.scale_name] = scale.astype(np.float32)
    return constants


def _shaped(entry: QuantizedWeight, axes: int) -> NDArray[np.float64]:
    """The scales so that they are broadcast over a weight of so many axes."""
    shape = [1] * axes
    if entry.axis is not None:
        shape[entry.axis] = -1
    return entry.scale.reshape(shape)
