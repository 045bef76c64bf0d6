"""Saliency balanced between layers, against plain sums."""

from __future__ import annotations

from itertools import pairwise
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightc.pruning.options import PruneOptions
from tightc.selection.balance import layer_balanced
from tightc.selection.select import Candidates, select

VALUES = st.lists(st.sampled_from([0.0, 0.25, 1.0, 1.5, 4.0]), min_size=1, max_size=12)


@given(VALUES)
def test_a_weight_counts_by_all_that_are_at_least_as_large(values: list[float]) -> None:
    found = layer_balanced(np.array([values])).tolist()[0]
    for value, score in zip(values, found, strict=True):
        at_least = sum(other for other in values if other >= value)
        assert score == pytest.approx(sqrt(sum(values)) * value / at_least if value else 0.0)


@given(VALUES)
def test_the_order_within_a_layer_stays(values: list[float]) -> None:
    scores = layer_balanced(np.array([values])).tolist()[0]
    for (value, score), (larger, higher) in pairwise(sorted(zip(values, scores, strict=True))):
        assert (value < larger) == (score < higher)


@given(st.floats(1e-6, 1e6))
def test_a_layer_of_larger_weights_counts_by_their_norm(factor: float) -> None:
    saliency = np.array([[1.0, 4.0, 9.0]])
    np.testing.assert_allclose(layer_balanced(saliency * factor**2), layer_balanced(saliency) * factor)


def test_what_is_pruned_adds_up_to_the_logarithm_of_the_lost_norm() -> None:
    saliency = np.random.default_rng(0).random((40, 250))
    scores = layer_balanced(saliency) / sqrt(saliency.sum())
    pruned = saliency < 0.5
    assert scores[pruned].sum() == pytest.approx(log(saliency.sum() / saliency[~pruned].sum()), rel=1e-3)


def test_extreme_layers_have_finite_scores() -> None:
    for saliency in (np.zeros((2, 2)), np.full((2, 2), 1e-320), np.full((2, 2), 1e300)):
        scores = layer_balanced(saliency)
        assert np.isfinite(scores).all()
        assert (scores > 0).all() == (saliency > 0).all()


def test_a_weak_layer_is_not_emptied_for_the_small_weights_of_a_strong_one() -> None:
    layers = [np.array([[0.04, 0.03]]), np.array([[9.0, 4.0, 0.25, 0.16]])]
    options = PruneOptions.of({"sparsity": 1 / 3})
    balanced = select([Candidates(layer_balanced(layer)) for layer in layers], options, 2 / 3)
    assert [int(mask.sum()) for mask in balanced] == [2, 2]
    plain = select([Candidates(layer) for layer in layers], options, 2 / 3)
    assert [int(mask.sum()) for mask in plain] == [1, 3]
