"""Energy from events, by hand for one small layer, and its sensitivity to the table."""

from __future__ import annotations

from dataclasses import asdict, replace
from math import sqrt

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.config.yaml import parse_options
from tightc.cost_model.energy import PARTS, energy_pj
from tightc.cost_model.events import Events, count_events
from tightc.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.cost_model.memory import schedule_layer
from tightc.cost_model.passes import dense_passes
from tightc.tile.array import ArrayShape

TABLE = default_table()
KIB = 1024
# what the default table says, once more by hand: pJ
MULTIPLY_ADD = {1: 0.2 + 0.1, 4: 3.7 + 0.9}
REGISTER, LANE, LEVEL, SRAM, DRAM = 0.03, 0.1, 0.005, 10 / 8, 1300 / 8


def with_idle(**changes: str) -> EnergyTable:
    """The default table with another entry for idle PEs."""
    text = TABLE.model_dump(mode="json")
    text["idle_pe"] = {**text["idle_pe"], **changes}
    return parse_options(yaml.safe_dump(text), "e.yaml", EnergyTable)


UNGATED = with_idle(energy="0.25 pJ", up_to="0.5 pJ")


def accelerator_of(size: int, dram: float | None) -> Accelerator:
    """Buffers of 2, 128 and 32 KiB: half of, four times and twice the energy of the table's memory."""
    buffers = [BufferPort(size=kib * KIB, usable=kib * KIB) for kib in (2, 128, 32)]
    return Accelerator(
        ArrayShape(2, 2),
        operand_bytes=size,
        activations=buffers[0],
        weights=buffers[1],
        sums=buffers[2],
        dram_bytes_per_cycle=dram,
    )


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("dram", [None, 1.0])
def test_parts_by_hand(size: int, dram: float | None) -> None:
    # 2 filters x 3 inputs on 2x2, 4 vectors: a pass of 2 lanes and one of 1, both of 2 columns
    gemm, accelerator = GemmWorkload(2, 3, 1, 4, 1, FeatureMaps(12, 8)), accelerator_of(size, dram)
    passes = dense_passes("ws", gemm, accelerator.array)
    events = count_events(passes, gemm, accelerator, schedule_layer(passes, gemm, accelerator))
    from_dram = size * (12 + 6) if dram else 0
    expected = {
        "mac": 24 * MULTIPLY_ADD[size],
        "idle": 0.0,  # gated
        "multiplexer": 0.0,
        # activations and sums through 4 and 2 PEs for 4 vectors, weights through 3 x 2 PEs and 1 x 2
        "registers": (4 * 6 * (size + 4) + 8 * size) * REGISTER,
        "lanes": (4 * 3 + 6) * size * LANE,
        "activation_buffer": size * (4 * 3 + 8 + (12 + 8 if dram else 0)) * SRAM / 2,
        "weight_buffer": size * (6 + (6 if dram else 0)) * SRAM * 4,
        "partial_sum_buffer": 4 * 4 * (2 + 4 + 2) * SRAM * 2,
        "index": 0.0,
        "dram": (from_dram + (size * 8 if dram else 0)) * DRAM,
    }
    assert energy_pj(events, TABLE, accelerator) == pytest.approx(expected)


def test_multiplexers_and_index_by_hand() -> None:
    events = Events(multiplexer_bytes=200, index_bits=80)
    found = energy_pj(events, TABLE, accelerator_of(1, None))
    assert found == pytest.approx(
        {**dict.fromkeys(PARTS, 0.0), "multiplexer": 200 * LEVEL, "index": 10 * SRAM * 4}
    )


ONE_EACH = {name: 10**n for n, name in enumerate(asdict(Events()))}


@pytest.mark.parametrize(
    ("event", "part"),
    [
        ("idle_pe_cycles", "idle"),
        ("multiplexer_bytes", "multiplexer"),
        ("register_bytes", "registers"),
        ("lane_bytes", "lanes"),
        ("activation_buffer_bytes", "activation_buffer"),
        ("weight_buffer_bytes", "weight_buffer"),
        ("partial_sum_buffer_bytes", "partial_sum_buffer"),
        ("index_bits", "index"),
        ("dram_bytes", "dram"),
    ],
)
def test_each_event_is_one_part(event: str, part: str) -> None:
    accelerator = accelerator_of(1, 1.0)
    one = energy_pj(Events(**{event: ONE_EACH[event]}), UNGATED, accelerator)
    assert {name for name, energy in one.items() if energy} == {part}
    assert one[part] == pytest.approx(energy_pj(Events(**ONE_EACH), UNGATED, accelerator)[part])


@pytest.mark.parametrize(("size", "multiply", "add"), [(1, 0.2, 0.1), (4, 3.7, 0.9)])
def test_a_subword_costs_its_fraction_of_a_multiplication_and_a_full_addition(
    size: int, multiply: float, add: float
) -> None:
    found = energy_pj(Events(macs=10, multiplied_words=5.0), TABLE, accelerator_of(size, None))
    assert found == pytest.approx({**dict.fromkeys(PARTS, 0.0), "mac": 5 * multiply + 10 * add})


@settings(max_examples=50)
@given(st.integers(1, 2**40))
def test_memory_costs_by_the_square_root_of_its_size(size: int) -> None:
    accelerator = replace(accelerator_of(1, None), activations=BufferPort(size=size))
    found = energy_pj(Events(activation_buffer_bytes=1), TABLE, accelerator)["activation_buffer"]
    assert found == pytest.approx(SRAM * sqrt(size / (8 * KIB)))


def test_memory_of_no_size_costs_what_the_table_says() -> None:
    found = energy_pj(Events(activation_buffer_bytes=1), TABLE, Accelerator(ArrayShape(2, 2)))
    assert found["activation_buffer"] == SRAM


@pytest.mark.parametrize("arrays", [1, 3])
def test_every_pe_of_every_array_costs_in_each_cycle_without_a_product(arrays: int) -> None:
    """A product of 1 weight with 4 vectors on 2x2 PEs: 2 + 4 + 2 cycles, in which one PE works for 4."""
    gemm, accelerator = GemmWorkload(1, 1, 1, 4), Accelerator(ArrayShape(2, 2), arrays)
    passes = dense_passes("ws", gemm, accelerator.array)
    schedule = schedule_layer(passes, gemm, accelerator)
    cycles = 2 + -(-4 // arrays) + 2  # the vectors are cut for several arrays
    assert schedule.total == cycles
    events = count_events(passes, gemm, accelerator, schedule)
    idle = energy_pj(events, UNGATED, accelerator)["idle"]
    assert idle == pytest.approx((arrays * 4 * cycles - 4) * 0.25)
    assert energy_pj(events, TABLE, accelerator)["idle"] == 0
