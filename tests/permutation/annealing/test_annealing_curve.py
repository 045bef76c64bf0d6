"""Annealing curves: their points are states of the plan, the last is what was kept, and they do not grow."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import annealing_blocks, models
from helpers.annealing_blocks import cost, lanes_of
from helpers.loading import loaded
from tightc.model.file import Model
from tightc.model.onnx_proto.metadata import ANNEALING, get_property
from tightc.model.packings.annealing_record import read_annealing
from tightc.model.packings.metadata import read_packings
from tightc.packing.pack import pack
from tightc.packing.unpack import unpack
from tightc.permutation.annealing.anneal import Annealed, AnnealSettings, anneal
from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.curve import AnnealingCurve, CurveRecorder, thin
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.tile.array import ArrayShape

FAN_IN = 2
SCHEDULE = TemperatureSchedule(steps=5, moves_per_weight=40)
OPTIONS = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=SCHEDULE, jobs=1)


def excess(block: Block, lanes: np.ndarray) -> int:
    return sum(max(0, len(lane) - FAN_IN) for lane in lanes_of(block, lanes))


@settings(max_examples=50)
@given(annealing_blocks.blocks(), st.integers(0, 99), st.sampled_from([1, 5, 99, 100, 101, 250, 1000]))
def test_a_trace_goes_from_the_start_to_the_end(block: Block, seed: int, steps: int) -> None:
    schedule = TemperatureSchedule(steps=steps, moves_per_weight=200)
    found = anneal(block, AnnealSettings(FAN_IN, schedule, np.random.SeedSequence(seed)))
    moves, costs, excesses = found.trace.T.tolist()
    assert (moves[0], costs[0], excesses[0]) == (
        0,
        cost(block, block.lanes, FAN_IN),
        excess(block, block.lanes),
    )
    assert moves[-1] == found.moves
    assert all(earlier <= later for earlier, later in pairwise(moves))
    assert len(moves) <= 102
    assert min(costs) >= cost(block, found.lanes, FAN_IN)
    if not found.cut_short and found.moves == 200 * block.weights:
        assert len(moves) == 1 + min(100, steps, found.moves)


def test_a_trace_does_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    block = annealing_blocks.block([6, 6, 4], [[0, 0, 1, 2], [0, 1, 3, 4], [2, 3, 4, 5]], inputs=12, seed=1)
    schedule = TemperatureSchedule(steps=300, moves_per_weight=40)
    with_many = anneal(block, AnnealSettings(FAN_IN, schedule, np.random.SeedSequence(3)))
    monkeypatch.setattr("tightc.permutation.annealing.anneal._TRACED", 1)
    with_few = anneal(block, AnnealSettings(FAN_IN, schedule, np.random.SeedSequence(3)))
    assert len(with_few.trace) < len(with_many.trace)
    assert with_few.lanes.tolist() == with_many.lanes.tolist()
    assert with_few.columns.tolist() == with_many.columns.tolist()


def annealed(carried: list[int], *trace: tuple[int, int, int]) -> Annealed:
    nothing = np.empty(0, np.int32)
    return Annealed(
        nothing, nothing, np.array(carried, np.int32), trace=np.array(trace, np.int64).reshape(-1, 3)
    )


def points(curve: AnnealingCurve) -> list[tuple[int, float, int]]:
    return list(zip(curve.moves.tolist(), curve.cost.tolist(), curve.excess.tolist(), strict=True))


def test_blocks_add_up_and_the_last_point_is_what_was_kept() -> None:
    recorder = CurveRecorder(FAN_IN)
    long = annealed([3, 2], (0, 40, 8), (10, 20, 3), (20, 12, 1))  # kept: 5 inputs and 1 beyond: 9 quarters
    short = annealed([2], (0, 8, 1), (4, 6, 0))  # kept: 2 quarters
    recorder.add([0, 1], [long, short])
    assert points(recorder.curve()) == [(0, 12.0, 9), (14, 5.5, 3), (24, 2.75, 1)]


def test_a_block_that_is_annealed_again_starts_again_while_the_others_stay() -> None:
    recorder = CurveRecorder(FAN_IN)
    recorder.add([0, 1], [annealed([3], (0, 9, 2), (5, 7, 1)), annealed([1], (0, 3, 0), (5, 1, 0))])
    recorder.add([0], [annealed([2, 2], (0, 12, 2), (7, 5, 0))])
    assert points(recorder.curve())[-2:] == [(10, 3.25, 2), (17, 1.25, 0)]


@pytest.mark.parametrize(("carried", "kept"), [([4, 4], (20, 2.75, 1)), ([2, 2], (20, 1.0, 0))])
def test_of_a_second_try_with_more_moves_the_better_is_kept(
    carried: list[int], kept: tuple[int, float, int]
) -> None:
    recorder = CurveRecorder(FAN_IN)
    recorder.add([0], [annealed([3, 2, 2], (0, 30, 5), (10, 11, 1))])
    recorder.add([0], [annealed(carried, (0, 30, 5), (10, 24, 4))], best=True)
    assert points(recorder.curve())[-1] == kept


def test_a_block_that_no_worker_annealed_is_as_it_starts() -> None:
    recorder = CurveRecorder(FAN_IN)
    recorder.add([0], [annealed([3, 1])])
    assert points(recorder.curve()) == [(0, 2.0, 1)]


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 700), st.integers(0, 10**6)), min_size=1, max_size=300))
def test_a_model_has_at_most_500_points_with_the_ends_of_every_curve(layers: list[tuple[int, int]]) -> None:
    curves = {
        f"w{i}": AnnealingCurve(np.arange(n), np.arange(n)[::-1] / 4, np.zeros(n, np.int64))
        for i, (n, _) in enumerate(layers)
    }
    found = thin(curves, {f"w{i}": weight for i, (_, weight) in enumerate(layers)})
    assert sum(len(entry["moves"]) for entry in found.values()) <= 500
    assert len(found) == min(len(layers), 250)
    for name, entry in found.items():
        given_ones = curves[name].moves.tolist()
        assert (entry["moves"][0], entry["moves"][-1]) == (given_ones[0], given_ones[-1])
        assert entry["cost"] == [(given_ones[-1] - moves) / 4 for moves in entry["moves"]]
    largest = max(layers, key=lambda layer: layer[1])[1]
    assert any(layers[int(name[1:])][1] == largest for name in found)


def permuted(options: PermuteOptions = OPTIONS, form: str = "cnn") -> tuple[Model, list[dict[str, object]]]:
    model, report = permute(loaded(models.FORMS[form]()), options, seed=4)
    return model, [dict(row) for row in report.layers]


def test_permute_records_the_curves_that_it_reports() -> None:
    model, rows = permuted()
    recorded = read_annealing(model)
    assert list(recorded.values()) == [row["annealing"] for row in rows if "annealing" in row]
    assert recorded
    packings = read_packings(model)
    for weight, curve in recorded.items():
        assert curve["excess"][-1] == 0
        lanes = sum(len(tile.inputs) for tile in packings[weight].tiles)
        assert curve["cost"][-1] == lanes / 4


@pytest.mark.parametrize("method", ["first-fit", "structured", "dense"])
def test_what_is_not_annealed_has_no_curve(method: str) -> None:
    model, rows = permuted(OPTIONS.model_copy(update={"method": method}))
    assert read_annealing(model) == {}
    assert get_property(model.proto, ANNEALING) is None
    assert not any("annealing" in row for row in rows)


def test_curves_are_the_same_for_any_number_of_threads_and_those_of_the_chosen_fan_in() -> None:
    serial, _ = permuted()
    threads, _ = permuted(OPTIONS.model_copy(update={"jobs": 3}))
    assert get_property(threads.proto, ANNEALING) == get_property(serial.proto, ANNEALING)
    automatic, _ = permuted(OPTIONS.model_copy(update={"fan_in": "auto"}))
    fan_in = max(packing.fan_in for packing in read_packings(automatic).values())
    chosen, _ = permuted(OPTIONS.model_copy(update={"fan_in": fan_in}))
    assert read_annealing(automatic) == read_annealing(chosen) != {}


def test_pack_and_prune_leave_curves_out_and_permute_replaces_them() -> None:
    model, _ = permuted()
    packed, _ = pack(model)
    assert get_property(packed.proto, ANNEALING) is None
    assert read_annealing(unpack(packed)[0]) == {}
    pruned, _ = prune(model, PruneOptions(sparsity=0.9))
    assert get_property(pruned.proto, ANNEALING) is None
    again, _ = permute(model, OPTIONS.model_copy(update={"method": "dense"}))
    assert get_property(again.proto, ANNEALING) is None
