"""SCALE-Sim: its formulas, the exported files, and its own cycles for them."""

from __future__ import annotations

import configparser
import csv
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path

import pytest

import oracle
import tightc
from helpers import models
from helpers.layer_shapes import NETWORKS
from helpers.loading import loaded
from tightc.accelerator.accelerator import Accelerator
from tightc.config.input_sizes import InputSizeOptions
from tightc.cost_model.cycles import layer_cycles
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.passes import Dataflow, dense_passes
from tightc.errors import OutputError
from tightc.model.file import Model, load_model
from tightc.packing.pack import pack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.report import Report
from tightc.simulation.options import SimulateOptions
from tightc.simulation.report.scalesim import _kilobytes, export_scalesim
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

DATAFLOWS = ("ws", "os", "is")
ARRAYS = [ArrayShape(8, 8), ArrayShape(32, 32), ArrayShape(128, 128), ArrayShape(16, 64)]
SMALL = ArrayShape(8, 4)
# weights without biases and BatchNorm, as torchvision and the papers count them; multiply-accumulates
PUBLISHED = {
    "ResNet-20": (268_336, 40_551_040),
    "VGG-16": (138_357_544 - 13_416, 15_470_264_320),
    "MobileNetV2": (3_504_872 - 2 * 17_056 - 1000, 300_774_272),
    "ResNet-50": (25_557_032 - 2 * 26_560 - 1000, 3_857_973_248),
    "ResNet-50, late strides": (25_557_032 - 2 * 26_560 - 1000, 4_089_184_256),
}


def conv(shape: str, attributes: str, *weight: int, name: str = "c") -> Model:
    """A model of one Conv on an input of that shape."""
    axes = ", ".join("NCDHW"[: len(weight)])
    text = f"net (float[{shape}] x) => (float[{axes}] y) {{ [{name}] y = Conv<{attributes}>(x, w) }}"
    return loaded(models.build(text, w=models.sparse(*weight)))


def export(model: Model, folder: Path, dataflow: str = "ws", **input_sizes: object) -> str:
    """The text of the topology."""
    paths = export_scalesim(model, folder, SMALL, dataflow, InputSizeOptions.of(input_sizes))
    assert [path.name for path in paths if path.name != "passes.csv"] == [
        "topology.csv",
        "scale.cfg",
        "README",
    ]
    assert sorted(paths) == sorted(folder.iterdir())
    return paths[0].read_text()


def as_scale_sim_reads(topology: str) -> Iterator[tuple[str, int, int, int, int]]:
    """(name, groups, filters, inputs, vectors) of each line, by the rules of SCALE-Sim 3.0.0."""
    for line in topology.splitlines()[1:]:
        *cells, nothing = line.split(",")
        assert nothing == "", "SCALE-Sim leaves out what follows the last comma"
        name, *numbers = (cell.strip() for cell in cells)
        height, width, kernel_height, kernel_width, channels, filters, stride = map(int, numbers)
        assert "DP" not in name, "SCALE-Sim takes it for a depthwise layer and multiplies it"
        assert kernel_height <= height and kernel_width <= width
        out_height = ceil((height - kernel_height + stride) / stride)
        out_width = ceil((width - kernel_width + stride) / stride)
        groups = name.rpartition("_x")[2] if "_x" in name else "1"
        inputs = kernel_height * kernel_width * channels
        yield name, int(groups) if groups.isdecimal() else 1, filters, inputs, out_height * out_width


def assert_same_layers(topology: str, report: Report) -> None:
    """Line for line the matrices, groups and vectors that simulate counts."""
    found = list(as_scale_sim_reads(topology))
    assert [line[1:] for line in found] == [
        (row["groups"], row["filters"], row["inputs"], row["vectors"]) for row in report.layers
    ]
    assert len({line[0] for line in found}) == len(found)


# --- formulas


def scale_sim_total_cycles(dataflow: str, array: ArrayShape, filters: int, inputs: int, vectors: int) -> int:
    """SCALE-Sim's total cycles: the number, from 0, of the last line of its demand matrices.

    For every fold they have a line for each row of the array that is loaded, unless the outputs stay, one for each
    step in time, and what the skew over rows and columns adds.
    """
    along_rows, along_columns, time = {
        "ws": (inputs, filters, vectors),
        "os": (vectors, filters, inputs),
        "is": (inputs, vectors, filters),
    }[dataflow]
    loads = 0 if dataflow == "os" else array.rows
    lines = loads + time + (array.columns - 1) + (array.rows - 1)
    folds = len(range(0, along_rows, array.rows)) * len(range(0, along_columns, array.columns))
    return folds * lines - 1


def closed_form(dataflow: Dataflow, array: ArrayShape, filters: int, inputs: int, vectors: int) -> int:
    passes = dense_passes(dataflow, GemmWorkload(filters, inputs, 1, vectors), array)
    return layer_cycles(passes, Accelerator(array)).total


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("array", ARRAYS, ids=str)
@pytest.mark.parametrize("network", NETWORKS)
def test_closed_forms_are_scale_sims(network: str, array: ArrayShape, dataflow: str) -> None:
    for filters, inputs, vectors, _ in set(NETWORKS[network]):
        found = closed_form(dataflow, array, filters, inputs, vectors)
        assert found == scale_sim_total_cycles(dataflow, array, filters, inputs, vectors) + 1


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("layer", oracle.SCALE_SIM)
def test_closed_forms_give_the_nine_figures(layer: tuple[int, int, int, int], dataflow: str) -> None:
    side, kernel, channels, filters = layer
    shape = (filters, channels * kernel**2, (side - kernel + 1) ** 2)
    array = ArrayShape(32, 32)
    assert closed_form(dataflow, array, *shape) == oracle.SCALE_SIM[layer][dataflow]
    assert scale_sim_total_cycles(dataflow, array, *shape) + 1 == oracle.SCALE_SIM[layer][dataflow]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_shapes_add_up_to_what_is_published(network: str) -> None:
    weights = [layer.filters * layer.inputs * layer.groups for layer in NETWORKS[network]]
    macs = sum(count * layer.vectors for count, layer in zip(weights, NETWORKS[network], strict=True))
    assert (sum(weights), macs) == PUBLISHED[network]


# --- export


def test_the_shared_resnet20(resnet20: Path, tmp_path: Path) -> None:
    topology = export(load_model(resnet20), tmp_path / "new" / "folder")
    lines = topology.splitlines()
    assert lines[0].startswith(
        "Layer name, IFMAP height, IFMAP width, Filter height, Filter width, Channels,"
    )
    assert lines[1] == "node_Conv_373, 34, 34, 3, 3, 3, 16, 1,"
    assert lines[8] == "node_Conv_387, 33, 33, 3, 3, 16, 32, 2,"  # of 34 the last is in no window
    assert lines[14] == "node_Conv_400, 17, 17, 3, 3, 32, 64, 2,"
    assert lines[20] == "node_linear, 1, 1, 1, 1, 64, 10, 1,"
    assert_same_layers(topology, simulate(load_model(resnet20), SimulateOptions()))
    read = [(*shape, groups) for _, groups, *shape in as_scale_sim_reads(topology)]
    assert read == NETWORKS["ResNet-20"]


@pytest.mark.parametrize("form", models.FORMS)
def test_every_form_of_layer_has_its_line(form: str, tmp_path: Path) -> None:
    model = loaded(models.FORMS[form]())
    assert_same_layers(export(model, tmp_path), simulate(model, SimulateOptions()))


@pytest.mark.parametrize(
    ("shape", "attributes", "weight", "line"),
    [
        ("1, 3, 9, 8", "pads = [1, 0, 2, 3]", (4, 3, 3, 2), "c, 12, 11, 3, 2, 3, 4, 1,"),
        ("1, 3, 9, 8", 'auto_pad = "SAME_UPPER", strides = [2, 2]', (4, 3, 3, 3), "c, 11, 9, 3, 3, 3, 4, 2,"),
        ("1, 3, 9, 8", "strides = [4, 4]", (4, 3, 1, 1), "c, 9, 5, 1, 1, 3, 4, 4,"),
        ("1, 3, 9, 8", "strides = [2, 1]", (4, 3, 3, 3), "c, 24, 1, 1, 1, 27, 4, 1,"),
        ("1, 3, 9, 8", "dilations = [1, 2]", (4, 3, 3, 3), "c, 28, 1, 1, 1, 27, 4, 1,"),
        ("2, 3, 9, 8", "pads = [1, 1, 1, 1]", (4, 3, 3, 3), "c, 144, 1, 1, 1, 27, 4, 1,"),
        ("1, 3, 9", "strides = [2]", (4, 3, 3), "c, 4, 1, 1, 1, 9, 4, 1,"),
        ("1, 2, 4, 4, 4", "pads = [1, 1, 1, 0, 0, 0]", (4, 2, 2, 2, 2), "c, 64, 1, 1, 1, 16, 4, 1,"),
        ("1, 6, 9, 8", "group = 3", (12, 2, 3, 3), "c_x3, 9, 8, 3, 3, 2, 4, 1,"),
        ("1, 6, 9, 8", "group = 6, dilations = [2, 2]", (6, 1, 3, 3), "c_x6, 20, 1, 1, 1, 9, 1, 1,"),
    ],
)
def test_lines_by_hand(
    shape: str, attributes: str, weight: tuple[int, ...], line: str, tmp_path: Path
) -> None:
    model = conv(shape, attributes, *weight)
    topology = export(model, tmp_path)
    assert topology.splitlines()[1:] == [line]
    assert_same_layers(topology, simulate(model, SimulateOptions()))


def test_input_sizes_open_what_the_model_leaves_open(tmp_path: Path) -> None:
    model = conv("B, 3, H, W", "strides = [2, 2]", 4, 3, 3, 3)
    image = export(model, tmp_path, input_shape=["x=1x3x11x8"])
    assert image.splitlines()[1:] == ["c, 11, 7, 3, 3, 3, 4, 2,"]
    images = export(model, tmp_path, input_shape=["x=1x3x11x8"], batch=5)
    assert images.splitlines()[1:] == ["c, 75, 1, 1, 1, 27, 4, 1,"]


def test_names_are_safe_and_differ(tmp_path: Path) -> None:
    given = ["/a/b, c", "/a/b/c", "DPW", "DP,DP", "größe", "層", "g_x4", "g", "g", "g_pass_0"]
    nodes = "\n".join(f"v{i + 1} = MatMul(v{i}, w)" for i in range(len(given)))
    proto = models.build(
        f"net (float[2, 3] v0) => (float[2, 3] v{len(given)}) {{ {nodes} }}", w=models.sparse(3, 3)
    )
    for node, name in zip(proto.graph.node, given, strict=True):
        node.name = name
    topology = export(loaded(proto), tmp_path)
    names = [line[0] for line in as_scale_sim_reads(topology)]
    assert names == [
        "a_b_c",
        "a_b_c_2",
        "dpW",
        "dp_dp",
        "gr_e",
        "layer",
        "g_x4_x1",
        "g",
        "g_2",
        "g_pass_0_x1",
    ]
    assert {line[1:] for line in as_scale_sim_reads(topology)} == {(1, 3, 3, 2)}


def test_a_packed_model_gives_the_lines_of_the_plain_one(tmp_path: Path) -> None:
    model = loaded(models.cnn())
    permuted, _ = permute(model, PermuteOptions(array=SMALL, fan_in=3, method="first-fit"))
    packed, _ = pack(permuted)
    assert export(packed, tmp_path / "packed") == export(model, tmp_path / "plain")


def packed_network(array: ArrayShape) -> Model:
    """Grouped, strided and Gemm layers in tiles; of the last layer all weights, as a dense packing."""
    model, _ = prune(network(), PruneOptions(sparsity=0.6))
    permuted, _ = permute(model, PermuteOptions(array=array, fan_in=3, method="first-fit"))
    packed, _ = pack(permuted)
    return packed


def test_passes_have_lines_of_their_own(tmp_path: Path) -> None:
    model = packed_network(SMALL)
    topology = export(model, tmp_path)
    passes = (tmp_path / "passes.csv").read_text()
    rows = simulate(model, SimulateOptions(array=SMALL)).layers
    found = list(as_scale_sim_reads(passes))
    assert [line[0] for line in found] == [
        f"{name.strip()}_pass_{number}"
        for name, row in zip((line.split(",")[0] for line in topology.splitlines()[1:]), rows, strict=True)
        for number in range(row["passes"])
    ]
    tiles = tightc.tiles(model)
    assert [line[2:4] for line in found] == [(tile.select.shape[1], tile.select.shape[0]) for tile in tiles]
    for row in rows:
        own = [line[2:] for line in found if re.fullmatch(rf"{row['name']}(_x\d+)?_pass_\d+", line[0])]
        assert len(own) == row["passes"]
        assert sum(scale_sim_total_cycles("ws", SMALL, *shape) + 1 for shape in own) == row["cycles"]


def test_layers_without_tiles_keep_their_line_among_the_passes(tmp_path: Path) -> None:
    permuted, _ = permute(network(), PermuteOptions(array=SMALL, method="dense"))
    export(permuted, tmp_path)
    assert not (tmp_path / "passes.csv").exists() and "passes.csv" not in (tmp_path / "README").read_text()
    export(packed_network(SMALL), tmp_path)
    assert "-t passes.csv -l passes.csv" in (tmp_path / "README").read_text()


def test_buffers_hold_the_passes_too(tmp_path: Path) -> None:
    export(packed_network(SMALL), tmp_path)
    found = configparser.ConfigParser()
    found.read(tmp_path / "scale.cfg")
    words = 1024 * int(found["architecture_presets"]["IfmapSramSzkB"])
    for line in (tmp_path / "passes.csv").read_text().splitlines()[1:]:
        height, width, _, _, channels, *_ = map(int, line.split(",")[1:-1])
        assert words >= 2 * height * width * channels


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_the_configuration(dataflow: str, tmp_path: Path) -> None:
    model = loaded(models.cnn())
    topology = export(model, tmp_path, dataflow)
    found = configparser.ConfigParser()
    found.read(tmp_path / "scale.cfg")
    array = found["architecture_presets"]
    assert (array["ArrayHeight"], array["ArrayWidth"], array["Dataflow"]) == ("8", "4", dataflow)
    assert found["run_presets"]["InterfaceBandwidth"] == "CALC"
    buffers = {name: 1024 * int(array[f"{name}SramSzkB"]) for name in ("Ifmap", "Filter", "Ofmap")}
    for line, row in zip(topology.splitlines()[1:], as_scale_sim_reads(topology), strict=True):
        _, _, filters, inputs, vectors = row
        height, width, _, _, channels, *_ = map(int, line.split(",")[1:-1])
        assert buffers["Ifmap"] >= 2 * height * width * channels
        assert buffers["Filter"] >= 2 * filters * inputs
        assert buffers["Ofmap"] >= 2 * filters * vectors * ceil(inputs / 8)  # sums of every fold


def test_a_second_export_replaces_the_first_and_leaves_the_rest(tmp_path: Path) -> None:
    export(loaded(models.cnn()), tmp_path)
    other = tmp_path / "notes"
    other.write_text("mine")
    model = conv("1, 3, 9, 8", "strides = [2, 2]", 4, 3, 3, 3)
    paths = export_scalesim(model, tmp_path, ArrayShape(16, 64), "os", InputSizeOptions())
    assert sorted((*paths, other)) == sorted(tmp_path.iterdir())
    assert paths[0].read_text().splitlines()[1:] == ["c, 9, 7, 3, 3, 3, 4, 2,"]
    assert other.read_text() == "mine"


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for folder in (taken, taken / "inside"):
        with pytest.raises(
            OutputError, match=r"taken.* cannot be made a folder .*; give the path of a folder"
        ):
            export_scalesim(loaded(models.cnn()), folder, SMALL, "ws", InputSizeOptions())
    assert taken.read_text() == "mine"


# --- SCALE-Sim itself


def network() -> Model:
    """Strided with a pixel that no window touches, depthwise, dilated, Gemm."""
    return loaded(
        models.build(
            """net (float[1, 3, 10, 10] x) => (float[1, 5] y) {
                [strided] a = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, u)
                [depthwise] b = Conv<group = 12, pads = [1, 1, 1, 1]>(a, v)
                [dilated] c = Conv<dilations = [2, 2]>(b, w)
                d = Flatten(c)
                [last] y = Gemm(d, z)
            }""",
            u=models.sparse(12, 3, 3, 3),
            v=models.sparse(24, 1, 3, 3),
            w=models.sparse(20, 24, 3, 3),
            z=models.sparse(20, 5),
        )
    )


@pytest.fixture
def scale_sim(tmp_path: Path) -> Iterator[Path]:
    """The Python of an environment that has SCALE-Sim 3.0.0; half a gigabyte, gone after the test."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    python = folder / "bin" / "python"
    options = ["--quiet", "--disable-pip-version-check", "--retries=1", "--timeout=15", "--only-binary=:all:"]
    command = [python, "-m", "pip", "install", *options, "scalesim==3.0.0", "numpy<2"]
    try:
        pip = subprocess.run(command, capture_output=True, text=True, timeout=300)
        fault = (pip.stderr.strip().splitlines() or ["no reason given"])[-1] if pip.returncode else ""
    except subprocess.TimeoutExpired:
        fault = "no end after 300 s"
    try:
        if fault:
            pytest.skip(f"SCALE-Sim 3.0.0 was not run: the package registry cannot be reached (pip: {fault})")
        yield python
    finally:
        shutil.rmtree(folder)


def run_as_the_readme_says(scale_sim: Path, folder: Path) -> list[list[dict[str, str]]]:
    """The lines of the compute report of each command in the README."""
    reports = []
    for line in (folder / "README").read_text().splitlines():
        if line.startswith("    python "):
            _, *arguments = shlex.split(line)
            run = subprocess.run(
                [scale_sim, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
            )
            assert run.returncode == 0, run.stderr
            report = folder / arguments[arguments.index("-p") + 1] / "tightc" / "COMPUTE_REPORT.csv"
            with report.open(newline="") as lines:
                reports.append(list(csv.DictReader(lines, skipinitialspace=True)))
    return reports


def test_scale_sim_runs_the_export_and_counts_the_same_cycles(scale_sim: Path, tmp_path: Path) -> None:
    array = ArrayShape(8, 8)
    for dataflow in DATAFLOWS:
        folder = tmp_path / dataflow
        export_scalesim(network(), folder, array, dataflow, InputSizeOptions())
        (counted,) = run_as_the_readme_says(scale_sim, folder)
        rows = simulate(network(), SimulateOptions(array=array, dataflow=dataflow)).layers
        assert [row["name"] for row in rows] == ["strided", "depthwise", "dilated", "last"]
        for row, line in zip(rows, counted, strict=True):
            assert line["Stall Cycles"] == "0"
            found = int(line["Total Cycles"]) + 1
            assert found == closed_form(dataflow, array, row["filters"], row["inputs"], row["vectors"])
            if (
                row["groups"] == 1
            ):  # SCALE-Sim runs groups one after the other, tightc may have them in one pass
                assert found == row["dense_cycles"], (dataflow, row["name"])
    packed = packed_network(array)
    export_scalesim(packed, tmp_path / "packed", array, "ws", InputSizeOptions())
    _, passes = run_as_the_readme_says(scale_sim, tmp_path / "packed")
    rows = simulate(packed, SimulateOptions(array=array)).layers
    assert len(passes) == sum(row["passes"] for row in rows)
    counted = iter(passes)
    for row in rows:
        lines = [next(counted) for _ in range(row["passes"])]
        assert sum(int(line["Total Cycles"]) + 1 for line in lines) == row["cycles"], row["name"]


@pytest.mark.parametrize("words", [0, 1, 461, 462, 463, 512, 974, 975, 10**6])
def test_half_of_a_buffer_holds_every_word_in_a_hundred_equal_sets(words: int) -> None:
    kilobytes = _kilobytes(words)
    # SCALE-Sim rounds the size of a set of each half down
    assert 100 * (1024 * kilobytes // 2 // 100) >= words
    assert 1024 * (kilobytes - 1) < 2 * words + 100
