"""The pictures of the hardware: the same bytes each time, and the waves against sums and cycles computed by hand."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import draw_hardware
from hardware_pictures import wave
from hardware_pictures.example import ACTIVATIONS, SLOTS, WEIGHTS
from hardware_pictures.trace import Trace, sampled, simulate

icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs iverilog, which is not installed")
R = C = 3
T = 4
LOAD_ENDS = {False: (3, 14), True: (3, 8)}  # plain: R + k (2R + C + T - 2); overlap: R + k max(T, 2R - 1)


def texts(svg: bytes) -> list[str]:
    return [
        "".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")
    ]


def dot_products(tile: int) -> np.ndarray:
    """(vectors, columns): what the columns of a tile add up."""
    found = np.zeros((T, C), int)
    for vector in range(T):
        for lane in range(R):
            for column in range(C):
                weight = int(WEIGHTS[tile, lane, column])
                if weight:
                    found[vector, column] += weight * int(ACTIVATIONS[vector, SLOTS[tile, lane, column]])
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "overlap"])
def trace(request: pytest.FixtureRequest) -> tuple[bool, Trace]:
    return request.param, simulate(overlap=request.param)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=icarus) if name == draw_hardware.SIMULATED else name
        for name in draw_hardware.PICTURES
    ],
)
def test_a_picture_is_up_to_date(name: str) -> None:
    assert (draw_hardware.FOLDER / name).read_bytes() == draw_hardware.PICTURES[name]()


@pytest.mark.parametrize("name", draw_hardware.PICTURES)
def test_a_picture_has_text_inside_its_frame_and_a_dark_scheme(name: str) -> None:
    root = ElementTree.fromstring((draw_hardware.FOLDER / name).read_bytes())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    nodes = [node for node in root.iter() if node.tag.endswith("text")]
    assert width <= 700
    assert len(nodes) > 10
    for node in nodes:
        assert 0 <= float(node.attrib["x"]) <= width
        assert 0 <= float(node.attrib["y"]) <= height
    assert "prefers-color-scheme:dark" in "".join(root.itertext())


@icarus
def test_tiles_start_and_end_as_the_closed_forms_say(trace: tuple[bool, Trace]) -> None:
    overlap, found = trace
    assert found.starts == LOAD_ENDS[overlap]
    assert found.cycles == found.starts[-1] + T + R - 1 + C - 1
    for tile, start in enumerate(found.starts):
        assert found.load[start - R : start, 0].all(), tile
        assert found.swap[start - 1, 0]


@icarus
def test_lanes_carry_the_inputs_of_their_list_and_nothing_else(trace: tuple[bool, Trace]) -> None:
    _, found = trace
    expected = np.zeros_like(found.lanes)
    for tile, start in enumerate(found.starts):
        for lane in range(R):
            inputs = sorted({int(slot) for slot in SLOTS[tile, lane] if slot >= 0})
            for vector in range(T):
                expected[start + lane + vector, lane] = ACTIVATIONS[vector, inputs]
    np.testing.assert_array_equal(found.lanes, expected)


@icarus
def test_sums_are_the_dot_products_of_the_tile(trace: tuple[bool, Trace]) -> None:
    _, found = trace
    for tile, start in enumerate(found.starts):
        for column in range(C):
            first = start + R + column
            np.testing.assert_array_equal(
                found.sums[first : first + T, column], dot_products(tile)[:, column]
            )


@icarus
def test_the_picture_shows_the_sums_in_order() -> None:
    shown = texts(wave.draw())
    places = [place for place, content in enumerate(shown) if content.startswith("sums, column")]
    assert len(places) == 2 * C
    for number, place in enumerate(places):
        expected = [f"{value}" for tile in range(2) for value in dot_products(tile)[:, number % C]]
        assert shown[place + 1 : place + 1 + 2 * T] == expected
    assert "Without options: 22 cycles" in shown
    assert "--prefetch-weights --overlap-drain: 16 cycles" in shown
    assert "6 cycles saved" in shown


@icarus
def test_the_picture_of_the_tiles_names_every_weight() -> None:
    shown = [content for content in texts(wave.draw()) if re.fullmatch(r"-?\d+ · x\d+|empty", content)]
    assert shown == [
        f"{weight} · x{slot}" if weight else "empty"
        for slot, weight in zip(SLOTS.ravel().tolist(), WEIGHTS.ravel().tolist(), strict=True)
    ]


def test_a_dump_is_sampled_before_the_clock_rises(tmp_path: Path) -> None:
    lines = [
        "$scope module testbench $end",
        "$scope module dut $end",
        "$scope module array $end",
        *(
            f"$var wire 3 {code} {name} [2:0] $end"
            for code, name in zip("abcd", ("load", "swap", "lanes", "sums"), strict=True)
        ),
        "$var wire 1 k clock $end",
        "$scope module inner $end",
        "$var wire 3 e load [2:0] $end",
        "$upscope $end",
        "$upscope $end",
        "$enddefinitions $end",
        "#0",
        *("b0 a", "bx b", "b1 c", "b0 d", "b111 e", "0k"),
        *("#5", "1k", "b101 d", "#10", "0k", "b10 a", "b111 e", "#15", "1k", "b111 d"),
    ]
    (tmp_path / "trace.vcd").write_text("\n".join(lines))
    assert list(sampled(tmp_path / "trace.vcd")) == [
        {"load": "0", "swap": "x", "lanes": "1", "sums": "0"},
        {"load": "10", "swap": "x", "lanes": "1", "sums": "101"},
    ]


def test_another_picture_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = {name: draw for name, draw in draw_hardware.PICTURES.items() if name != draw_hardware.SIMULATED}
    monkeypatch.setattr(draw_hardware, "FOLDER", tmp_path / "images")
    monkeypatch.setattr(draw_hardware, "PICTURES", still)
    assert draw_hardware.main(["--check"]) == 1
    assert draw_hardware.main([]) == 0
    assert draw_hardware.main(["--check"]) == 0


def test_without_icarus_the_waves_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(draw_hardware, "FOLDER", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert draw_hardware.main([]) == 1
    assert "expected iverilog on the PATH, got none" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hardware-blocks.svg", "hardware-pe.svg"]
