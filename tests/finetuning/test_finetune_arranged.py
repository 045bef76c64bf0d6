"""Finetune between permute and pack: what a lossy method set to zero stays zero, and the arrangement stays valid."""

import numpy as np
import pytest
from test_finetune import network, train

from tightc.model.arrangement import fitting_packings, read_packings
from tightc.model.layers import read_network
from tightc.packing.pack import pack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.pattern import Pattern
from tightc.permutation.permute import permute
from tightc.permutation.schedule import Schedule
from tightc.tiles.array import ArrayShape

SMALL = {"array": ArrayShape(8, 4), "temp_schedule": Schedule(steps=5, moves_per_weight=20), "jobs": 1}
COMBINE = PermuteOptions(**SMALL, method="column-combine", gamma=0.5)
NM = PermuteOptions(**SMALL, method="nm", pattern=Pattern(1, 4))


@pytest.mark.parametrize("options", [COMBINE, NM], ids=lambda options: options.method)
def test_what_was_dropped_stays_zero_and_the_packing_holds(options: PermuteOptions) -> None:
    permuted, report = permute(network(), options)
    assert report.totals["dropped_weights"] > 0
    tuned, tuning = train(permuted)
    before, after = read_network(permuted), read_network(tuned)
    zeros = 0
    for name, weight in before.weights.items():
        assert (after.weights[name][weight == 0] == 0).all()
        assert (after.weights[name] != weight).any()
        zeros += np.count_nonzero(weight == 0)
    assert tuning.totals["zeros_kept"] == zeros
    assert set(fitting_packings(tuned, after)) == set(read_packings(permuted))
    _, packed = pack(tuned)
    assert packed.totals["dropped_weights"] == 0
    assert packed.totals["passes"] == report.totals["passes"]
