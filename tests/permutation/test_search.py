"""The search for one layer, from matrix to tiles: lossless, never worse than what needs no search, repeatable."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import models
import oracle
from packings import arrange, arrays, matrices, task
from tightc.model.file import load_model_bytes
from tightc.permutation import block as block_module
from tightc.permutation import search
from tightc.permutation.crew import Alone, Pace, Threads
from tightc.permutation.methods import tight
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.permutation.schedule import Schedule
from tightc.permutation.task import Objective, Task
from tightc.tiles.array import ArrayShape
from tightc.tiles.matrix import LayerMatrix
from tightc.tiles.packing import Packing

TESTS = Path(__file__).parents[1]
FAN_INS = st.sampled_from([1, 2, 3, 16])
OBJECTIVES = st.sampled_from(["passes", "area", "inputs", "cycles"])
EMPTY_LAYER = LayerMatrix(np.zeros((3, 4), np.float32))
ONE_ROW = LayerMatrix(np.ones((1, 9), np.float32))
ONE_COLUMN = LayerMatrix(np.ones((9, 1), np.float32))
FULL = LayerMatrix(np.ones((7, 7), np.float32))
DIAGONAL = LayerMatrix(np.eye(9, dtype=np.float32))


def random_matrix(filters: int, inputs: int, density: float, seed: int = 0) -> LayerMatrix:
    """Zeros scattered as magnitude pruning scatters them: some filters and inputs keep more than others."""
    rng = np.random.default_rng(seed)
    scales = np.exp(0.4 * rng.normal(size=(filters, 1))) * np.exp(0.4 * rng.normal(size=(1, inputs)))
    return LayerMatrix((rng.random((filters, inputs)) < density * scales).astype(np.float32))


def check(packing: Packing, matrix: LayerMatrix, asked: Task) -> None:
    """Every weight has one slot, no zero has any, and no lane carries more than it may."""
    assert packing.fan_in in (1, asked.fan_in)
    tiles, nonzero = oracle.plain(packing), matrix.values != 0
    array = tuple(asked.array)
    assert oracle.packing_faults(tiles, matrix.values, matrix.groups, array, packing.fan_in, nonzero) == []


def key(packing: Packing, objective: Objective) -> int:
    return {
        "passes": len(packing.tiles),
        "cycles": len(packing.tiles),
        "area": sum(tile.area for tile in packing.tiles),
        "inputs": sum(len(tile.inputs) for tile in packing.tiles),
    }[objective]


def arrays_of(packing: Packing) -> list[list[int]]:
    return [
        getattr(tile, name).ravel().tolist()
        for tile in packing.tiles
        for name in ("filters", "lane_starts", "inputs", "select")
    ]


@settings(max_examples=200)
@given(matrices(), arrays(), FAN_INS, OBJECTIVES, st.integers(0, 99))
@example(EMPTY_LAYER, ArrayShape(2, 2), 1, "passes", 0)
@example(ONE_ROW, ArrayShape(4, 4), 1, "area", 0)
@example(ONE_COLUMN, ArrayShape(4, 4), 1, "inputs", 0)
@example(FULL, ArrayShape(4, 40), 2, "cycles", 0)
@example(DIAGONAL, ArrayShape(40, 4), 1, "passes", 0)
def test_every_search_is_lossless_within_the_fan_in(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, objective: Objective, seed: int
) -> None:
    asked = task(array, fan_in, seed, objective=objective)
    check(tight.pack(matrix, asked), matrix, asked)


@settings(max_examples=60)
@given(matrices(), arrays(), FAN_INS, st.sampled_from(["adaptive", "lundy-mees", "tempering"]), st.booleans())
def test_any_schedule_and_any_cut_into_blocks_is_lossless(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, kind: str, small: bool
) -> None:
    schedule = Schedule(kind=kind, t_start="auto", steps=3, moves_per_weight=10, reheats=1, replicas=2)
    asked = replace(task(array, fan_in), schedule=schedule)
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(block_module, "_LEAST_TILES", 1)
            patch.setattr(block_module, "_LARGEST_COUNTS", 1)
        check(tight.pack(matrix, asked), matrix, asked)


@settings(max_examples=150)
@given(matrices(), arrays(), FAN_INS, st.integers(0, 99))
@example(random_matrix(31, 17, 0.3), ArrayShape(1, 6), 1, 67)
@example(random_matrix(26, 23, 0.6), ArrayShape(6, 2), 1, 138)
def test_it_never_takes_more_passes_than_what_needs_no_search(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, seed: int
) -> None:
    passes = len(arrange(matrix, "tight", array, fan_in, seed).tiles)
    assert passes <= len(arrange(matrix, "structured", array, fan_in).tiles)
    assert passes <= len(arrange(matrix, "first-fit", array, fan_in).tiles)


@settings(max_examples=60)
@given(matrices(), arrays(), st.integers(0, 99))
def test_it_takes_the_fewest_passes_where_fan_in_is_no_limit(
    matrix: LayerMatrix, array: ArrayShape, seed: int
) -> None:
    packing = arrange(matrix, "tight", array, 1000, seed)
    assert len(packing.tiles) == oracle.lower_bound(matrix.values, tuple(array))


@pytest.mark.parametrize(
    ("filters", "inputs", "density", "array", "fan_in"),
    [(64, 288, 0.1, (16, 16), 8), (32, 144, 0.1, (16, 16), 5), (40, 90, 0.3, (8, 8), 8), (64, 64, 0.1, (16, 16), 4)],
)  # fmt: skip
def test_each_objective_finds_the_least_of_what_it_is_for(
    filters: int, inputs: int, density: float, array: tuple[int, int], fan_in: int
) -> None:
    matrix = random_matrix(filters, inputs, density)
    schedule = Schedule(moves_per_weight=100)
    names: tuple[Objective, ...] = ("passes", "area", "inputs", "cycles")
    found = {}
    for name in names:
        asked = replace(task(ArrayShape(*array), fan_in, objective=name), schedule=schedule)
        found[name] = tight.pack(matrix, asked)
        check(found[name], matrix, asked)
    for name in names:
        assert key(found[name], name) == min(key(packing, name) for packing in found.values())
    assert key(found["area"], "area") < key(found["inputs"], "area")
    assert key(found["inputs"], "inputs") < key(found["area"], "inputs")


@pytest.mark.parametrize("limit", ["time", "stop"])
@pytest.mark.parametrize("objective", ["passes", "area", "inputs"])
def test_without_any_time_it_is_no_worse_than_what_needs_no_search(objective: Objective, limit: str) -> None:
    matrix = random_matrix(40, 90, 0.3)
    asked = task(ArrayShape(8, 8), 4, objective=objective)
    if limit == "time":
        asked = replace(asked, pace=Pace(0.0, 1))
    else:
        asked.stop.set()
    packing = tight.pack(matrix, asked)
    check(packing, matrix, asked)
    structured, first_fit = (
        key(arrange(matrix, name, ArrayShape(8, 8), 4), objective) for name in ("structured", "first-fit")
    )
    assert key(packing, objective) <= min(structured, first_fit)


def test_who_is_stopped_in_the_middle_keeps_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = random_matrix(64, 288, 0.1)
    asked = task(ArrayShape(16, 16), 3, objective="inputs")
    keys = []
    attempt = search.Search._attempt

    def stopping(self: search.Search, plan: object) -> object:
        excess = attempt(self, plan)  # type: ignore[arg-type]
        keys.append(sum(len(tile.inputs) for tile in self._best))
        if len(keys) == 3:
            asked.stop.set()
        return excess

    monkeypatch.setattr(search.Search, "_attempt", stopping)
    packing = tight.pack(matrix, asked)
    check(packing, matrix, asked)
    assert len(keys) == 3 and keys == sorted(keys, reverse=True)
    assert key(packing, "inputs") <= keys[-1]


SEARCH = """
import sys
sys.path.insert(0, sys.argv[1])
from test_search import arrays_of, random_matrix, task, tight, ArrayShape
from tightc.permutation import heights
heights._TRIES = (20, 20)
print(arrays_of(tight.pack(random_matrix(20, 60, 0.2), task(ArrayShape(6, 6), 3, objective="area"))))
"""


def test_the_tiles_are_the_same_without_jit() -> None:
    found = []
    for disabled in ("0", "1"):
        environment = {
            **os.environ,
            "NUMBA_DISABLE_JIT": disabled,
            "PYTHONPATH": str(TESTS),
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, "-B", "-c", SEARCH, str(TESTS / "permutation")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1] != "[]"


@pytest.mark.parametrize("objective", ["passes", "inputs"])
def test_threads_find_the_same_tiles_as_one(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_module, "_LEAST_TILES", 1)
    monkeypatch.setattr(block_module, "_LARGEST_COUNTS", 1)  # as many blocks as can be
    matrix = random_matrix(64, 288, 0.1)
    alone = tight.pack(matrix, replace(task(ArrayShape(16, 16), 4, objective=objective), crew=Alone()))
    with ThreadPoolExecutor(4) as pool:
        asked = replace(task(ArrayShape(16, 16), 4, objective=objective), crew=Threads(pool))
        threads = tight.pack(matrix, asked)
    assert arrays_of(alone) == arrays_of(threads)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(steps=5, moves_per_weight=30, restarts=1),
        Schedule(kind="tempering", t_start="auto", steps=5, moves_per_weight=30),
        Schedule(kind="adaptive", steps=5, moves_per_weight=30, reheats=1, seed=4),
    ],
    ids=lambda schedule: schedule.kind,
)
def test_a_model_is_the_same_to_the_bit_for_any_number_of_jobs(schedule: Schedule) -> None:
    proto = models.build(
        "net (float[1, 96] x) => (float[1, 10] y) { a = MatMul(x, u)\n b = MatMul(a, v)\n y = MatMul(b, w) }",
        u=models.sparse(96, 64, density=0.2),
        v=models.sparse(64, 80, density=0.3),
        w=models.sparse(80, 10, density=0.5),
    )
    model = load_model_bytes(proto.SerializeToString(), "net.onnx")
    options = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=schedule)
    results = [
        permute(model, options.model_copy(update={"jobs": jobs}), seed=5)[0].to_bytes() for jobs in (1, 2, 4)
    ]
    assert results[0] == results[1] == results[2]


def test_a_seed_in_the_schedule_replaces_that_of_the_stage() -> None:
    matrix = models.sparse(64, 80, density=0.3)
    proto = models.build("net (float[1, 64] x) => (float[1, 80] y) { y = MatMul(x, v) }", v=matrix)
    model = load_model_bytes(proto.SerializeToString(), "net.onnx")

    def tiles(seed: int, of_schedule: int | None) -> bytes:
        schedule = Schedule(steps=5, moves_per_weight=30, seed=of_schedule)
        options = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=schedule, jobs=1)
        permuted, _ = permute(model, options, seed=seed)
        return next(e.value for e in permuted.proto.metadata_props if "packing" in e.key).encode()

    assert tiles(1, 9) == tiles(2, 9) == tiles(9, None)
    assert tiles(1, None) != tiles(2, None)
