"""Gradual pruning: the sparsity rises in small updates while training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tightc.bridge.module import TorchGraph
from tightc.finetuning.network.fake_quantization import FakeQuantization
from tightc.finetuning.network.masks import Masks
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.training.pruning_schedule import kept_at, regrow_fraction
from tightc.model.onnx_proto.graph import Array
from tightc.selection.balance import layer_balanced
from tightc.selection.network.prunable import Prunable
from tightc.selection.regrow import regrown
from tightc.selection.select import Candidates, select
from tightc.selection.subwords import subword_saliency
from tightc.tile.subwords import subwords_of


class GradualPruning:
    """Selects the kept weights anew every few steps, fewer each time, until the target is met.

    After that, weights may still be exchanged until the end of regrowing; then `finished` is true, and the masks are
    final. The saliency of a weight is its square, as in prune, or that balanced between layers. With granularity
    subword, single subwords of the `fake_quantization` weights are selected. The schedule starts from the current
    density, or with a budget of weights from 1, since single zeros save no segment.
    OptionError, before any training, where a budget cannot be met.
    """

    def __init__(
        self,
        student: TorchGraph,
        layers: list[Prunable],
        options: FinetuneOptions,
        steps: int,
        fake_quantization: FakeQuantization | None = None,
    ) -> None:
        assert options.kept_fraction is not None, "gradual pruning needs a target"
        self._subwords = None if options.granularity != "subword" else fake_quantization
        self._layers, self._options, self._end = layers, options, options.kept_fraction
        self._first_step = round(options.pruning_start * steps)
        self._last_step = round(options.pruning_end * steps)
        self._last_regrow_step = round(options.regrow_end * steps) if options.regrow else 0
        self._weights = [student.parameter(entry.layer.weight) for entry in layers]
        of_segments = options.budget is not None and self._subwords is None
        self._start = 1.0 if of_segments else max(self._end, self._density())
        others = [weight for weight in student.weights() if not any(weight is own for own in self._weights)]
        self.masks = Masks([*self._weights, *others])
        self.finished = False
        self._select(self._end)

    def update(self, step: int) -> None:
        """Updates the masks if due; to be called at each step, from 0, between backward pass and optimizer step."""
        if self.finished or step < self._first_step:
            return
        since_start = step - self._first_step
        if step >= max(self._last_step, self._last_regrow_step):
            self.finish()
        elif step == self._last_step or since_start % self._options.pruning_interval == 0:
            done = since_start / (self._last_step - self._first_step) if step < self._last_step else 1.0
            target = kept_at(self._options.pruning_schedule, done, self._start, self._end)
            regrow_steps = self._last_regrow_step - self._first_step
            exchanged = regrow_fraction(since_start, regrow_steps, self._options.regrow)
            for index, kept in enumerate(self._select(target)):
                self._set_mask(index, self._regrown(index, kept, exchanged) if exchanged else kept)

    def finish(self) -> None:
        """Meets the target for good; to be called after the last step too, which may come before the end."""
        if not self.finished:
            for index, kept in enumerate(self._select(self._end)):
                self._set_mask(index, kept)
            self.finished = True

    def _select(self, target: float) -> list[Array]:
        """The weights or subwords to keep in each layer, (filters, inputs * units) bool, among the current ones."""
        candidates = [
            Candidates(self._saliency(index), entry.layer.groups, entry.costs, entry.channels)
            for index, entry in enumerate(self._layers)
        ]
        # A budget may also be spent on weights of no saliency: pruned ones, which only regrowing brings back.
        return [
            kept & np.repeat(self._matrix(index, self.masks.masks[index]) != 0, self._units, axis=1)
            for index, kept in enumerate(select(candidates, self._options, target))
        ]

    @property
    def _units(self) -> int:
        """Pruned units per weight: its subwords, or 1."""
        return 1 if self._subwords is None else subwords_of(self._options.bits_per_subword)

    def _saliency(self, index: int) -> Array:
        """The saliency of each weight or subword of a layer, (filters, inputs * units) float64."""
        weight = self._weights[index].detach()
        if self._subwords is None:
            saliency = self._matrix(index, weight.square())
        else:
            scale = self._subwords.scale(self._layers[index].layer)
            saliency = subword_saliency(self._matrix(index, weight), scale, self._options.bits_per_subword)
        return layer_balanced(saliency) if self._options.criterion == "balanced" else saliency

    def _density(self) -> float:
        """The density of all prunable weights or subwords."""
        nonzeros = sum(int((weight != 0).sum()) for weight in self._weights)
        if self._subwords is not None:
            nonzeros = sum(self._subwords.nonzero_subwords(entry.layer.weight) for entry in self._layers)
        return nonzeros / (self._units * sum(weight.numel() for weight in self._weights))

    def _regrown(self, index: int, kept: Array, fraction: float) -> Array:
        """`kept` with a `fraction` of each filter's weights exchanged for the zeros with the largest gradients."""
        weight = self._weights[index]
        if weight.grad is None:
            return kept
        gradients = self._matrix(index, weight.grad.abs() * self.masks.initial[index])
        return regrown(self._matrix(index, weight.detach().square()), kept, gradients, fraction)

    def _matrix(self, index: int, tensor: Tensor) -> Array:
        """A tensor of the weight's shape as the layer matrix, (filters, inputs) float64."""
        matrix: Array = self._layers[index].layer.matrix(tensor.cpu().numpy()).astype(np.float64)
        return matrix

    def _set_mask(self, index: int, kept: Array) -> None:
        """Sets the mask of a layer to `kept`, (filters, inputs * units) bool."""
        weight, layer = self._weights[index], self._layers[index].layer
        units = kept.reshape(layer.filters, layer.inputs, self._units).sum(axis=2)
        shaped = layer.tensor(units, tuple(weight.shape))
        if self._subwords is not None:
            self._subwords.select_subwords(layer.weight, shaped)
        self.masks.set_mask(index, torch.from_numpy(shaped > 0).to(weight.device))
