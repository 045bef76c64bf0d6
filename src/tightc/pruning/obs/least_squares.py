"""One layer's weights as a least-squares problem, and its answer for any choice of places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.pruning.obs.elimination import Marks, first_losses, fitted, in_place, removals, strengths, swept
from tightc.pruning.obs.factor import Matrix, factored, inverse_of, inverse_root, solved
from tightc.pruning.obs.hessian import Moments

_DAMPING = 0.01  # of the mean diagonal: holds weights whose inputs the images hardly move to what they were
_AFFORDABLE = 1e11  # multiplications for a layer: half a minute on two cores
_SCALES = (0.5, 2.0)


@dataclass(frozen=True)
class Fit:
    """A layer with `groups` blocks, N filters and K inputs of each group; all arrays float64 but `gone`.

    `moments`: (groups, K, K), damped; `roots`: (groups, K, K), V of their inverse V V'; `targets`: (N, K), the best fit
    times the moments; `best`: (N, K), the best fit with all weights; `gone`: (N, K) bool, zeros that the model came
    with; `squares`: (N,), of the outputs to be met; `undamped`: (groups, K, K). All sums are means over vectors.
    """

    moments: NDArray[np.float64]
    roots: NDArray[np.float64]
    targets: Matrix
    best: Matrix
    gone: Marks
    squares: NDArray[np.float64]
    undamped: NDArray[np.float64]

    @classmethod
    def of(cls, sums: Sequence[Moments], weights: Matrix) -> Fit:
        """The fit to all uses of a weight at once; `weights`: (N, K), of the dense layer."""
        count = sum(part.count for part in sums)
        undamped = np.sum([part.inputs for part in sums], axis=0) / count
        diagonal = np.mean(np.einsum("gkk->gk", undamped))
        damping = _DAMPING * diagonal if diagonal > 0 else 1.0
        groups, inputs = undamped.shape[:2]
        moments = undamped + damping * np.eye(inputs)
        targets = np.sum([part.across for part in sums], axis=0) / count + damping * weights
        uppers = [factored(block) for block in moments]
        best = np.concatenate([solved(*pair) for pair in zip(uppers, _blocks(targets, groups), strict=True)])
        roots = np.stack([inverse_root(upper) for upper in uppers])
        squares = np.sum([part.outputs for part in sums], axis=0) / count
        return cls(moments, roots, targets, best, weights == 0, squares, undamped)

    def losses(self) -> Matrix:
        """What removing each weight adds to the error, when its turn comes: (N, K) float64, 0 for those gone."""
        groups, inputs = self.moments.shape[:2]
        exact = len(self.best) * inputs**3 / 3 <= _AFFORDABLE
        found = []
        for best, root, gone in zip(
            _blocks(self.best, groups), self.roots, _blocks(self.gone, groups), strict=True
        ):
            if exact:
                order, losses = removals(best, inverse_of(root), gone)
                found.append(in_place(order, losses, gone))
            else:
                found.append(first_losses(best, root, gone))
        return np.concatenate(found)

    def weights(self, kept: Marks) -> Matrix:
        """The best weights at the places `kept`, zeros elsewhere: (N, K) float64."""
        groups = len(self.moments)
        kept_blocks = _blocks(kept, groups)
        if float(np.sum(kept.sum(axis=1, dtype=np.float64) ** 3)) / 6 <= _AFFORDABLE:
            blocks = zip(_blocks(self.targets, groups), self.moments, kept_blocks, strict=True)
            return np.concatenate([fitted(*block) for block in blocks])
        blocks = zip(_blocks(self.best, groups), self.roots, kept_blocks, strict=True)
        return np.concatenate([swept(*block) for block in blocks])

    def scales(self, weights: Matrix) -> NDArray[np.float64]:
        """What each filter has to be multiplied by for outputs as strong as those to be met: (N,) float64.

        Least squares gives outputs that vary less than what they follow, the more the less it can; over many layers
        that adds up (Jordan et al., "REPAIR", ICLR 2023).
        """
        groups = len(self.moments)
        strength = np.concatenate(
            [
                strengths(block, moments)
                for block, moments in zip(_blocks(weights, groups), self.undamped, strict=True)
            ]
        )
        ratio = np.divide(self.squares, strength, out=np.ones_like(strength), where=strength > 0)
        return np.asarray(np.clip(np.sqrt(np.maximum(ratio, 0.0)), *_SCALES))


def _blocks(array: NDArray[Any], groups: int) -> NDArray[Any]:
    """(groups, filters of one, inputs)."""
    return array.reshape(groups, -1, array.shape[1])
