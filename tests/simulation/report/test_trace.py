"""Traces: a line for each cycle of each array, and what their columns add up to."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from helpers import models
from helpers.loading import loaded
from tightc.accelerator.hardware import Hardware
from tightc.cli.main import run
from tightc.errors import OptionError, OutputError
from tightc.model.file import Model
from tightc.model.packings.metadata import read_packings
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.report.trace import write_trace
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape
from tightc.tile.packing import Packing

COLUMNS = "cycle,array,pass,temporal_tile,phase,rows_loaded,steps_begun,lane_words,macs,sums_out"
ARRAY = ArrayShape(8, 4)
Line = dict[str, int | str]
PJ_OF_A_MAC = 0.3


def permuted(model: Model, array: ArrayShape = ARRAY, fan_in: int = 3) -> Model:
    schedule = TemperatureSchedule(steps=5, moves_per_weight=30)
    return permute(model, PermuteOptions(array=array, fan_in=fan_in, temp_schedule=schedule, jobs=1))[0]


def read(path: Path) -> list[Line]:
    assert path.read_text().splitlines()[0] == COLUMNS
    with path.open() as stream:
        lines = list(csv.DictReader(stream))
    return [{name: text if name == "phase" else int(text) for name, text in line.items()} for line in lines]


def traced(model: Model, folder: Path, layer: str | None = None, **options: object) -> list[Line]:
    return read(write_trace(model, SimulateOptions(**options), layer, folder))


def total(lines: Iterable[Line], column: str) -> int:
    return sum(int(line[column]) for line in lines)


def row_of(model: Model, layer: str, **options: object) -> dict[str, object]:
    report = simulate(model, SimulateOptions(verify=True, **options))
    return next(dict(row) for row in report.layers if row["name"] == layer)


def macs_of(row: dict[str, object]) -> int:
    """Multiply-accumulates, from the energy of them all."""
    return round(row["energy_parts_pj"]["mac"] / PJ_OF_A_MAC)  # type: ignore[index]


def check_clocks(lines: list[Line], cycles: int) -> None:
    """The clock of each array counts every cycle once; passes load, then stream; the longest takes `cycles`."""
    for array in {line["array"] for line in lines}:
        own = [line for line in lines if line["array"] == array]
        assert [line["cycle"] for line in own] == list(range(len(own)))
        phases = [
            key for key, _ in groupby(own, lambda line: (line["temporal_tile"], line["pass"], line["phase"]))
        ]
        assert len(set(phases)) == len(phases)
        assert phases == sorted(phases)  # load comes before stream in the alphabet, too
    assert max(Counter(line["array"] for line in lines).values()) == cycles


# --- totals of the columns


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"arrays": 3},
        {"prefetch_weights": True},
        {"arrays": 2, "prefetch_weights": True},
        {"columns_per_lane_register": 3},
        {"arrays": 2, "prefetch_weights": True, "overlap_drain": True, "columns_per_lane_register": 2},
    ],
    ids=["one array", "three arrays", "prefetch", "two arrays with prefetch", "lane registers", "overlap"],
)
@pytest.mark.parametrize("layer", ["first", "second", "last"])
def test_the_tiles_of_a_layer(layer: str, options: dict[str, object], tmp_path: Path) -> None:
    model = permuted(loaded(models.cnn()))
    row = row_of(model, layer, **options)
    lines = traced(model, tmp_path, layer, **options)
    packing = read_packings(model)[f"{layer}_w"]
    temporal_tiles, vectors = row["passes"] // len(packing.tiles), row["vectors"]
    check_clocks(lines, row["compute_cycles"])
    assert row["compute_cycles"] == row["cycles"] == row["engine_cycles"]
    assert {(line["temporal_tile"], line["pass"]) for line in lines} == {
        (temporal_tile, tile) for temporal_tile in range(temporal_tiles) for tile in range(len(packing.tiles))
    }
    assert total(lines, "rows_loaded") == 8 * row["passes"]
    assert total(lines, "steps_begun") == vectors * len(packing.tiles)
    assert total(lines, "lane_words") == vectors * sum(len(tile.inputs) for tile in packing.tiles)
    assert total(lines, "macs") == vectors * row["nonzeros"] == macs_of(row)
    assert total(lines, "sums_out") == vectors * sum(tile.columns for tile in packing.tiles)
    if options.get("prefetch_weights"):
        arrays = len({line["array"] for line in lines})
        assert total((line for line in lines if line["phase"] == "load"), "rows_loaded") == 8 * arrays
    else:
        assert total((line for line in lines if line["phase"] == "stream"), "rows_loaded") == 0


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("arrays", [1, 3])
@pytest.mark.parametrize("form", ["cnn", "grouped", "depthwise", "matmul left", "gemm"])
def test_a_dense_layer(form: str, arrays: int, dataflow: str, tmp_path: Path) -> None:
    model = loaded(models.FORMS[form]())
    name = simulate(model, SimulateOptions()).layers[0]["name"]
    options = {"array": ARRAY, "dataflow": dataflow, "arrays": arrays}
    row = row_of(model, name, **options)
    lines = traced(model, tmp_path, name, **options)
    check_clocks(lines, row["compute_cycles"])
    assert {line["phase"] for line in lines} == ({"stream"} if dataflow == "os" else {"load", "stream"})
    assert (
        total(lines, "macs")
        == macs_of(row)
        == row["filters"] * row["inputs"] * row["groups"] * row["vectors"]
    )
    assert len({(line["temporal_tile"], line["pass"]) for line in lines}) == row["passes"]
    if dataflow == "os":
        assert total(lines, "rows_loaded") == 0
        assert total(lines, "steps_begun") == row["passes"] * row["inputs"]
        assert total(lines, "sums_out") == row["vectors"] * row["filters"] * row["groups"]
    else:
        assert total(lines, "rows_loaded") == 8 * row["passes"]


def test_a_dense_layer_whose_weights_stay_has_a_line_for_every_cycle(tmp_path: Path) -> None:
    """The same layer permuted to dense tiles, which must give the trace of the plain model."""
    model = loaded(models.cnn())
    dense = permute(model, PermuteOptions(array=ARRAY, method="dense"))[0]
    lines = traced(dense, tmp_path, "second", array=ARRAY)
    assert total(lines, "macs") == 8 * 72 * 9
    check_clocks(lines, row_of(model, "second", array=ARRAY)["cycles"])


@pytest.mark.kernel
def test_output_stationary_by_hand(tmp_path: Path) -> None:
    """2 filters x 3 inputs, 2 vectors on 3 x 2: 3 steps, 3 cycles until the last of them has left the array."""
    proto = models.build(
        "net (float[2, 3] x) => (float[2, 2] y) { [mm] y = MatMul(x, w) }",
        w=np.array([[1, 2], [3, 4], [5, 6]], np.float32),
    )
    options = SimulateOptions(array=ArrayShape(3, 2), dataflow="os")
    path = write_trace(loaded(proto), options, None, tmp_path)
    assert path.read_text() == (
        f"{COLUMNS}\n"
        "0,0,0,0,stream,0,1,2,1,0\n"  # the first input of both operands, in the corner
        "1,0,0,0,stream,0,1,4,3,0\n"  # second step in the corner, first one right of it and below
        "2,0,0,0,stream,0,1,4,4,0\n"
        "3,0,0,0,stream,0,0,2,3,0\n"
        "4,0,0,0,stream,0,0,0,1,0\n"
        "5,0,0,0,stream,0,0,0,0,4\n"
    )


@pytest.mark.kernel
def test_weight_stationary_by_hand(tmp_path: Path) -> None:
    """One tile of 1 lane x 2 columns on 2 x 3, 2 vectors: 2 cycles to load, 2 to stream, 3 to empty the array."""
    proto = models.build(
        "net (float[2, 1] x) => (float[2, 2] y) { [mm] y = MatMul(x, w) }", w=np.array([[7, 9]], np.float32)
    )
    model = permuted(loaded(proto), ArrayShape(2, 3))
    assert write_trace(model, SimulateOptions(), "mm", tmp_path).read_text() == (
        f"{COLUMNS}\n"
        "0,0,0,0,load,1,0,0,0,0\n"
        "1,0,0,0,load,1,0,0,0,0\n"
        "2,0,0,0,stream,0,1,0,0,0\n"  # the step enters the empty row first
        "3,0,0,0,stream,0,1,1,1,1\n"
        "4,0,0,0,stream,0,0,1,2,2\n"
        "5,0,0,0,stream,0,0,0,1,1\n"
        "6,0,0,0,stream,0,0,0,0,0\n"
    )


def four_by_two(vectors: int) -> Model:
    """Arranged in a tile of 4 lanes x 2 columns, which has room for four replicas."""
    text = f"net (float[{vectors}, 4] x) => (float[{vectors}, 2] y) {{ [mm] y = MatMul(x, w) }}"
    model = permuted(loaded(models.build(text, w=np.ones((4, 2), np.float32))), ArrayShape(16, 16), 1)
    (tile,) = read_packings(model)["w"].tiles
    assert (tile.lanes, tile.columns) == (4, 2)
    return model


@pytest.mark.parametrize(
    ("replicate", "vectors", "steps"), [(False, 8, 8), (True, 8, 2), (True, 4, 1), (True, 3, 1)]
)
def test_replicated_tiles(replicate: bool, vectors: int, steps: int, tmp_path: Path) -> None:
    model = four_by_two(vectors)
    lines = traced(model, tmp_path, replicate_tiles=replicate)
    row = row_of(model, "mm", replicate_tiles=replicate)
    check_clocks(lines, row["compute_cycles"])
    assert (total(lines, "steps_begun"), total(lines, "rows_loaded")) == (steps, 16)
    assert total(lines, "macs") == vectors * 8 == macs_of(row)
    assert (total(lines, "lane_words"), total(lines, "sums_out")) == (vectors * 4, vectors * 2)


def test_replicas_with_a_step_less_do_less(tmp_path: Path) -> None:
    model = four_by_two(6)
    lines = traced(model, tmp_path, replicate_tiles=True)
    assert total(lines, "steps_begun") == 2
    assert total(lines, "macs") == 6 * 8 == macs_of(row_of(model, "mm", replicate_tiles=True))
    assert (total(lines, "lane_words"), total(lines, "sums_out")) == (6 * 4, 6 * 2)


def test_each_cycle_of_replicas_with_a_step_less(tmp_path: Path) -> None:
    """Replica k of four has 2, 2, 1 and 1 of 6 vectors, from row 4 k and column 2 k on."""
    lines = [
        line for line in traced(four_by_two(6), tmp_path, replicate_tiles=True) if line["phase"] == "stream"
    ]
    steps = [2, 2, 1, 1]
    places = [(4 * k + r, 2 * k + c, steps[k]) for k in range(4) for r in range(4) for c in range(2)]
    for cycle, line in enumerate(lines):
        assert line["macs"] == sum(0 <= cycle - row - column < own for row, column, own in places)
        assert line["lane_words"] == sum(0 <= cycle - row < steps[row // 4] for row in range(16))
        assert line["sums_out"] == sum(0 <= cycle - 15 - column < steps[column // 2] for column in range(8))


# --- cycle by cycle, against an array stepped PE by PE


def test_every_line_is_what_the_array_does(tmp_path: Path) -> None:
    """Lane words, multiplications and sums of each cycle of each pass, from where each step is."""
    model = permuted(loaded(models.cnn()))
    packing = read_packings(model)["second_w"]
    lines = traced(model, tmp_path, "second")
    for number in range(len(packing.tiles)):
        own = [line for line in lines if line["pass"] == number and line["phase"] == "stream"]
        expected = events_by_cycle(packing, number, 9, len(own))
        assert [
            (line["steps_begun"], line["lane_words"], line["macs"], line["sums_out"]) for line in own
        ] == expected


def events_by_cycle(packing: Packing, number: int, vectors: int, cycles: int) -> list[tuple[int, ...]]:
    """Lanes lie in the lower rows. Step t is at PE (r, c) in cycle t + r + c."""
    tile = packing.tiles[number]
    rows = packing.array.rows
    first = rows - tile.lanes
    carried = np.diff(tile.lane_starts).tolist()
    found = []
    for cycle in range(cycles):
        begun = int(cycle < vectors)
        words = sum(carried[r - first] for r in range(first, rows) if 0 <= cycle - r < vectors)
        macs = sum(
            1
            for lane, column in zip(*np.nonzero(tile.select >= 0), strict=True)
            if 0 <= cycle - (first + lane) - column < vectors
        )
        sums = sum(1 for column in range(tile.columns) if 0 <= cycle - (rows - 1) - column < vectors)
        found.append((begun, words, macs, sums))
    return found


# --- with buffers that stall

SLOW = {
    "name": "slow",
    "array": "8x4",
    "fan_in": 3,
    "operands": "int8",
    "clock": "100 MHz",
    "prefetch_weights": False,
    "activation_buffer": {"size": "1 KiB", "bandwidth": "1.5 words/cycle", "double_buffered": True},
    "weight_buffer": {"size": "1 KiB", "bandwidth": "3 words/cycle", "double_buffered": True},
    "partial_sum_buffer": {"size": "1 KiB", "bandwidth": "2 words/cycle", "double_buffered": False},
    "dram": {"bandwidth": "200 MB/s", "keep_feature_maps": True},
}


def test_stalls_show_as_cycles_without_steps(tmp_path: Path) -> None:
    hardware = Hardware.model_validate(SLOW)
    model = permuted(loaded(models.cnn()))
    row = row_of(model, "second", hardware=hardware)
    lines = traced(model, tmp_path, "second", hardware=hardware)
    check_clocks(lines, row["engine_cycles"])
    assert row["engine_cycles"] == row["cycles"] - row["dram_stall_cycles"] > row["compute_cycles"]
    assert total(lines, "macs") == macs_of(row)
    idle = [line for line in lines if line["phase"] == "load" and not line["rows_loaded"]]
    assert len(idle) >= row["weight_stall_cycles"] > 0


@pytest.mark.parametrize("rate", ["2 words/cycle", "0.1 words/cycle"])
def test_sums_that_leave_slowly_hold_up_the_clock(rate: str, tmp_path: Path) -> None:
    buffer = {**SLOW["partial_sum_buffer"], "bandwidth": rate}  # type: ignore[dict-item]
    options = {"hardware": Hardware.model_validate({**SLOW, "partial_sum_buffer": buffer}), "dataflow": "os"}
    model = loaded(models.cnn())
    row = row_of(model, "first", **options)
    assert (row["sum_stall_cycles"] > 0) == (rate == "0.1 words/cycle")
    check_clocks(traced(model, tmp_path, "first", **options), row["engine_cycles"])


def test_lines_go_array_by_array_with_every_dataflow(tmp_path: Path) -> None:
    model = loaded(models.cnn())
    for dataflow in ("is", "os"):
        lines = traced(model, tmp_path, array=ARRAY, arrays=3, dataflow=dataflow)
        assert [line["array"] for line in lines] == sorted(int(line["array"]) for line in lines)


# --- which layer, which file


def test_the_first_layer_unless_there_is_a_name(tmp_path: Path) -> None:
    model = permuted(loaded(models.cnn()))
    assert (
        write_trace(model, SimulateOptions(), None, tmp_path / "a" / "b")
        == tmp_path / "a" / "b" / "first.csv"
    )
    assert write_trace(model, SimulateOptions(), "second", tmp_path) == tmp_path / "second.csv"
    first, again = (
        write_trace(model, SimulateOptions(), layer, tmp_path / "c").read_text() for layer in (None, "first")
    )
    assert first == again != (tmp_path / "second.csv").read_text()
    assert sorted(os.listdir(tmp_path / "c")) == ["first.csv"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("/features/0/Conv", "features_0_Conv.csv"),
        ("../up", "up.csv"),
        ("a b:c", "a_b_c.csv"),
        ("...", "layer.csv"),
        ("Schicht ä", "Schicht.csv"),
    ],
)
def test_names_of_layers_that_are_no_names_of_files(name: str, file: str, tmp_path: Path) -> None:
    proto = models.gemm()
    proto.graph.node[0].name = name
    model = permuted(loaded(proto))
    assert write_trace(model, SimulateOptions(), name, tmp_path) == tmp_path / file
    assert os.listdir(tmp_path) == [file]


@pytest.mark.parametrize(
    ("layer", "hint"),
    [
        ("nothing", "give one of first, second, last"),
        ("", "give one of first, second, last"),
        ("First", "did you mean first?"),
        ("/block/second", "did you mean second?"),
    ],
)
def test_a_layer_that_is_not_there(layer: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        traced(loaded(models.cnn()), tmp_path / "new", layer)
    assert str(caught.value) == f"--layer: expected the name of a layer, got {layer!r}; {hint}"
    assert not os.listdir(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = permuted(loaded(models.cnn()))
    for folder, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "in", "Not a directory")):
        with pytest.raises(OutputError) as caught:
            traced(model, folder)
        assert str(caught.value) == (
            f"{folder}: cannot be made a folder ({reason}); give the path of a folder, or of a new one"
        )
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(
        OutputError, match=r"cannot be written \(Permission denied\); write to another folder"
    ):
        traced(permuted(loaded(models.cnn())), tmp_path / "locked")


def test_a_trace_replaces_the_one_before(tmp_path: Path) -> None:
    model = permuted(loaded(models.cnn()))
    (tmp_path / "first.csv").write_text("old")
    assert len(traced(model, tmp_path)) > 100


def test_values_make_no_difference_to_a_trace(tmp_path: Path) -> None:
    model = permuted(loaded(models.cnn()))
    texts = [write_trace(model, SimulateOptions(), None, tmp_path, seed=seed).read_text() for seed in (0, 1)]
    np.savez(tmp_path / "in.npz", image=np.zeros((1, 3, 8, 8), np.float32))
    texts.append(
        write_trace(model, SimulateOptions(inputs=str(tmp_path / "in.npz")), None, tmp_path).read_text()
    )
    assert texts[0] == texts[1] == texts[2]


def test_a_layer_without_weights_has_no_cycles(tmp_path: Path) -> None:
    assert traced(permuted(loaded(models.empty_layer())), tmp_path, "nothing") == []


# --- on the command line


def test_the_command_says_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    models.save(permuted(loaded(models.cnn())).proto, tmp_path / "net.onnx")
    assert run(["simulate", "net.onnx", "--trace", "t", "--layer", "second"]) == 0
    out, err = capsys.readouterr()
    assert err == "wrote t/second.csv\n" and "cycles" in out
    assert run(["simulate", "net.onnx", "--trace", "t", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(os.listdir("t")) == ["first.csv", "second.csv"]
    assert run(["simulate", "net.onnx", "--trace", "t", "--layer", "no"]) == 2
    assert capsys.readouterr() == (
        "",
        "tightc: error: --layer: expected the name of a layer, got 'no'; give one of first, second, last\n",
    )
