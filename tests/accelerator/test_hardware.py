"""Hardware files: the shipped ones load, and every wrong one gets one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.hardware import Buffer, Hardware
from tightc.config.yaml import parse_options, read_options
from tightc.errors import ConfigError
from tightc.tile.array import ArrayShape

FOLDER = Path(__file__).parents[2] / "configs" / "hardware"
TEXT = """\
name: small
array: 4x8
fan_in: 2
operands: int8
clock: 100 MHz
prefetch_weights: false
activation_buffer:
  size: 8 B
  bandwidth: 4 words/cycle
  double_buffered: false
weight_buffer:
  size: 64 B
  bandwidth: 8 words/cycle
  double_buffered: true
partial_sum_buffer:
  size: 32 B
  bandwidth: 16 words/cycle
  double_buffered: false
dram:
  bandwidth: 250 MB/s
  keep_feature_maps: true
"""


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


def error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_options(text, "h.yaml", Hardware)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_vector_unit_has_a_rate_or_one_for_each_column() -> None:
    assert parse_options(TEXT, "h.yaml", Hardware).vector_unit is None
    text = TEXT + "vector_unit: 2.5 operations/cycle\narrays: 3\n"
    found = parse_options(text, "h.yaml", Hardware)
    assert found.vector_unit == 2.5
    assert Accelerator.of(found).vector_operations_per_cycle == 2.5
    plain = found.model_copy(update={"vector_unit": None})
    assert Accelerator.of(plain).vector_operations_per_cycle == 8 * 3
    for one in (found, plain):
        assert parse_options(yaml.safe_dump(one.model_dump(mode="json")), "h.yaml", Hardware) == one
    for wrong in ("2.5", "0 operations/cycle", "2 words/cycle"):
        assert error(TEXT + f"vector_unit: {wrong}\n").startswith(
            "h.yaml:22: vector_unit: expected operations of the vector unit in a cycle, from "
            "0.001 operations/cycle to 1e9 operations/cycle, such as "
            f"32 operations/cycle, got {wrong if wrong == '2.5' else repr(wrong)}; give a "
        )


def test_values_reach_their_fields() -> None:
    found = parse_options(TEXT, "h.yaml", Hardware)
    assert (found.name, found.array, found.arrays, found.fan_in) == ("small", ArrayShape(4, 8), 1, 2)
    assert (found.clock, found.dram.bandwidth, found.dram_bytes_per_cycle) == (1e8, 2.5e8, 2.5)
    assert (found.operands, found.operand_bytes) == ("int8", 1)
    assert (found.activation_buffer.usable, found.weight_buffer.usable) == (8, 32)
    assert not found.prefetch_weights and found.dram.keep_feature_maps
    assert (found.columns_per_lane_register, found.overlap_drain, found.accumulator_bypass) == (
        1,
        False,
        False,
    )


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_the_files_that_come_along_load_and_read_back(path: Path) -> None:
    found = read_options(path, Hardware)
    assert found.name == path.stem and found.name.endswith(str(found.array))
    assert parse_options(yaml.safe_dump(found.model_dump(mode="json")), "h.yaml", Hardware) == found
    unit = ("KiB", "MiB", "words/cycle", "MB/s", "GB/s", "MHz")
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("#")[0].strip().partition(": ")
        if key in {"size", "bandwidth", "clock"}:
            assert value.strip().endswith(unit), line


def test_the_files_are_what_they_are_named_after() -> None:
    found = {path.stem: read_options(path, Hardware) for path in FOLDER.iterdir()}
    edge, eyeriss = found["edge-32x32"], found["eyeriss-12x14"]
    assert {name: hardware.fan_in for name, hardware in found.items()} == {
        "edge-32x32": 1,
        "eyeriss-12x14": 1,
        "multiplexed-32x32": 8,
        "tight-32x32": 8,
        "tpu-v1-256x256": 1,
    }
    for name in ("multiplexed-32x32", "tight-32x32"):
        wide = edge.activation_buffer.model_copy(update={"bandwidth": 256.0})
        same: dict[str, object] = {"name": name, "fan_in": 8, "activation_buffer": wide}
        if name == "tight-32x32":
            same |= {"columns_per_lane_register": 4, "accumulator_bypass": True}
        assert found[name] == edge.model_copy(update=same)
    buffers = (eyeriss.activation_buffer, eyeriss.weight_buffer, eyeriss.partial_sum_buffer)
    assert sum(buffer.size for buffer in buffers) == 108 * 1024


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "clock: 100 MHz",
            "clocks: 100 MHz",
            "5: clocks: expected one of accumulator_bypass, activation_buffer, array, arrays, clock, "
            "columns_per_lane_register, dram, fan_in, name, operands, overlap_drain, partial_sum_buffer, "
            "prefetch_weights, replicate_tiles, vector_unit, weight_buffer, got clocks; "
            "did you mean clock?",
        ),
        (
            "keep_feature_maps: true",
            "keep: true",
            "21: dram.keep: expected one of bandwidth, keep_feature_maps, got keep; did you mean keep_feature_maps?",
        ),
        (
            "size: 64 B",
            "size: 64",
            "12: weight_buffer.size: expected capacity, from 1 B to 1024 GiB, such as 64 KiB, got 64; "
            "give a number with its unit (B, KiB, MiB, GiB, kB or MB), such as 64 KiB",
        ),
        (
            "size: 64 B",
            "size: -64 B",
            "12: weight_buffer.size: expected capacity, from 1 B to 1024 GiB, such as 64 KiB, got '-64 B'; "
            "give a value from 1 B to 1024 GiB",
        ),
        (
            "bandwidth: 250 MB/s",
            "bandwidth: 0 MB/s",
            "20: dram.bandwidth: expected bandwidth, from 1 B/s to 1e9 GB/s, such as 3.2 GB/s, got '0 MB/s'; "
            "give a value from 1 B/s to 1e9 GB/s",
        ),
        (
            "bandwidth: 250 MB/s",
            "bandwidth: 2 words/cycle",
            "20: dram.bandwidth: expected bandwidth, from 1 B/s to 1e9 GB/s, such as 3.2 GB/s, got '2 words/cycle'; "
            "give a number in B/s, KiB/s, MiB/s, GiB/s, kB/s, MB/s or GB/s, such as 3.2 GB/s",
        ),
        (
            "bandwidth: 8 words/cycle",
            "bandwidth: 0 words/cycle",
            "13: weight_buffer.bandwidth: expected words per cycle, from 0.001 words/cycle to 1e9 words/cycle, "
            "such as 32 words/cycle, "
            "got '0 words/cycle'; give a value from 0.001 words/cycle to 1e9 words/cycle",
        ),
        (
            "clock: 100 MHz",
            "clock: 100",
            "5: clock: expected clock frequency of the array, from 1 Hz to 1000 GHz, such as 400 MHz, got 100; "
            "give a number with its unit (Hz, kHz, MHz or GHz), such as 400 MHz",
        ),
        (
            "fan_in: 2",
            "fan_in: 0",
            "3: fan_in: expected inputs per lane, from 1 (an ordinary array) to 32767, got 0; "
            "give a number of at least 1",
        ),
        (
            "fan_in: 2",
            "fan_in: 2\narrays: 0",
            "4: arrays: expected number of arrays that share the buffers, from 1 to 4096, got 0; "
            "give a number of at least 1",
        ),
        (
            "fan_in: 2",
            "fan_in: 2\ncolumns_per_lane_register: 0",
            "4: columns_per_lane_register: expected columns that share a register for a lane's inputs, from 1 "
            "(a register in every PE) to 4096, got 0; give a number of at least 1",
        ),
        (
            "fan_in: 2",
            "fan_in: 2\ncolumns_per_lane_register: 4097",
            "4: columns_per_lane_register: expected columns that share a register for a lane's inputs, from 1 "
            "(a register in every PE) to 4096, got 4097; give a number of at most 4096",
        ),
        (
            "fan_in: 2",
            "fan_in: 2\noverlap_drain: 1",
            "4: overlap_drain: expected true or false, got 1; give true or false",
        ),
        (
            "fan_in: 2",
            "fan_in: 2\naccumulator_bypass: 'on'",
            "4: accumulator_bypass: expected true or false, got 'on'; give true or false",
        ),
        (
            "fan_in: 2",
            "fan_in: 2\noverlap_drain: true",
            "7: prefetch_weights: expected prefetch_weights: true beside overlap_drain: true, got false; "
            "set prefetch_weights to true, or overlap_drain to false",
        ),
        (
            "operands: int8",
            "operands: int4",
            "4: operands: expected 'int8' or 'fp32', got 'int4'; did you mean int8?",
        ),
        (
            "array: 4x8",
            "array: 4",
            "2: array: expected array size, ROWSxCOLUMNS, each from 1 to 4096, such as 32x32, got 4; "
            "give two integers from 1 to 4096 joined by x",
        ),
        (
            "  double_buffered: true\n",
            "",
            "11: weight_buffer.double_buffered: expected double buffering, one half filled while the other is "
            "in use: true or false, got nothing; add it",
        ),
        (
            "prefetch_weights: false\n",
            "",
            "1: prefetch_weights: expected prefetch of the next tile's weights while a tile runs: true or false, "
            "got nothing; add it",
        ),
        (
            "dram:\n  bandwidth: 250 MB/s\n  keep_feature_maps: true\n",
            "dram: fast\n",
            "19: dram: expected off-chip memory: bandwidth, keep_feature_maps, got 'fast'; "
            "give a mapping of keys",
        ),
    ],
)
def test_wrong_files_get_one_sentence(old: str, new: str, sentence: str) -> None:
    assert error(changed(old, new)) == f"h.yaml:{sentence}"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "size: 64 B",
            "size: 62 B",
            "12: weight_buffer.size: expected room for one tile (4x8 int8 weights), got half of 62 B; give "
            "at least 64 B",
        ),
        (
            "size: 8 B",
            "size: 7 B",
            "8: activation_buffer.size: expected room for one vector of a tile (4 rows x fan-in 2 int8 "
            "activations), got 7 B; give at least 8 B",
        ),
        (
            "size: 32 B",
            "size: 31 B",
            "16: partial_sum_buffer.size: expected room for the sums of one vector (8 of 4 bytes), got 31 B; "
            "give at least 32 B",
        ),
        (
            "operands: int8",
            "operands: fp32",
            "8: activation_buffer.size: expected room for one vector of a tile (4 rows x fan-in 2 fp32 "
            "activations), got 8 B; give at least 32 B\n"
            "h.yaml:12: weight_buffer.size: expected room for one tile (4x8 fp32 weights), got half of 64 B; give "
            "at least 256 B",
        ),
        (
            "fan_in: 2",
            "fan_in: 1024",
            "8: activation_buffer.size: expected room for one vector of a tile (4 rows x fan-in 1024 int8 "
            "activations), got 8 B; give at least 4 KiB",
        ),
    ],
)
def test_a_buffer_below_one_tile_names_the_smallest_size(old: str, new: str, sentence: str) -> None:
    assert error(changed(old, new)) == f"h.yaml:{sentence}"


@given(
    st.tuples(st.integers(2, 300), st.integers(2, 300)),  # one byte, where the test starts, is too little
    st.integers(1, 64),
    st.sampled_from(["int8", "fp32"]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_the_smallest_sizes_that_errors_name_are_permitted(
    sides: tuple[int, int], fan_in: int, operands: str, halves: tuple[bool, bool, bool]
) -> None:
    names = ("weight_buffer", "activation_buffer", "partial_sum_buffer")
    values = yaml.safe_load(TEXT) | {"array": "{}x{}".format(*sides), "fan_in": fan_in, "operands": operands}
    for name, half in zip(names, halves, strict=True):
        values[name] |= {"size": "1 B", "double_buffered": half}
    sentences = error(yaml.safe_dump(values)).split("\n")
    for name in names:  # all at once
        (sentence,) = (line for line in sentences if f" {name}.size: " in line)
        values[name]["size"] = sentence.rpartition("give at least ")[2]
    found = parse_options(yaml.safe_dump(values), "h.yaml", Hardware)
    (rows, columns), width = sides, found.operand_bytes
    needed = (rows * columns * width, rows * fan_in * width, columns * 4)
    sizes = [getattr(found, name).size for name in names]
    assert sizes == [least * (1 + half) for least, half in zip(needed, halves, strict=True)]


def test_hardware_is_frozen() -> None:
    buffer = Buffer.model_validate({"size": "3 B", "bandwidth": "1 words/cycle", "double_buffered": True})
    assert buffer.usable == 1
    with pytest.raises(ValueError, match="frozen"):
        buffer.size = 4  # type: ignore[misc]
