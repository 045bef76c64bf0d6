"""Magnitude pruning, against a naive search for the smallest weights."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import oracle
from helpers import models
from helpers.loading import loaded
from tightc.errors import OptionError
from tightc.packing.pack import pack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.selection.top_k import largest, largest_with_minimums
from tightc.tile.array import ArrayShape


def weights_of(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def two_layers(one: np.ndarray, two: np.ndarray) -> onnx.ModelProto:
    shapes = f"(float[1,{len(one)}] x) => (float[1,{two.shape[1]}] y)"
    text = f"net {shapes} {{ [one] a = MatMul(x, v)\n [two] y = MatMul(a, w) }}"
    return models.build(text, v=one.astype(np.float32), w=two.astype(np.float32))


def full(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@settings(max_examples=40)
@given(
    st.lists(st.integers(-5, 5), min_size=12, max_size=12),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.74, 0.9, 0.999]),
    st.sampled_from(["global", "layer"]),
)
def test_the_smallest_are_pruned_as_by_a_naive_search(
    numbers: list[int], sparsity: float, scope: str
) -> None:
    one, two = np.array(numbers[:6]).reshape(2, 3), np.array(numbers[6:]).reshape(3, 2)
    pruned, _ = prune(loaded(two_layers(one, two)), PruneOptions(sparsity=sparsity, scope=scope))
    found = weights_of(pruned.proto)
    pairs = [(one, found["v"]), (two, found["w"])]
    assert all(((new == old) | (new == 0)).all() for old, new in pairs)
    for chosen in [pairs] if scope == "global" else [[pair] for pair in pairs]:
        largest_of_each = [abs(old).max() for old, _ in chosen]  # stay in any case
        others = sorted(value for old, _ in chosen for value in np.sort(abs(old).ravel())[:-1])
        stay = [*largest_of_each, *others[round(sparsity * 6 * len(chosen)) :]]
        left = np.concatenate([abs(new).ravel() for _, new in chosen])
        assert sorted(left[left != 0]) == sorted(value for value in stay if value)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9, 0.95])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_count_is_exact(sparsity: float, scope: str) -> None:
    model = loaded(two_layers(full(40, 30), full(30, 20)))
    _, report = prune(model, PruneOptions(sparsity=sparsity, scope=scope))
    counts = [round(sparsity * 1200), round(sparsity * 600)] if scope == "layer" else [round(sparsity * 1800)]
    assert report.totals["nonzeros"] == 1800 - sum(counts)
    assert report.totals["density"] == pytest.approx((1800 - sum(counts)) / 1800)


def test_global_scope_prunes_the_layer_of_small_weights() -> None:
    proto = two_layers(full(10, 10) * 0.01, full(10, 10, seed=1) + 5)
    _, by_network = prune(loaded(proto), PruneOptions(sparsity=0.4))
    _, by_layer = prune(loaded(proto), PruneOptions(sparsity=0.4, scope="layer"))
    assert [row["nonzeros"] for row in by_network.layers] == [20, 100]
    assert [row["nonzeros"] for row in by_layer.layers] == [60, 60]


def test_no_layer_loses_all_its_weights() -> None:
    proto = two_layers(full(10, 10) * 0.01, full(10, 10, seed=1) + 5)
    pruned, report = prune(loaded(proto), PruneOptions(sparsity=0.6))
    assert [row["nonzeros"] for row in report.layers] == [1, 79]
    kept = weights_of(pruned.proto)["v"]
    assert np.abs(kept).max() == np.abs(weights_of(proto)["v"]).max()


def test_remaining_weights_and_everything_else_keep_their_bits() -> None:
    proto = models.cnn()
    pruned, _ = prune(loaded(proto), PruneOptions(sparsity=0.8))
    before, after = weights_of(proto), weights_of(pruned.proto)
    assert before.keys() == after.keys()
    for name, weight in before.items():
        if name.endswith("_b"):
            assert after[name].tobytes() == weight.tobytes()
        kept = after[name] != 0
        assert after[name][kept].tobytes() == weight[kept].tobytes()
    assert list(pruned.proto.graph.node) == list(proto.graph.node)


def test_sparsity_0_changes_no_weight() -> None:
    proto = models.cnn()
    pruned, report = prune(loaded(proto), PruneOptions(sparsity=0.0))
    assert list(pruned.proto.graph.initializer) == list(proto.graph.initializer)
    assert report.totals["nonzeros"] == sum(
        np.count_nonzero(w) for name, w in weights_of(proto).items() if name.endswith("_w")
    )


@pytest.mark.parametrize(
    ("skip", "untouched"),
    [
        (("first",), {"first_w"}),
        (("fi*", "last"), {"first_w", "last_w"}),
        (("*s*",), {"first_w", "second_w", "last_w"} - {"none"}),
        (("[fl]*st",), {"first_w", "last_w"}),
    ],
)
def test_skipped_layers_are_unchanged(skip: tuple[str, ...], untouched: set[str]) -> None:
    proto = models.cnn()
    options = PruneOptions(sparsity=0.9, skip=skip)
    if len(untouched) == 3:
        with pytest.raises(
            OptionError, match="--skip: expected at least one layer left, got none; skip fewer layers"
        ):
            prune(loaded(proto), options)
        return
    pruned, _ = prune(loaded(proto), options)
    before, after = weights_of(proto), weights_of(pruned.proto)
    same = {name for name in before if name.endswith("_w") and (before[name] == after[name]).all()}
    assert same == untouched


def test_the_sparsity_is_of_the_layers_that_are_not_skipped() -> None:
    model = loaded(two_layers(full(10, 10), full(10, 10, seed=1)))
    _, report = prune(model, PruneOptions(sparsity=0.5, skip=("one",)))
    assert [row["nonzeros"] for row in report.layers] == [100, 50]


def test_an_unknown_layer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        OptionError, match=r"--skip: expected the name of a layer, got 'third'; did you mean first\?"
    ):
        prune(loaded(models.cnn()), PruneOptions(sparsity=0.5, skip=("third",)))


def test_a_layer_is_skipped_by_its_own_name_even_if_that_reads_as_a_pattern() -> None:
    proto = two_layers(full(4, 4), full(4, 4, seed=1))
    proto.graph.node[0].name = "conv[0]"
    _, report = prune(loaded(proto), PruneOptions(sparsity=0.5, skip=("conv[0]",)))
    assert [row["nonzeros"] for row in report.layers] == [16, 8]


def test_a_shared_weight_is_pruned_once_and_counted_once() -> None:
    pruned, report = prune(loaded(models.shared_weight()), PruneOptions(sparsity=0.9))
    assert report.totals["weights"] == 144
    assert np.count_nonzero(weights_of(pruned.proto)["w"]) == report.totals["nonzeros"]
    assert [row["shares"] for row in report.layers] == [None, "one"]


@pytest.mark.parametrize("form", models.FORMS)
def test_every_form_of_layer_is_pruned(form: str) -> None:
    proto = models.FORMS[form]()
    pruned, report = prune(loaded(proto), PruneOptions(sparsity=0.9, scope="layer"))
    onnx.checker.check_model(pruned.proto, full_check=True)
    for row in report.layers:
        assert row["nonzeros"] <= max(1, row["weights"] - round(0.9 * row["weights"]))


def test_weights_of_half_precision_stay_half() -> None:
    pruned, _ = prune(loaded(models.cnn(dtype="float16")), PruneOptions(sparsity=0.9))
    assert {array.dtype.name for array in weights_of(pruned.proto).values()} == {"float16"}


def test_packings_are_dropped_and_a_packed_model_is_unpacked() -> None:
    quick = PermuteOptions(array=ArrayShape(8, 8), temp_schedule=TemperatureSchedule(moves_per_weight=0))
    packed, _ = pack(permute(loaded(models.cnn()), quick)[0])
    pruned, _ = prune(packed, PruneOptions(sparsity=0.9))
    assert not pruned.proto.functions
    assert [entry.key for entry in pruned.proto.metadata_props] == ["tightc.history", "tightc.digests"]
    direct, _ = prune(loaded(models.cnn()), PruneOptions(sparsity=0.9))
    ours, theirs = weights_of(pruned.proto), weights_of(direct.proto)
    assert all((ours[name] == theirs[name]).all() for name in theirs)


@pytest.mark.parametrize(
    ("budget", "noted"), [("energy=1.5", True), ("speedup=1.5", True), ("compression=2", False)]
)
def test_a_budget_of_what_simulate_counts_is_noted_as_an_estimate(budget: str, noted: bool) -> None:
    _, report = prune(loaded(models.cnn()), PruneOptions.of({"align": "2x2", "budget": budget}))
    sentence = f"{budget} is met by an estimate of the tiles: tightc simulate on the permuted model has what is reached"
    assert (sentence in report.notes) == noted


def test_history_records_the_options() -> None:
    model = loaded(models.cnn())
    pruned, _ = prune(model, PruneOptions(sparsity=0.9, skip=("last",)))
    (entry,) = json.loads(pruned.proto.metadata_props[0].value)
    assert {key: value for key, value in entry["options"].items() if value is not None} == {
        "sparsity": 0.9,
        "scope": "global",
        "skip": ["last"],
        "min_density": 0.0,
        "granularity": "weight",
        "criterion": "magnitude",
    }
    assert (entry["stage"], entry["input"]) == ("prune", model.sha256)


@settings(max_examples=60)
@given(st.permutations(range(12)), st.data())
def test_the_kernel_leaves_exactly_the_smallest(magnitudes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(magnitudes)))
    (kept,) = largest([np.array(magnitudes, np.float64).reshape(3, 4)], len(magnitudes) - count)
    assert set(np.flatnonzero(~kept)) == oracle.smallest_zeroed(magnitudes, count)


def test_minimums_hold_for_any_saliency() -> None:
    layers = [np.array([[1.0, 3, 2]]), np.array([[9.0, 8]])]
    one, other = largest_with_minimums(layers, 2, [1, 0])
    assert (one.tolist(), other.tolist()) == ([[False, True, False]], [[True, False]])
    one, other = largest_with_minimums(layers, 2, [2, 1])
    assert (one.tolist(), other.tolist()) == ([[False, True, True]], [[True, False]])


@pytest.mark.parametrize("align", [None, "8x8"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_equal_magnitudes_leave_every_layer_filter_and_input_its_share(align: str | None, scope: str) -> None:
    signs = np.random.default_rng(0)
    proto = two_layers(*(signs.choice([-1, 1], shape) for shape in ((32, 64), (64, 16))))
    options = PruneOptions.of({"sparsity": 0.75, "align": align, "scope": scope})
    pruned, report = prune(loaded(proto), options)
    assert [row["density"] for row in report.layers] == pytest.approx([0.25, 0.25], abs=0.002)
    for weight in (weights_of(pruned.proto)[name] != 0 for name in "vw"):
        assert weight.any(axis=1).all(), "an input that no filter reads"
        assert np.ptp(weight.sum(axis=0)) <= (8 if align else 2), "filters of different sizes"
