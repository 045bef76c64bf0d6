"""Whatever numbers hardware files and tables may hold, all figures of the reports are finite; others are refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.numbers_in_files import Key, changed, numbers
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import Hardware
from tightc.cli.main import run
from tightc.config.options import Options
from tightc.config.yaml import parse_options
from tightc.errors import ConfigError

KINDS: dict[str, tuple[type[Options], str]] = {
    "hardware": (Hardware, "hardware/tight-32x32.yaml"),
    "energy": (EnergyTable, "energy/horowitz-45nm.yaml"),
    "area": (AreaTable, "area/nangate45.yaml"),
}
QUICK = tightc.TemperatureSchedule(steps=2, moves_per_weight=5)
# the keys that other keys depend on; the test draws values for them that go together
TIED = {"array", "fan_in", "banks", "lane_reach", "arrays", "subword_bits", "up_to"}


@cache
def shipped(kind: str) -> Any:
    return yaml.safe_load((tightc.configs() / KINDS[kind][1]).read_text())


@cache
def keys(kind: str) -> dict[Key, Any]:
    return dict(numbers(KINDS[kind][0], shipped(kind)))


def network() -> onnx.ModelProto:
    return models.build(
        """net (float[B, 4, 6, 6] x) => (float[B, 5] y) {
            [first] a = Conv<pads = [1, 1, 1, 1]>(x, u)
            b = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a)
            d = ReduceMean<keepdims = 0>(b, axes)
            [last] y = MatMul(d, w)
        }""",
        axes=np.array([2, 3], np.int64),
        u=models.sparse(7, 4, 3, 3, density=0.3),
        w=models.sparse(7, 5, density=0.4),
    )


def with_registers_that_take_area(table: Any) -> Any:
    """The table with elements that hold the registers of a lane as large as those with wires, where they were less."""
    wired = {form(entry): entry["area"] for entry in table["pes"] if not entry["lane_register"]}
    for entry in table["pes"]:
        if entry["lane_register"] and form(entry) in wired:
            entry["area"] = max(entry["area"], wired[form(entry)], key=um2)
    return table


def form(entry: Any) -> tuple[Any, ...]:
    return tuple(entry.get(key) for key in ("fan_in", "multiplexer", "shadow", "subword_bits"))


def um2(area: str) -> float:
    number, unit = area.split()
    return float(number) * {"um2": 1, "mm2": 1e6}[unit]


@st.composite
def files(draw: st.DrawFn, kind: str) -> Any:
    """A file of one kind with its numbers at the ends of their ranges, or some of them."""
    free = sorted((key for key in keys(kind) if TIED.isdisjoint(key)), key=repr)
    chosen = free if draw(st.booleans()) else draw(st.lists(st.sampled_from(free), unique=True, max_size=6))
    changes = {key: draw(st.sampled_from(keys(kind)[key].ends)) for key in chosen}
    if kind == "energy":
        for key in keys(kind):
            if key[-1] == "up_to" and key[0] in shipped(kind):  # not below the energy beside it
                changes[key] = keys(kind)[key].ends[1]
        return changed(shipped(kind), changes)
    if kind == "area":
        return with_registers_that_take_area(changed(shipped(kind), changes))
    changes |= {("array",): draw(st.sampled_from(["1x1", "4x3", "32x32", "4096x2"])), ("fan_in",): 16}
    changes[("arrays",)] = draw(st.sampled_from([1, 2, 3]))
    if draw(st.booleans()):
        changes[("activation_buffer", "banks")] = draw(st.sampled_from([1, 64, 256]))
    for name in ("activation_buffer", "weight_buffer", "partial_sum_buffer"):  # room for one tile
        if changes.get((name, "size")) == "1 B" or (name, "size") not in changes:
            changes[(name, "size")] = draw(st.sampled_from(["600 KiB", "1024 GiB"]))
    return changed(shipped(kind), changes)


def wrong(value: Any, at: str = "") -> Iterator[str]:
    """Where a report holds an infinity or a NaN, or a number below 0."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from wrong(inner, f"{at}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from wrong(inner, at)
    elif isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
        yield f"{at}: {value}"


def assert_finite(report: tightc.Report) -> None:
    # the area of the zero-gated array is a difference of entries, which a table may make negative
    totals = {key: value for key, value in report.totals.items() if key != "zero_gated_area_mm2"}
    rows = [{k: v for k, v in row.items() if k != "zero_gated_area_mm2"} for row in report.layers]
    assert list(wrong({"totals": totals, "layers": rows})) == []
    assert report.totals.get("latency_ms", 1) is not None
    for note in (*report.notes, str(report)):
        assert not {"inf", "nan", "infx", "nanx"} & set(note.replace(",", " ").split())


@settings(max_examples=20, deadline=None)
@given(
    hardware=files("hardware"), energy=files("energy"), area=files("area"), batch=st.sampled_from([1, 10**6])
)
def test_all_figures_are_finite(hardware: Any, energy: Any, area: Any, batch: int) -> None:
    model, given = loaded(network()), {"hardware": hardware, "energy": energy, "batch": batch}
    for objective in ("cycles", "energy"):
        permuted = tightc.permute(model, objective=objective, temp_schedule=QUICK, jobs=1, **given)
        assert_finite(permuted.report)
        assert_finite(tightc.simulate(permuted.model, area=area, **given))
    compared = tightc.compare(
        model,
        method=["dense", "column-combine", "tight"],
        gamma=0,
        temp_schedule=QUICK,
        jobs=1,
        area=area,
        **given,
    )
    assert_finite(compared)


def test_lane_registers_that_take_no_area_are_refused() -> None:
    table = shipped("area")
    elements = [number for number, entry in enumerate(table["pes"]) if entry["lane_register"]][:2]
    changes = {("pes", number, "area"): "1 um2" for number in elements}
    with pytest.raises(ConfigError) as caught:
        parse_options(yaml.safe_dump(changed(table, changes)), "f.yaml", AreaTable)
    said = str(caught.value).split("\n")
    for number in elements:
        (line,) = (line for line in said if f"pes.{number}.area: " in line)
        assert (
            "um2 of the same element without lane register, got 1 um2; correct one of the two areas" in line
        )


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_out_of_range_are_refused(kind: str) -> None:
    file = {k: value[:1] if isinstance(value, list) else value for k, value in shipped(kind).items()}
    every = [
        (key, value)
        for key, allowed in numbers(KINDS[kind][0], file)
        if key[0] in file
        for value in allowed.outside
    ]
    assert len({key for key, _ in every}) > 10
    while every:
        values = dict(every[:8])  # several at a time: each is told
        every = [one for one in every if one not in values.items()]
        with pytest.raises(ConfigError) as caught:
            parse_options(yaml.safe_dump(changed(file, values)), "f.yaml", KINDS[kind][0])
        assert caught.value.exit_code == 2
        said = str(caught.value).split("\n")
        for key, value in values.items():
            (line,) = (line for line in said if f": {'.'.join(map(str, key))}: expected " in line)
            assert f", got {value!r}; give " in line


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("hardware", ("vector_unit",), "1e-310 operations/cycle"),
        ("hardware", ("dram", "bandwidth"), "1e-310 B/s"),
        ("hardware", ("clock",), "1e308 Hz"),
        ("hardware", ("arrays",), 10**12),
        ("energy", ("int8_multiply", "energy"), "1e308 pJ"),
        ("energy", ("sram", "at"), "1e30 GiB"),
        ("area", ("accumulator", "area"), "1e308 um2"),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "permute", "compare"])
def test_every_command_refuses_them(
    command: str, kind: str, key: Key, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = models.save(network(), tmp_path / "net.onnx"), tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(changed(shipped(kind), {key: value})))
    assert run([command, str(model), f"--{kind}", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tightc: error: ") and "own.yaml:" in said
    assert f": {'.'.join(map(str, key))}: expected " in said and f", got {value!r}; give " in said


def test_a_batch_beyond_64_bits_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(models.save(network(), tmp_path / "net.onnx"))
    for command in ("simulate", "permute", "compare"):
        output = ["-o", str(tmp_path / "out.onnx")] if command == "permute" else []
        assert run([command, path, "--batch", str(2**31 - 1), "--array", "4096x4096", *output]) == 2
        said = capsys.readouterr().err
        assert (
            "--batch: expected a layer of at most 4.6e+18 cycles and events, which 64-bit integers hold"
            in said
        )
        assert "; give a smaller --batch or --input-shape, or buffers of more bandwidth" in said
