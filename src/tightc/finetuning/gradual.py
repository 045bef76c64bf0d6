"""Pruning little by little while training."""

from __future__ import annotations

import numpy as np
import torch

from tightc.bridge.module import TorchGraph
from tightc.finetuning.masks import Masks
from tightc.finetuning.options import FinetuneOptions
from tightc.finetuning.rates import share_left
from tightc.selection.prunable import Prunable
from tightc.selection.select import Candidates, select


class Gradual:
    """Chooses anew, every few steps, which weights stay, ever fewer of them, until the share asked for is met.

    Once it is met, weights may still change places until the regrowing ends; then `settled` is true, and what is zero
    stays so. Weights are worth their squares, as in prune. The share that is left starts from that which is not zero
    at the start.
    OptionError, before any training, where a budget cannot be met.
    """

    def __init__(
        self, student: TorchGraph, layers: list[Prunable], options: FinetuneOptions, steps: int
    ) -> None:
        assert options.share is not None, "the caller looked"
        self._layers, self._options, self._end = layers, options, options.share
        self._first, self._last = round(options.prune_from * steps), round(options.prune_until * steps)
        regrow = round(options.regrow_until * steps)
        self._end_step = max(self._last, regrow)
        self.settled = False
        self._weights = [student.parameter(entry.layer.weight) for entry in layers]
        used = sum(int((weight != 0).sum()) for weight in self._weights)
        self._start = max(self._end, used / sum(weight.numel() for weight in self._weights))
        others = [weight for weight in student.weights() if not any(weight is own for own in self._weights)]
        self.masks = Masks([*self._weights, *others], regrowing=regrow > self._first)
        self._chosen(self._end)

    def act(self, step: int) -> None:
        """To be called before each step, counted from 0."""
        if self.settled or step < self._first:
            return
        if step >= self._end_step:
            self.close()
        elif (step - self._first) % self._options.prune_every == 0:
            self._prune(step)

    def close(self) -> None:
        """Meets the share asked for, for good; to be called at the end, in case no step did."""
        if not self.settled:
            self._prune(self._end_step)
            self.masks.settle()
            self.settled = True

    def _prune(self, step: int) -> None:
        done = (step - self._first) / max(1, self._last - self._first)
        done = 1.0 if step >= self._last else done
        kept = self._chosen(share_left(self._options.schedule, done, self._start, self._end))
        others = self.masks.masks[len(self._weights) :]
        self.masks.choose([*kept, *(mask != 0 for mask in others)])

    def _chosen(self, share: float) -> list[torch.Tensor]:
        candidates = []
        for entry, weight in zip(self._layers, self.masks.candidates(), strict=False):
            matrix = entry.layer.matrix(weight.float().cpu().numpy()).astype(np.float64)
            candidates.append(Candidates(np.square(matrix), entry.layer.groups, entry.vectors))
        chosen = select(candidates, self._options, share)
        return [
            torch.from_numpy(entry.layer.tensor(kept, tuple(weight.shape))).to(weight.device)
            for entry, weight, kept in zip(self._layers, self._weights, chosen, strict=True)
        ]
