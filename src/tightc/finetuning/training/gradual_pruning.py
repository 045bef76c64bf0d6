"""Pruning little by little while training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.finetuning.network.fake_quantization import FakeQuantization
from tightc.finetuning.network.masks import Masks
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.training.lr_schedules import regrow_share, share_left
from tightc.model.onnx_proto.graph import Array
from tightc.selection.network.prunable import Prunable
from tightc.selection.regrow import regrown
from tightc.selection.select import Candidates, select
from tightc.selection.subwords import subword_saliency
from tightc.tile.subwords import subwords_of


class GradualPruning:
    """Chooses anew, every few steps, which weights stay, ever fewer of them, until the share asked for is met.

    Once the share is met, weights may still change places until the regrowing ends; then `settled` is true, and what is
    zero stays so. Weights are worth their squares, as in prune; of a `grid`'s weights single digits are chosen where
    the options say subword. The share that is left starts from that which is not zero at the start, or from all where
    weights go together, since single zeros spare no filter and no part.
    OptionError, before any training, where a budget cannot be met.
    """

    def __init__(
        self,
        student: TorchGraph,
        layers: list[Prunable],
        options: FinetuneOptions,
        steps: int,
        grid: FakeQuantization | None = None,
    ) -> None:
        assert options.kept_fraction is not None, "the caller looked"
        self._digits = None if options.granularity != "subword" else grid
        self._layers, self._options, self._end = layers, options, options.kept_fraction
        self._first, self._last = round(options.prune_from * steps), round(options.prune_until * steps)
        self._regrow_last = round(options.regrow_until * steps) if options.regrow else 0
        self._weights = [student.parameter(entry.layer.weight) for entry in layers]
        whole = options.granularity == "filter" or (options.align is not None and self._digits is None)
        self._start = 1.0 if whole else max(self._end, self._used())
        others = [weight for weight in student.weights() if not any(weight is own for own in self._weights)]
        self.masks = Masks([*self._weights, *others])
        self.settled = False
        self._chosen(self._end)

    def act(self, step: int) -> None:
        """To be called in each step, counted from 0, between the backward pass and the update."""
        if self.settled or step < self._first:
            return
        if step >= max(self._last, self._regrow_last):
            self.close()
        elif step == self._last or (step - self._first) % self._options.prune_every == 0:
            done = (step - self._first) / (self._last - self._first) if step < self._last else 1.0
            share = share_left(self._options.schedule, done, self._start, self._end)
            moved = regrow_share(step - self._first, self._regrow_last - self._first, self._options.regrow)
            for index, kept in enumerate(self._chosen(share)):
                self._take(index, self._regrown(index, kept, moved) if moved else kept)

    def close(self) -> None:
        """Meets the share asked for, for good; to be called at the end, in case no step did."""
        if not self.settled:
            for index, kept in enumerate(self._chosen(self._end)):
                self._take(index, kept)
            self.settled = True

    def _chosen(self, share: float) -> list[Array]:
        """For each layer which weights stay, (filters, inputs) bool: of those that are left."""
        candidates = [
            Candidates(self._worths(index), entry.layer.groups, entry.vectors, entry.channels, self._units)
            for index, entry in enumerate(self._layers)
        ]
        # A budget's last units may be worth nothing: weights that were pruned before, which only regrowing brings back.
        return [
            kept & np.repeat(self._matrix(index, self.masks.masks[index]) != 0, self._units, axis=1)
            for index, kept in enumerate(select(candidates, self._options, share))
        ]

    @property
    def _units(self) -> int:
        """How many of what is kept or pruned a weight has."""
        return 1 if self._digits is None else subwords_of(self._options.bits_per_subword)

    def _worths(self, index: int) -> Array:
        """Of each weight or digit of a layer, (filters, inputs * units) float64."""
        weight = self._weights[index].detach()
        if self._digits is None:
            return self._matrix(index, weight.square())
        scale = self._digits.scale(self._layers[index].layer.weight)
        return subword_saliency(self._matrix(index, weight), scale, self._options.bits_per_subword)

    def _used(self) -> float:
        """The share of all weights or digits that are not zero."""
        used = sum(int((weight != 0).sum()) for weight in self._weights)
        if self._digits is not None:
            used = sum(self._digits.used(entry.layer.weight) for entry in self._layers)
        return used / (self._units * sum(weight.numel() for weight in self._weights))

    def _regrown(self, index: int, kept: Array, share: float) -> Array:
        weight = self._weights[index]
        if weight.grad is None:
            return kept
        pull = self._matrix(index, weight.grad.abs() * self.masks.allowed[index])
        return regrown(self._matrix(index, weight.detach().square()), kept, pull, share)

    def _matrix(self, index: int, tensor: Tensor) -> Array:
        matrix: Array = self._layers[index].layer.matrix(tensor.cpu().numpy()).astype(np.float64)
        return matrix

    def _take(self, index: int, kept: Array) -> None:
        weight, layer = self._weights[index], self._layers[index].layer
        many = kept.reshape(layer.filters, layer.inputs, self._units).sum(axis=2)
        shaped = layer.tensor(many, tuple(weight.shape))
        if self._digits is not None:
            self._digits.choose(layer.weight, shaped)
        self.masks.choose(index, torch.from_numpy(shaped > 0).to(weight.device))
