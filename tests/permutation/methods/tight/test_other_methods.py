"""The packings of other methods among which the search chooses: lossless, none too costly, none left out."""

from __future__ import annotations

import math
from concurrent.futures import CancelledError
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import oracle
from helpers.packings import PackingCase, arrays, check, matrices
from helpers.random_hardware import energy_tables, hardware_files
from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.accelerator.hardware import Hardware
from tightc.cost_model.gemm import GemmWorkload
from tightc.permutation.methods import column_combine
from tightc.permutation.methods.tight import other_methods
from tightc.permutation.packing_costs import PackingCosts
from tightc.permutation.problem import LossySettings
from tightc.permutation.search_context import SearchContext
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing
from tightc.tile.store import from_stream, to_stream

FAN_INS = st.sampled_from([1, 2, 3, 8])
IN_BLOCKS = LayerMatrix(np.kron(np.eye(3), np.ones((2, 2))).astype(np.float32))
DIAGONAL = LayerMatrix(np.eye(5, dtype=np.float32))
HOLE = LayerMatrix(np.array([[1, 1, 1], [1, 0, 1], [1, 0, 0]], np.float32).T)
TINY = ArrayShape(2, 2)


def nonzero(matrix: LayerMatrix) -> bool:
    return bool(matrix.values.any())


def all_of_them(matrix: LayerMatrix, case: PackingCase, most_passes: float = math.inf) -> list[Packing]:
    return list(
        other_methods.packings_of_other_methods(matrix, case.problem(matrix), case.context, most_passes)
    )


def slots(packing: Packing) -> list[object]:
    return [packing.method, packing.fan_in, oracle.plain(packing)]


@settings(max_examples=200)
@given(matrices().filter(nonzero), arrays(), FAN_INS, st.integers(1, 16))
def test_each_is_a_lossless_packing_within_the_fan_in(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, alpha: int
) -> None:
    case = PackingCase(array, fan_in, lossy=LossySettings(alpha))
    found = all_of_them(matrix, case)
    assert {packing.method for packing in found} == {"tight", "dense", "structured"}
    for packing in found:
        check(packing, matrix, case)
        stored = replace(packing, tiles=from_stream(to_stream(packing)))
        assert slots(stored) == slots(packing)


@settings(max_examples=300)
@given(matrices().filter(nonzero), arrays(), FAN_INS, st.integers(1, 16))
@example(IN_BLOCKS, TINY, 1, 1)
@example(IN_BLOCKS, TINY, 2, 1)
@example(DIAGONAL, ArrayShape(1, 1), 1, 1)
@example(DIAGONAL, ArrayShape(3, 1), 2, 2)
def test_none_of_few_passes_is_left_out(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, alpha: int
) -> None:
    case = PackingCase(array, fan_in, lossy=LossySettings(alpha))
    every = all_of_them(matrix, case)
    for most in sorted({len(packing.tiles) for packing in every}):
        found = [slots(packing) for packing in all_of_them(matrix, case, most)]
        for packing in every:
            assert len(packing.tiles) > most or slots(packing) in found


@settings(max_examples=300)
@given(matrices().filter(nonzero), arrays(), st.integers(1, 8))
@example(IN_BLOCKS, TINY, 1)
@example(DIAGONAL, ArrayShape(1, 1), 1)
def test_column_combining_takes_no_fewer_passes_than_its_bound(
    matrix: LayerMatrix, array: ArrayShape, alpha: int
) -> None:
    problem = PackingCase(array, alpha, lossy=LossySettings(alpha)).problem(matrix)
    packing = column_combine.pack(matrix, problem, context=SearchContext())
    assert other_methods._combined_passes(matrix, problem, alpha) <= len(packing.tiles)


def test_the_bound_of_column_combining_is_what_full_lanes_take() -> None:
    problem = PackingCase(ArrayShape(4, 5), 2).problem(LayerMatrix(np.ones((10, 12), np.float32)))
    full = LayerMatrix(np.ones((10, 12), np.float32))
    assert (
        other_methods._combined_passes(full, problem, 2) == 3 * 2
    )  # one weight of a filter on each of 12 lanes
    spread = np.zeros((10, 12), np.float32)
    spread[np.arange(120) % 10, np.arange(120) // 10] = np.arange(120) % 5 == 0
    assert (
        other_methods._combined_passes(LayerMatrix(spread), problem, 2) == 3
    )  # two filters of all 12 inputs


@settings(max_examples=200)
@given(
    matrices().filter(nonzero),
    st.one_of(st.builds(Accelerator, arrays()), hardware_files(3).map(Accelerator.of)),
    st.integers(1, 30),
    energy_tables(),
)
@example(HOLE, Accelerator(ArrayShape(1, 3)), 1, default_table())
@example(HOLE, Accelerator(ArrayShape(3, 3)), 9, default_table())
def test_one_costs_no_more_than_the_structured_packing(
    matrix: LayerMatrix, accelerator: Accelerator, vectors: int, table: EnergyTable
) -> None:
    gemm = GemmWorkload(matrix.filters_per_group, matrix.inputs, matrix.groups, vectors)
    costs = PackingCosts(gemm, accelerator, table)
    case = PackingCase(accelerator.array, 1)
    structured = costs.of(case.pack(matrix, "structured"))
    found = all_of_them(matrix, case)
    emptied = costs.of(found[0])
    assert emptied.cycles <= structured.cycles or math.isinf(structured.cycles)
    assert min(costs.of(packing).energy_pj for packing in found) <= structured.energy_pj


def test_there_are_none_for_subwords() -> None:
    matrix = LayerMatrix(np.array([[3, 0], [0, 17]], np.int8), subword_bits=4)
    assert all_of_them(matrix, PackingCase()) == []


def test_an_interrupt_ends_them_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Packing:
        raise CancelledError

    monkeypatch.setattr(column_combine, "pack", interrupted)
    found = all_of_them(IN_BLOCKS, PackingCase(TINY))
    assert [packing.method for packing in found] == ["tight", "structured", "dense"]


@settings(max_examples=40)
@given(
    matrices().filter(nonzero), hardware_files(2, largest=3), st.sampled_from(["passes", "area", "inputs"])
)
def test_tiles_that_the_hardware_cannot_run_are_not_chosen(
    matrix: LayerMatrix, hardware: Hardware, objective: str
) -> None:
    least = {
        "size": f"{4 * hardware.array.columns} B",
        "bandwidth": "8 words/cycle",
        "double_buffered": False,
    }
    narrow = Hardware.model_validate({**hardware.model_dump(), "partial_sum_buffer": least})
    gemm = GemmWorkload(matrix.filters_per_group, matrix.inputs, matrix.groups, 3)
    case = PackingCase(narrow.array, 2, objective=objective)  # type: ignore[arg-type]
    costs = PackingCosts(gemm, Accelerator.of(narrow), case.problem(matrix).costs.table)  # type: ignore[union-attr]
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(PackingCosts, "ideal", lambda *_: costs)
        found = case.pack(matrix)
    assert costs.of(found).cycles < math.inf
