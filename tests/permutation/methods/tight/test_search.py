"""The search for one layer, from matrix to tiles: lossless, never worse than what needs no search, repeatable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import oracle
from helpers import annealing_blocks, models
from helpers.loading import loaded
from helpers.packings import QUICK, PackingCase, arrays, check, matrices, packed_layer
from tightc.cli.main import run
from tightc.deadline import Deadline, TimeShare
from tightc.model.file import Model
from tightc.permutation.annealing.anneal import Annealed
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.executors.executor import BlockJob, SerialExecutor, ThreadExecutor
from tightc.permutation.methods.tight import partition, search
from tightc.permutation.objective import Objective
from tightc.permutation.options import PermuteOptions
from tightc.permutation.packing_costs import PackingCosts
from tightc.permutation.permute import permute
from tightc.permutation.problem import LossySettings
from tightc.permutation.search_context import SearchContext
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing, Tile

TESTS = Path(__file__).parents[3]
FAN_INS = st.sampled_from([1, 2, 3, 16])
OBJECTIVES = st.sampled_from(["passes", "area", "inputs", "cycles", "replicated-cycles", "energy"])
VECTORS = st.sampled_from([1, 5, 49, 1024])
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


def key(packing: Packing, objective: Objective, matrix: LayerMatrix, vectors: int = 1) -> tuple[float, ...]:
    """What the objective makes small, first things first."""
    costs = PackingCosts.ideal(matrix, packing.array, vectors)
    cycles, energy = (costs.replicating() if objective == "replicated-cycles" else costs).of(packing)
    figures: dict[str, float] = {
        "passes": len(packing.tiles),
        "area": sum(tile.area for tile in packing.tiles),
        "inputs": sum(len(tile.inputs) for tile in packing.tiles),
        "cycles": cycles,
        "replicated-cycles": cycles,
        "energy": energy,
    }
    if packing.method != "dense":
        assert cycles == sum(
            cycles_of(tile, packing.array, vectors, copied=objective == "replicated-cycles")
            for tile in packing.tiles
        )
    if objective == "energy":
        return (energy,)
    between = () if objective in ("passes", "cycles", "replicated-cycles") else (figures["passes"],)
    return (figures[objective], *between, energy)


def cycles_of(tile: Tile, array: ArrayShape, vectors: int, *, copied: bool) -> int:
    """Of a tile that stands on the diagonal as often as it fits, each copy for a part of the vectors."""
    lanes, columns = tile.select.shape
    copies = 1
    while (
        copied
        and copies < vectors
        and (copies + 1) * lanes <= array.rows
        and (copies + 1) * columns <= array.columns
    ):
        copies += 1
    most = -(-vectors // copies)
    return array.rows + most + array.rows + array.columns - 2


def arrays_of(packing: Packing) -> list[list[int]]:
    return [
        getattr(tile, name).ravel().tolist()
        for tile in packing.tiles
        for name in ("filters", "lane_starts", "inputs", "select")
    ]


@settings(max_examples=200)
@given(matrices(), arrays(), FAN_INS, OBJECTIVES, VECTORS, st.integers(0, 99))
@example(EMPTY_LAYER, ArrayShape(2, 2), 1, "passes", 1, 0)
@example(EMPTY_LAYER, ArrayShape(4, 4), 1, "replicated-cycles", 9, 0)
@example(EMPTY_LAYER, ArrayShape(2, 2), 1, "energy", 1, 0)
@example(ONE_ROW, ArrayShape(4, 4), 1, "area", 1, 0)
@example(ONE_ROW, ArrayShape(40, 40), 1, "replicated-cycles", 1024, 0)
@example(ONE_COLUMN, ArrayShape(4, 4), 1, "inputs", 1, 0)
@example(ONE_COLUMN, ArrayShape(1, 1), 1, "replicated-cycles", 49, 0)
@example(FULL, ArrayShape(4, 40), 2, "cycles", 1, 0)
@example(FULL, ArrayShape(16, 16), 2, "replicated-cycles", 5, 0)
@example(DIAGONAL, ArrayShape(40, 4), 1, "passes", 1, 0)
@example(DIAGONAL, ArrayShape(40, 4), 1, "energy", 1, 0)
def test_every_search_is_lossless_within_the_fan_in(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, objective: Objective, vectors: int, seed: int
) -> None:
    case = PackingCase(array, fan_in, seed, objective=objective, vectors=vectors)
    check(case.pack(matrix), matrix, case)


@settings(max_examples=60)
@given(matrices(), arrays(), FAN_INS, st.sampled_from([0.03, 0.3, 50.0]), st.integers(1, 40), st.booleans())
def test_any_schedule_and_any_cut_into_blocks_is_lossless(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, start: float, steps: int, small: bool
) -> None:
    schedule = TemperatureSchedule(t_start=start, steps=steps, moves_per_weight=10)
    case = PackingCase(array, fan_in, schedule=schedule)
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(partition, "_LEAST_TILES", 1)
            patch.setattr(partition, "_LARGEST_COUNTS", 1)
        check(case.pack(matrix), matrix, case)


@settings(max_examples=150)
@given(matrices(), arrays(), FAN_INS, st.integers(0, 99))
@example(random_matrix(31, 17, 0.3), ArrayShape(1, 6), 1, 67)
@example(random_matrix(26, 23, 0.6), ArrayShape(6, 2), 1, 138)
def test_it_never_takes_more_passes_than_what_needs_no_search(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, seed: int
) -> None:
    passes = len(packed_layer(matrix, "tight", array, fan_in, seed).tiles)
    assert passes <= len(packed_layer(matrix, "structured", array, fan_in).tiles)
    assert passes <= len(packed_layer(matrix, "first-fit", array, fan_in).tiles)


@settings(max_examples=60)
@given(matrices(), arrays(), st.integers(0, 99))
def test_it_takes_the_fewest_passes_where_fan_in_is_no_limit(
    matrix: LayerMatrix, array: ArrayShape, seed: int
) -> None:
    packing = packed_layer(matrix, "tight", array, 1000, seed)
    assert len(packing.tiles) == oracle.lower_bound(matrix.values, tuple(array))


@pytest.mark.parametrize(
    ("filters", "inputs", "density", "array", "fan_in"),
    [(64, 288, 0.1, (16, 16), 8), (32, 144, 0.1, (16, 16), 5), (40, 90, 0.3, (8, 8), 8), (64, 64, 0.1, (16, 16), 4)],
)  # fmt: skip
def test_each_objective_finds_the_least_of_what_it_is_for(
    filters: int, inputs: int, density: float, array: tuple[int, int], fan_in: int
) -> None:
    matrix = random_matrix(filters, inputs, density)
    schedule = TemperatureSchedule(moves_per_weight=100)
    names: tuple[Objective, ...] = ("passes", "area", "inputs", "cycles", "replicated-cycles", "energy")
    found = {}
    for name in names:
        case = PackingCase(ArrayShape(*array), fan_in, objective=name, schedule=schedule, vectors=400)
        found[name] = case.pack(matrix)
        check(found[name], matrix, case)
    for name in names:
        least = key(found[name], name, matrix, 400)
        for other in ("passes", name):  # all that the search for passes tries, the others try too
            assert least <= key(found[other], name, matrix, 400)
    assert key(found["area"], "area", matrix) < key(found["inputs"], "area", matrix)
    assert key(found["inputs"], "inputs", matrix) < key(found["area"], "inputs", matrix)
    assert key(found["energy"], "energy", matrix) < key(found["inputs"], "energy", matrix)


@settings(max_examples=200)
@given(matrices(), arrays(), st.sampled_from([1, 2, 3, 8, 16]), OBJECTIVES, VECTORS, st.integers(0, 99))
def test_no_other_method_is_better_at_what_it_minimizes(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, objective: Objective, vectors: int, seed: int
) -> None:
    case = PackingCase(array, fan_in, seed, objective=objective, vectors=vectors)
    own = key(case.pack(matrix), objective, matrix, vectors)
    for name in ("dense", "structured", *(("first-fit",) if objective != "passes" else ())):
        assert own <= key(case.pack(matrix, name), objective, matrix, vectors), name
    for alpha in {min(8, fan_in), fan_in}:
        combined = replace(case, lossy=LossySettings(alpha)).pack(matrix, "column-combine")
        assert own <= key(combined, objective, matrix, vectors), alpha
    if objective in ("cycles", "replicated-cycles", "energy"):
        assert own <= key(replace(case, objective="passes").pack(matrix), objective, matrix, vectors)


@pytest.mark.parametrize(
    ("filters", "inputs", "steps"),
    [(2, 4, 1024 // 4), (1, 16, 1024 // 4), (2, 16, 1024 // 2), (1, 1, 1024 // 16)],
    ids=["2 x 4 lanes and columns, or 4 x 2", "4 x 4", "8 x 4, or 4 x 8", "1 x 1"],
)
def test_small_tiles_are_replicated_as_often_as_they_fit(filters: int, inputs: int, steps: int) -> None:
    case = PackingCase(ArrayShape(16, 16), 4, objective="replicated-cycles", vectors=1024)
    packing = case.pack(LayerMatrix(np.ones((filters, inputs), np.float32)))
    matrix = LayerMatrix(np.ones((filters, inputs), np.float32))
    assert key(packing, "replicated-cycles", matrix, 1024)[0] == 16 + steps + 16 + 16 - 2


def test_replicated_cycles_depend_on_the_vectors() -> None:
    matrix = random_matrix(20, 60, 0.2)
    found = []
    for vectors in (1, 4096):
        case = PackingCase(ArrayShape(16, 16), 8, objective="replicated-cycles", vectors=vectors)
        found.append(case.pack(matrix))
        check(found[-1], matrix, case)
    one, many = found
    assert len(one.tiles) < len(many.tiles)
    assert key(many, "replicated-cycles", matrix, 4096) < key(one, "replicated-cycles", matrix, 4096)
    assert key(one, "replicated-cycles", matrix, 1) < key(many, "replicated-cycles", matrix, 1)


@pytest.mark.parametrize("limit", ["time", "interrupt"])
@pytest.mark.parametrize("objective", ["passes", "area", "inputs", "replicated-cycles", "energy"])
def test_without_any_time_it_is_no_worse_than_what_needs_no_search(objective: Objective, limit: str) -> None:
    matrix = random_matrix(40, 90, 0.3)
    deadline = Deadline(0.0 if limit == "time" else np.inf)
    if limit == "interrupt":
        deadline.interrupt()
    context = SearchContext(time=TimeShare(deadline))
    case = PackingCase(ArrayShape(8, 8), 4, objective=objective, vectors=49, context=context)
    packing = case.pack(matrix)
    check(packing, matrix, case)
    structured, first_fit = (
        key(packed_layer(matrix, name, ArrayShape(8, 8), 4), objective, matrix, 49)
        for name in ("structured", "first-fit")
    )
    assert key(packing, objective, matrix, 49) <= min(structured, first_fit)


def test_an_interrupt_in_the_middle_keeps_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = random_matrix(64, 288, 0.1)
    case = PackingCase(ArrayShape(16, 16), 3, objective="inputs")
    keys = []
    attempt = search.TightSearch._attempt

    def stopping(self: search.TightSearch, plan: object) -> object:
        excess = attempt(self, plan)  # type: ignore[arg-type]
        keys.append(sum(len(tile.inputs) for tile in self._tiles))
        if len(keys) == 3:
            case.context.time.deadline.interrupt()
        return excess

    monkeypatch.setattr(search.TightSearch, "_attempt", stopping)
    packing = case.pack(matrix)
    check(packing, matrix, case)
    assert len(keys) == 3 and keys == sorted(keys, reverse=True)
    assert sum(len(tile.inputs) for tile in packing.tiles) <= keys[-1]


SEARCH = """
import sys
sys.path.insert(0, sys.argv[1])
from test_search import ArrayShape, PackingCase, arrays_of, random_matrix
from tightc.permutation.methods.tight import tile_heights
tile_heights._TRIES = (20, 20)
case = PackingCase(ArrayShape(6, 6), 3, objective="area")
print(arrays_of(case.pack(random_matrix(20, 60, 0.2))))
"""


def test_the_tiles_are_the_same_without_jit() -> None:
    found = []
    for disabled in ("0", "1"):
        environment = {
            **os.environ,
            "NUMBA_DISABLE_JIT": disabled,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")]),
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, "-B", "-c", SEARCH, str(TESTS / "permutation" / "methods" / "tight")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1] != "[]"


@pytest.mark.parametrize("objective", ["passes", "inputs", "replicated-cycles", "energy"])
def test_threads_find_the_same_tiles_as_one(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "_LEAST_TILES", 1)
    monkeypatch.setattr(partition, "_LARGEST_COUNTS", 1)  # as many blocks as can be
    matrix = random_matrix(64, 288, 0.1)
    case = PackingCase(ArrayShape(16, 16), 4, objective=objective, vectors=49)
    serial = replace(case, context=SearchContext(SerialExecutor())).pack(matrix)
    with ThreadPoolExecutor(4) as pool:
        threads = replace(case, context=SearchContext(ThreadExecutor(pool, 4))).pack(matrix)
    assert arrays_of(serial) == arrays_of(threads)


@pytest.mark.parametrize(
    "schedule",
    [
        TemperatureSchedule(steps=5, moves_per_weight=30),
        TemperatureSchedule(t_start=5.0, t_end=5.0, steps=1, moves_per_weight=30),
        TemperatureSchedule(t_end=0.001, steps=50, moves_per_weight=100, seed=4),
    ],
    ids=["usual", "hot", "seed"],
)
@pytest.mark.parametrize("objective", ["passes", "replicated-cycles", "energy"])
def test_a_model_is_the_same_to_the_bit_for_any_number_of_jobs(
    schedule: TemperatureSchedule, objective: Objective
) -> None:
    proto = models.build(
        "net (float[1, 96] x) => (float[1, 10] y) { a = MatMul(x, u)\n b = MatMul(a, v)\n y = MatMul(b, w) }",
        u=models.sparse(96, 64, density=0.2),
        v=models.sparse(64, 80, density=0.3),
        w=models.sparse(80, 10, density=0.5),
    )
    model = loaded(proto)
    options = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=schedule, objective=objective)
    results = [
        permute(model, options.model_copy(update={"jobs": jobs}), seed=5)[0].to_bytes() for jobs in (1, 2, 4)
    ]
    assert results[0] == results[1] == results[2]


def test_a_seed_in_the_schedule_replaces_that_of_the_stage() -> None:
    matrix = models.sparse(64, 80, density=0.3)
    proto = models.build("net (float[1, 64] x) => (float[1, 80] y) { y = MatMul(x, v) }", v=matrix)
    model = loaded(proto)

    def tiles(seed: int, of_schedule: int | None) -> bytes:
        schedule = TemperatureSchedule(steps=5, moves_per_weight=30, seed=of_schedule)
        options = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=schedule, jobs=1)
        permuted, _ = permute(model, options, seed=seed)
        return next(e.value for e in permuted.proto.metadata_props if "packing" in e.key).encode()

    assert tiles(1, 9) == tiles(2, 9) == tiles(9, None)
    assert tiles(1, None) != tiles(2, None)


# --- the new objectives as a user meets them


def open_sizes() -> Model:
    """A model whose image is of open size."""
    proto = models.cnn()
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    return loaded(proto)


def test_cycles_of_open_sizes_are_those_of_an_assumed_one() -> None:
    options = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=QUICK, jobs=1)
    for objective in ("replicated-cycles", "cycles", "energy"):
        _, report = permute(open_sizes(), options.model_copy(update={"objective": objective}))
        assert any("the size of input image is open (Bx3xsidexside)" in note for note in report.notes)
    assert not any("is open" in note for note in permute(open_sizes(), options)[1].notes)


def test_objectives_that_count_vectors_need_a_size_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    matrix = models.sparse(21, 4)  # 3 x 7: no tried size is 7
    proto = models.build(
        "net (float[1, 3, S] x) => (float[1, 4] y) { f = Flatten(x)\n y = MatMul(f, w) }", w=matrix
    )
    models.save(proto, tmp_path / "net.onnx")
    for objective in ("replicated-cycles", "cycles", "energy"):
        assert run(["permute", "net.onnx", "--objective", objective, "-o", "out.onnx"]) == 2
        assert capsys.readouterr() == (
            "",
            "tightc: error: net.onnx: the size of input x is open (1x3xS); give --input-shape x=1x3x224x224, with your "
            "numbers\n",
        )
    assert sorted(os.listdir()) == ["net.onnx"]
    given = ["--objective", "energy", "--input-shape", "x=1x3x7", "--quiet"]
    assert run(["permute", "net.onnx", *given, "-o", "out.onnx"]) == 0
    assert run(["permute", "net.onnx", "--quiet", "-o", "passes.onnx"]) == 0


@pytest.mark.parametrize("objective", ["replicated-cycles", "energy"])
def test_a_model_without_weights_or_without_time_is_arranged_all_the_same(objective: Objective) -> None:
    proto = models.build(
        "net (float[1, 8] x) => (float[1, 6] y) { a = MatMul(x, v)\n y = MatMul(a, w) }",
        v=np.zeros((8, 8), np.float32),
        w=models.sparse(8, 6),
    )
    model = loaded(proto)
    options = PermuteOptions(
        array=ArrayShape(8, 4), fan_in=3, temp_schedule=QUICK, jobs=1, objective=objective
    )
    for limit in (1e-9, 60.0):
        _, report = permute(model, options.model_copy(update={"time_limit": limit}))
        assert report.totals["dropped_weights"] == 0
        assert report.layers[0]["passes"] == 0 < report.layers[1]["passes"]


def search_of(matrix: LayerMatrix, case: PackingCase) -> search.TightSearch:
    return search.TightSearch(matrix, case.problem(matrix), case.settings, case.context)


@pytest.mark.parametrize("excess", [1, 2, 40])
def test_passes_with_a_single_input_too_many_are_not_enough(
    excess: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def balanced(_search: search.TightSearch, passes: int) -> int:
        tried.append(passes)
        return excess if len(tried) == 1 else 0

    monkeypatch.setattr(search.TightSearch, "_fits_the_bound", lambda *_: False)
    monkeypatch.setattr(search.TightSearch, "_try_balanced", balanced)
    case = PackingCase(ArrayShape(4, 4), 2)
    one = search_of(random_matrix(64, 64, 0.3), case)
    monkeypatch.setattr(one, "_bound", 3)
    monkeypatch.setattr(one, "_least", 3)
    monkeypatch.setattr(one, "_fill_tile_by_tile", lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "passes_for", lambda *_: (4, 5))  # more than the bound: no plan of least area
        one._search()
    # as many more as hold what is left over, or halfway to what is known to fit; then fewer, down to what failed
    first = max(5, 4 + -(-excess // (2 * 4)), (4 + 5) // 2)
    assert tried == {5: [4, 5], 9: [4, 9, 8, 7, 6, 5]}[first]


def test_a_search_that_ends_at_the_bound_still_offers_what_needs_no_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where time is up, first-fit may take as few passes and less area than what the search had by then."""
    matrix = LayerMatrix(np.diag([1, 1, 0, 0]).astype(np.float32))
    case = PackingCase(ArrayShape(4, 4), 4)
    one = search_of(matrix, case)
    wasteful, over = tile_on_diagonal(2, 4), list[bool]()

    def found_and_ended(_search: search.TightSearch) -> None:
        one._offer(one._packing([wasteful]))
        over.append(True)

    monkeypatch.setattr(SearchContext, "ended", lambda *_: bool(over))
    monkeypatch.setattr(search.TightSearch, "_search", found_and_ended)
    monkeypatch.setattr(one, "_ordinary", 9)
    assert sum(tile.area for tile in one.run().tiles) < wasteful.area


def tile_on_diagonal(weights: int, size: int) -> Tile:
    """A tile of `size` lanes and columns, the last ones empty."""
    select = np.full((size, size), EMPTY, np.int16)
    np.fill_diagonal(select[:weights, :weights], 0)
    ids = np.arange(size, dtype=np.int32)
    return Tile(ids, np.arange(size + 1, dtype=np.int32), ids, select)


@pytest.mark.parametrize(("excess", "tried"), [([0], 1), ([3, 0], 2), ([3, 1, 0], 3), ([3, 1, 1, 0], 3)])
def test_replicated_plans_are_tried_until_one_fits(
    excess: list[int], tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[object] = []

    def attempt(_search: search.TightSearch, plan: object) -> int:
        plans.append(plan)
        return excess[len(plans) - 1]

    one = search_of(random_matrix(8, 8, 0.5), PackingCase(objective="replicated-cycles", vectors=4))
    monkeypatch.setattr(search, "narrow_plan", lambda *_: None)
    monkeypatch.setattr(search, "replicated_plans", lambda *_: iter("abcd"))
    monkeypatch.setattr(search.TightSearch, "_attempt", lambda own, plan: attempt(own, plan) if plan else 0)
    one._beyond_passes()
    assert plans == list("abcd")[:tried]


@pytest.mark.parametrize(
    ("excess", "least", "heights"),
    [
        ([0, 0, 0, 0, 3, 0], 1, [4, 4]),  # 3 * 3 // (2 * 2) lanes more, where there is an excess
        ([0, 0, 0, 0, 0, 1], 1, [4, 3]),
        ([0, 0, 0, 0, 0, 1], 3, [4, 5]),
        ([1, 0, 4, 0, 0, 0], 2, [7, 2]),
        ([9, 9, 9, 9, 0, 0], 1, [8, 2]),  # no taller than the array
        ([0, 0, 0, 0, 0, 0], 1, [4, 2]),
    ],
)
def test_tiles_with_an_excess_get_taller_by_what_would_carry_it(
    excess: list[int], least: int, heights: list[int]
) -> None:
    one = search_of(random_matrix(8, 8, 0.5), PackingCase(ArrayShape(8, 4), 2))
    block = annealing_blocks.block([4, 2], [[0, 0, 1, 2], [0, 1]], inputs=6, seed=1)
    assert one._taller(block, np.array(excess), least).heights.tolist() == heights


def test_a_tile_of_full_height_with_an_excess_makes_all_others_taller() -> None:
    block = annealing_blocks.block([4, 2], [[0, 0, 1, 2], [0, 1]], inputs=6, seed=1)
    one = search_of(random_matrix(8, 8, 0.5), PackingCase(ArrayShape(4, 4), 2))
    assert one._taller(block, np.array([1, 0, 0, 0, 0, 0]), 1).heights.tolist() == [4, 3]
    full = annealing_blocks.block([4, 4], [[0, 0, 1, 2], [0, 1]], inputs=6, seed=1)
    assert one._taller(full, np.array([1] + [0] * 7), 1) is full


class FoundBlock:
    """Stands in for an annealed block of so many lanes and so much beyond the fan-in."""

    def __init__(self, lanes: int, excess: int) -> None:
        self.carried = np.zeros(lanes)
        self._excess = np.array([excess] + [0] * (lanes - 1))

    def excess(self, _fan_in: int) -> np.ndarray:
        return self._excess

    def cost(self, _fan_in: int) -> int:
        return int(self._excess.sum())


@pytest.mark.parametrize(("others", "again"), [(20, [0]), (10, [])])
def test_only_blocks_that_nearly_fit_are_annealed_once_more(
    others: int, again: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = search_of(random_matrix(8, 8, 0.5), PackingCase(fan_in=10))
    annealed: list[int] = []

    def anneal(_blocks: list[object], numbers: list[int], times: int) -> list[FoundBlock]:
        annealed.extend(numbers)
        assert times > 1
        return [FoundBlock(10, 1) for _ in numbers]

    monkeypatch.setattr(one, "_anneal", anneal)
    # excess per lane 0.4, 0.6 and 0, where 0.5 is a twentieth of the fan-in; in all, 10 of 400 or of 300 inputs
    found = [FoundBlock(10, 4), FoundBlock(10, 6), FoundBlock(others, 0)]
    one._anneal_more([None] * 3, found)
    assert annealed == again
    assert [block.cost(10) for block in found] == ([1, 6, 0] if again else [4, 6, 0])


@pytest.mark.parametrize("ended", [[False, False], [False, True], [True, True]])
def test_a_block_that_was_cut_short_marks_the_layer(ended: list[bool]) -> None:
    class Ending(SerialExecutor):
        def anneal(self, jobs: Sequence[BlockJob]) -> list[Annealed]:
            return [replace(one, cut_short=end) for one, end in zip(super().anneal(jobs), ended, strict=True)]

    case = PackingCase(ArrayShape(8, 4), 2, context=SearchContext(executor=Ending()))
    one = search_of(random_matrix(8, 8, 0.5), case)
    blocks = [annealing_blocks.block([4, 2], [[0, 0, 1, 2], [0, 1]], inputs=6, seed=seed) for seed in (1, 2)]
    one._progress.begin(blocks)
    one._anneal(blocks, [0, 1], 1)
    assert case.context.cut_short is any(ended)
