"""OBS pruning of one layer against brute force and numpy; tiny, since it also runs without JIT."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc import parallel
from tightc.pruning.obs import elimination, hessian, least_squares, obs
from tightc.pruning.obs.elimination import (
    exact_obs,
    losses_by_weight,
    mean_square_outputs,
    obs_losses,
    refit,
    sparsegpt,
)
from tightc.pruning.obs.factor import inverse_from_root, inverse_root, solve, upper_factor
from tightc.pruning.obs.hessian import CalibrationSums, vector_sums, zero_sums
from tightc.pruning.obs.least_squares import LeastSquares
from tightc.pruning.options import PruneOptions

pytestmark = pytest.mark.kernel


def layer(filters: int = 3, inputs: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Weights, (filters, inputs), and the Hessian of correlated inputs."""
    rng = np.random.default_rng([seed, filters, inputs])
    x = rng.normal(size=(4 * inputs, inputs)) @ rng.normal(size=(inputs, inputs))
    return rng.normal(size=(filters, inputs)), x.T @ x / len(x) + 0.01 * np.eye(inputs)


def inverse(matrix: np.ndarray) -> np.ndarray:
    return inverse_from_root(inverse_root(upper_factor(matrix)))


def error(weights: np.ndarray, best: np.ndarray, matrix: np.ndarray) -> float:
    return float(np.sum((weights - best) @ matrix * (weights - best)))


def explicit_least_squares(best: np.ndarray, matrix: np.ndarray, places: list[int]) -> np.ndarray:
    """One filter: min (w - best) matrix (w - best)' with w zero except at `places`, by an explicit design matrix."""
    root = np.linalg.cholesky(matrix).T
    found = np.zeros(len(best))
    if places:
        found[places] = np.linalg.lstsq(root[:, places], root @ best, rcond=None)[0]
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 70, 130])
def test_factors_inverse_and_solutions_are_numpys(size: int) -> None:
    weights, matrix = layer(3, size)
    upper = upper_factor(matrix)
    assert (np.tril(upper, -1) == 0).all()
    np.testing.assert_allclose(upper @ upper.T, matrix, rtol=1e-9, atol=1e-9)
    root = inverse_root(upper)
    assert (np.triu(root, 1) == 0).all()
    np.testing.assert_allclose(root, np.linalg.inv(upper).T, rtol=1e-6, atol=1e-7)
    found = inverse_from_root(root)
    assert (found == found.T).all()
    np.testing.assert_allclose(found @ matrix, np.eye(size), atol=1e-6)
    np.testing.assert_allclose(solve(upper, weights) @ matrix, weights, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_removed_in_the_order_of_an_exhaustive_search(seed: int) -> None:
    weights, matrix = layer(seed=seed)
    order, losses = exact_obs(weights, inverse(matrix), np.zeros(weights.shape, bool))
    for best, zeros, added in zip(weights, order.tolist(), losses, strict=True):
        left, before = list(range(len(best))), 0.0
        for place, loss in zip(zeros, added, strict=True):
            errors = {}
            for candidate in left:
                rest = [other for other in left if other != candidate]
                errors[candidate] = error(explicit_least_squares(best, matrix, rest), best, matrix)
            assert place == min(errors, key=errors.__getitem__)
            assert loss == pytest.approx(errors[place] - before, rel=1e-6, abs=1e-9)
            before = errors[place]
            left.remove(place)
        assert before == pytest.approx(best @ matrix @ best)


def test_zeros_are_removed_first() -> None:
    weights, matrix = layer(2, 6)
    zeros = np.array([[True, False, False, True, False, False], [False] * 6])
    order, losses = exact_obs(weights, inverse(matrix), zeros)
    assert set(order[0, :2].tolist()) == {0, 3}
    placed = losses_by_weight(order, losses, zeros)
    assert (placed[zeros] == 0).all() and (placed[~zeros] > 0).all()


def test_losses_by_weight_never_fall_along_the_order() -> None:
    order, losses = np.array([[2, 0, 1]]), np.array([[3.0, 1.0, 4.0]])
    assert losses_by_weight(order, losses, np.zeros((1, 3), bool)).tolist() == [[3.0, 4.0, 3.0]]


@settings(max_examples=25)
@given(st.integers(1, 7), st.integers(0, 99), st.data())
def test_fitted_weights_are_the_least_squares_solution(inputs: int, seed: int, data: st.DataObject) -> None:
    weights, matrix = layer(2, inputs, seed)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=2 * inputs, max_size=2 * inputs)))
    kept = kept.reshape(2, inputs)
    found = refit(weights @ matrix, matrix, kept)
    for row in range(2):
        wanted = explicit_least_squares(weights[row], matrix, np.flatnonzero(kept[row]).tolist())
        np.testing.assert_allclose(found[row], wanted, rtol=1e-5, atol=1e-6)
    assert (found[~kept] == 0).all()


def test_the_sum_of_losses_is_the_error_of_the_fit() -> None:
    weights, matrix = layer(3, 8)
    order, losses = exact_obs(weights, inverse(matrix), np.zeros(weights.shape, bool))
    for count in range(9):
        kept = np.ones(weights.shape, bool)
        np.put_along_axis(kept, order[:, :count], False, axis=1)
        found = refit(weights @ matrix, matrix, kept)
        assert error(found, weights, matrix) == pytest.approx(losses[:, :count].sum(), rel=1e-6, abs=1e-9)


def test_the_obs_loss_is_that_of_one_removal() -> None:
    weights, matrix = layer()
    losses = obs_losses(weights, inverse_root(upper_factor(matrix)), weights > 1)
    for row, column in np.ndindex(weights.shape):
        rest = [place for place in range(6) if place != column]
        alone = error(explicit_least_squares(weights[row], matrix, rest), weights[row], matrix)
        assert losses[row, column] == pytest.approx(0 if weights[row, column] > 1 else alone, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_sparsegpt_adapts_the_columns_after_each_removal(seed: int) -> None:
    weights, matrix = layer(20, 6, seed)
    kept = np.random.default_rng(seed).random(weights.shape) < 0.5
    found = sparsegpt(weights, inverse_root(upper_factor(matrix)), kept)
    assert (found[~kept] == 0).all()
    for row in range(20):
        current = weights[row].copy()
        for column in np.flatnonzero(~kept[row]):
            # least squares over the columns behind, with those up to here as they are now
            held, behind = np.arange(column), np.arange(column + 1, 6)
            current[column] = 0
            push = matrix[np.ix_(behind, np.append(held, column))] @ (
                np.append(current[held], 0) - weights[row, : column + 1]
            )
            if len(behind):
                current[behind] = weights[row, behind] - np.linalg.solve(matrix[np.ix_(behind, behind)], push)
        np.testing.assert_allclose(found[row], current, atol=1e-6)


def test_mean_square_outputs_are_quadratic_forms() -> None:
    weights, matrix = layer(5, 7)
    weights[weights < 0] = 0
    np.testing.assert_allclose(mean_square_outputs(weights, matrix), np.diag(weights @ matrix @ weights.T))


@pytest.mark.parametrize("groups", [1, 3])
def test_sums_are_those_of_products_of_each_group(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessian, "_BLOCK", 4)
    rng = np.random.default_rng(0)
    x = rng.normal(1, 1, (11, 4 * groups)).astype(np.float32)
    y = rng.normal(2, 1, (11, 2 * groups)).astype(np.float32)
    found = vector_sums(x[:5], y[:5], groups)
    found += vector_sums(x[5:], y[5:], groups)
    for which, offset in ((found, 0.0), (found.centered(), 1.0)):
        into = x - offset * x.mean(axis=0, dtype=np.float64)
        out = y - offset * y.mean(axis=0, dtype=np.float64)
        for group in range(groups):
            mine = into[:, 4 * group : 4 * group + 4]
            np.testing.assert_allclose(which.hessian[group], mine.T @ mine, rtol=1e-4, atol=1e-4)
            rows = slice(2 * group, 2 * group + 2)
            np.testing.assert_allclose(which.cross[rows], out[:, rows].T @ mine, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(which.output_squares, np.square(out).sum(axis=0), rtol=1e-4)
    assert found.count == 11


def sample_sums(groups: int = 2, seed: int = 0) -> tuple[CalibrationSums, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(2 * groups, 5))
    x = (rng.normal(size=(400, 5 * groups)) @ rng.normal(size=(5 * groups, 5 * groups))).astype(np.float32)
    y = np.concatenate(
        [x[:, 5 * g : 5 * g + 5] @ weights[2 * g : 2 * g + 2].T for g in range(groups)], axis=1
    )
    return vector_sums(x, y.astype(np.float32), groups), weights


@pytest.mark.parametrize("affordable", [0.0, 1e11])
def test_least_squares_on_its_own_outputs_gives_the_layer_itself(
    affordable: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(least_squares, "_AFFORDABLE", affordable)
    sums, weights = sample_sums()
    found = LeastSquares.of([sums], weights)
    np.testing.assert_allclose(found.weights(np.ones(weights.shape, bool)), weights, atol=1e-4)
    np.testing.assert_allclose(found.output_scales(weights), 1, atol=1e-4)
    kept = found.losses() > np.median(found.losses())
    pruned = found.weights(kept)
    assert (pruned[~kept] == 0).all() and (pruned[kept] != 0).all()
    scales = found.output_scales(pruned)
    unclipped = (scales < 2) & pruned.any(axis=1)
    blocks = found.undamped_hessian[np.arange(len(weights)) // 2]
    squares = np.einsum("nk,nkl,nl->n", pruned * scales[:, None], blocks, pruned * scales[:, None])
    np.testing.assert_allclose(squares[unclipped], found.output_squares[unclipped], rtol=1e-6)


def test_inputs_that_are_always_zero_leave_the_weights_as_they_were() -> None:
    weights = np.arange(1.0, 7.0).reshape(2, 3)
    sums = zero_sums(2, 3, 1)
    sums.count = 5
    found = LeastSquares.of([sums], weights)
    np.testing.assert_allclose(found.weights(weights > 2), np.where(weights > 2, weights, 0))
    assert (found.output_scales(weights) == 1).all()


def test_layers_that_share_a_weight_are_fitted_together() -> None:
    sums, weights = sample_sums(1)
    twice = LeastSquares.of([sums, sums], weights)
    once = LeastSquares.of([sums], weights)
    np.testing.assert_allclose(twice.solution, once.solution, rtol=1e-12)


@pytest.mark.parametrize("filters", [1, 5, 33])
def test_the_number_of_cores_changes_no_bit(filters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, matrix = layer(filters, 70)
    kept = weights > 0

    def everything() -> list[bytes]:
        root = inverse_root(upper_factor(matrix))
        order, losses = exact_obs(weights[:, :10], inverse(matrix[:10, :10]), kept[:, :10])
        results = [root, inverse_from_root(root), solve(upper_factor(matrix), weights), order, losses]
        results += [
            refit(weights, matrix, kept),
            sparsegpt(weights, root, kept),
            mean_square_outputs(weights, matrix),
        ]
        return [result.tobytes() for result in results]

    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(parallel, "available_cores", lambda cores=cores: cores)
        found.append(everything())
    assert found[0] == found[1] == found[2]


def test_rows_are_cut_anywhere() -> None:
    weights, matrix = layer(2 * elimination._MANY + 1, 4)
    kept = weights > 0
    whole = refit(weights @ matrix, matrix, kept)
    assert all(
        (refit((weights @ matrix)[row : row + 1], matrix, kept[row : row + 1]) == whole[row]).all()
        for row in range(len(weights))
    )


def test_weights_that_multiply_zeros_come_last_in_a_layer_of_millions() -> None:
    """Above 2^22 values the largest are found by their bits, which a sign would turn around."""
    random = np.random.default_rng(0)

    class Problem:
        zeros = random.random((1050, 4000)) < 0.5
        found = np.where(random.random((1050, 4000)) < 0.9, 0.0, random.random((1050, 4000)))

        def losses(self) -> np.ndarray:
            return self.found

    mask = np.zeros((1050, 4000), bool)
    mask.flat[:1_000_000] = True
    kept = obs._same_count(Problem(), mask, PruneOptions(sparsity=0.5))
    assert kept.sum() == 1_000_000
    assert not (kept & Problem.zeros).any()
    assert kept[(Problem.found > 0) & ~Problem.zeros].all()
