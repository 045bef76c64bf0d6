"""Finetune between permute and pack: dropped weights stay zero, and the packing stays valid."""

import numpy as np
import onnxruntime
import pytest
from test_finetune import network, train

from helpers import training
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import matching_packings, read_packings
from tightc.packing.pack import pack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.pattern import Pattern
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.tile.array import ArrayShape
from tightc.tile.subwords import split

SMALL = {
    "array": ArrayShape(8, 4),
    "temp_schedule": TemperatureSchedule(steps=5, moves_per_weight=20),
    "jobs": 1,
}
COMBINE = PermuteOptions(**SMALL, method="column-combine", gamma=0.5)
NM = PermuteOptions(**SMALL, method="nm", pattern=Pattern(1, 4))


@pytest.mark.parametrize("options", [COMBINE, NM], ids=lambda options: options.method)
def test_dropped_weights_stay_zero_and_the_packing_stays_valid(options: PermuteOptions) -> None:
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
    assert set(matching_packings(tuned, after)) == set(read_packings(permuted))
    _, packed = pack(tuned)
    assert packed.totals["dropped_weights"] == 0
    assert packed.totals["passes"] == report.totals["passes"]


@pytest.mark.parametrize("bits", [2, 4])
def test_packed_subwords_stay_in_place(bits: int) -> None:
    pruned, _ = prune(
        training.quantized("normed"), PruneOptions(sparsity=0.6, granularity="subword", subword_bits=bits)
    )
    permuted, report = permute(pruned, PermuteOptions(**SMALL, subword_bits=bits))
    tuned, _ = training.train(permuted, epochs=6, learning_rate=0.1, weight_decay=0.1)
    before, after = read_network(permuted), read_network(tuned)
    fewer = changed = 0
    for layer in after.owners:
        old, new = (split(network.matrix(layer), bits) for network in (before, after))
        assert not new[old == 0].any()
        changed += np.count_nonzero(new != old)
        fewer += np.count_nonzero((new == 0) & (old != 0))
    assert changed > fewer > 0, "a digit that became zero leaves its slot empty"
    packed, packing = pack(tuned)
    assert packing.totals["passes"] == report.totals["passes"]
    images = training.NORMALIZATION.apply(training.quadrants().pixels)
    sessions = [onnxruntime.InferenceSession(model.to_bytes()) for model in (tuned, packed)]
    wanted, found = (session.run(None, {"image": images})[0] for session in sessions)
    assert np.array_equal(wanted, found)
