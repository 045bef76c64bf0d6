"""Least squares for one layer: the weights that reproduce its outputs best under any mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.pruning.obs.elimination import (
    exact_obs,
    losses_by_weight,
    mean_square_outputs,
    obs_losses,
    refit,
    sparsegpt,
)
from tightc.pruning.obs.factor import Matrix, inverse_from_root, inverse_root, solve, upper_factor
from tightc.pruning.obs.hessian import CalibrationSums
from tightc.selection.top_k import Mask

_DAMPING = 0.01  # of the mean diagonal: keeps the weights of inputs that hardly vary near their old values
_AFFORDABLE = 1e11  # multiplications per layer: half a minute on two cores
_SCALES = (0.5, 2.0)


@dataclass(frozen=True)
class LeastSquares:
    """The problem of a layer with `groups` groups, N filters and K inputs per group; arrays float64 but `zeros`.

    `hessian`: (groups, K, K), damped. `inverse_roots`: (groups, K, K), V of its inverse V V'. `targets`: (N, K), the
    solution times the Hessian. `solution`: (N, K), without a mask. `zeros`: (N, K) bool, zeros of the given model.
    `output_squares`: (N,), of the wanted outputs. `undamped_hessian`: (groups, K, K). Sums are means over vectors.
    """

    hessian: NDArray[np.float64]
    inverse_roots: NDArray[np.float64]
    targets: Matrix
    solution: Matrix
    zeros: Mask
    output_squares: NDArray[np.float64]
    undamped_hessian: NDArray[np.float64]

    @classmethod
    def of(cls, sums: Sequence[CalibrationSums], weights: Matrix) -> LeastSquares:
        """The problem of all layers that share a weight, with the `sums` of each; `weights`: (N, K) float64, dense."""
        count = sum(part.count for part in sums)
        undamped = np.sum([part.hessian for part in sums], axis=0) / count
        diagonal = np.mean(np.einsum("gkk->gk", undamped))
        damping = _DAMPING * diagonal if diagonal > 0 else 1.0
        groups, inputs = undamped.shape[:2]
        hessian = undamped + damping * np.eye(inputs)
        targets = np.sum([part.cross for part in sums], axis=0) / count + damping * weights
        uppers = [upper_factor(block) for block in hessian]
        return cls(
            hessian=hessian,
            inverse_roots=np.stack([inverse_root(upper) for upper in uppers]),
            targets=targets,
            solution=np.concatenate(
                [
                    solve(upper, target)
                    for upper, target in zip(uppers, _by_group(targets, groups), strict=True)
                ]
            ),
            zeros=weights == 0,
            output_squares=np.sum([part.output_squares for part in sums], axis=0) / count,
            undamped_hessian=undamped,
        )

    def losses(self) -> Matrix:
        """What removing each weight adds to the error, in its turn: (N, K) float64, 0 for `zeros`."""
        groups, inputs = self.hessian.shape[:2]
        exact = len(self.solution) * inputs**3 / 3 <= _AFFORDABLE
        found = []
        for solution, root, zeros in zip(
            _by_group(self.solution, groups), self.inverse_roots, _by_group(self.zeros, groups), strict=True
        ):
            if exact:
                order, losses = exact_obs(solution, inverse_from_root(root), zeros)
                found.append(losses_by_weight(order, losses, zeros))
            else:
                found.append(obs_losses(solution, root, zeros))
        return np.concatenate(found)

    def weights(self, kept: Mask) -> Matrix:
        """The best weights where `kept`, zeros elsewhere: (N, K) float64."""
        groups = len(self.hessian)
        masks = _by_group(kept, groups)
        if float(np.sum(kept.sum(axis=1, dtype=np.float64) ** 3)) / 6 <= _AFFORDABLE:
            problems = zip(_by_group(self.targets, groups), self.hessian, masks, strict=True)
            return np.concatenate([refit(targets, hessian, mask) for targets, hessian, mask in problems])
        problems = zip(_by_group(self.solution, groups), self.inverse_roots, masks, strict=True)
        return np.concatenate([sparsegpt(solution, root, mask) for solution, root, mask in problems])

    def output_scales(self, weights: Matrix) -> NDArray[np.float64]:
        """The factor by which to multiply each filter so that its outputs have the wanted mean square: (N,) float64.

        Least squares reduces the variance of the outputs, the more so the fewer weights are left; over many layers
        this accumulates (Jordan et al., "REPAIR", ICLR 2023).
        """
        blocks = zip(_by_group(weights, len(self.hessian)), self.undamped_hessian, strict=True)
        squares = np.concatenate([mean_square_outputs(block, hessian) for block, hessian in blocks])
        ratio = np.divide(self.output_squares, squares, out=np.ones_like(squares), where=squares > 0)
        return np.asarray(np.clip(np.sqrt(np.maximum(ratio, 0.0)), *_SCALES))


def _by_group(array: NDArray[Any], groups: int) -> NDArray[Any]:
    """(groups, filters per group, inputs)."""
    return array.reshape(groups, -1, array.shape[1])
