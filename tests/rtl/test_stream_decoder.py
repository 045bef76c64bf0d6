"""The decoder of weight streams in SystemVerilog, against a reader that is written from the page, and the weights."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tightc
from helpers.packings import packed_layer
from helpers.rtl_packings import random_packing
from helpers.rtl_runs import verilator, yosys
from helpers.stream_reader import ReadLayer, read_stream
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import matching_packings
from tightc.rtl.write import STREAM_MODULES
from tightc.stream.contents import slot_contents
from tightc.stream.image import HEADER_BYTES, write_image
from tightc.stream.layer import in_stored_order, stored_layer
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing

HERE = Path(__file__).parent
VERILOG = HERE.parents[1] / "src" / "tightc" / "rtl" / "verilog"
SOURCES = [str(VERILOG / name) for name in STREAM_MODULES]
Layers = list[tuple[LayerMatrix, Packing]]
Lines = list[tuple[str, tuple[int, ...]]]


def image_of(layers: Layers) -> bytes:
    parts = []
    for matrix, packing in layers:
        stored = stored_layer(packing)
        parts.append((stored, slot_contents(stored, in_stored_order(packing, stored), matrix)))
    return write_image(parts)


def sparse(filters: int, inputs: int, groups: int = 1, density: float = 0.2, seed: int = 0) -> LayerMatrix:
    rng = np.random.default_rng([seed, filters, inputs])
    values = rng.integers(-127, 128, (filters, inputs)) * (rng.random((filters, inputs)) < density)
    values[0, 0], values[-1, -1] = -128, 127
    return LayerMatrix(values.astype(np.int8), groups)


def packed(matrix: LayerMatrix, rows: int, columns: int, fan_in: int, method: str = "tight") -> Packing:
    return packed_layer(matrix, method, ArrayShape(rows, columns), fan_in)


FLOATS = replace(sparse(5, 9), values=sparse(5, 9).values.astype(np.float32))


def layers_of_all_kinds() -> Layers:
    """Splits, groups, repeated inputs and ranks, many columns, a dense layer, and one without weights."""
    plain, grouped, wide, single = sparse(9, 70), sparse(12, 9, 6), sparse(70, 11, density=0.4), sparse(3, 5)
    return [
        (plain, packed(plain, 4, 6, 3)),
        (grouped, packed(grouped, 4, 6, 3)),
        (plain, random_packing(plain.values, 1, (4, 6), 3, 1, None)),
        (wide, packed(wide, 4, 40, 2)),
        (single, packed(single, 2, 3, 1, "dense")),
        (LayerMatrix(np.zeros((4, 4), np.int8)), packed(LayerMatrix(np.zeros((4, 4), np.int8)), 4, 6, 3)),
        (sparse(1, 1), packed(sparse(1, 1), 4, 6, 3)),
    ]


def real_layers() -> Layers:
    """Two layers of the embedded example, pruned to a fifth, int8."""
    model = tightc.quantize(
        tightc.prune(tightc.load(tightc.examples() / "digits.onnx"), sparsity=0.8).model
    ).model
    model = tightc.permute(model, array="8x8", fan_in=4).model
    network = read_network(model)
    packings = matching_packings(model, network)
    return [(layer_matrix(network, layer), packings[layer.weight]) for layer in network.owners[1:3]]


LARGE = {"ROWS": 8, "COLUMNS": 40, "FAN_IN": 4, "FILTERS": 128, "INPUTS": 1024, "WORDS": 4096}


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The testbench in Verilator, with a decoder that is as large as LARGE says."""
    folder = tmp_path_factory.mktemp("decoder")
    given = [f"-G{name}={value}" for name, value in LARGE.items()]
    command = ["verilator", "--binary", "--top-module", "stream_testbench", "--Mdir", str(folder), *given]
    subprocess.run([*command, HERE / "stream_testbench.sv", *SOURCES], check=True, capture_output=True)
    return folder / "Vstream_testbench"


def said(decoder: Path, image: bytes, behind: bytes = b"\0") -> list[str]:
    """What the testbench says of `image`; `behind` fills the memory after it."""
    words = np.frombuffer(image.ljust(4 * LARGE["WORDS"], behind), ">u4")
    (decoder.parent / "image.hex").write_text("\n".join(f"{word:08x}" for word in words) + "\n")
    done = subprocess.run([decoder], cwd=decoder.parent, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith("- ")]


def decoded(decoder: Path, image: bytes) -> Lines:
    """The kind and the numbers of each line, of an image that is decoded to its end."""
    *lines, last = said(decoder, image)
    assert last.startswith("done after "), last
    return [(line.split()[0], tuple(map(int, line.split()[1:]))) for line in lines]


def expected(read: list[ReadLayer]) -> Lines:
    """What comes out of the layers that the other reader has read."""
    lines: Lines = []
    for number, layer in enumerate(read):
        for at, tile in enumerate(layer.tiles):
            lines += [("column", (number, at, column, name)) for column, name in enumerate(tile.filters)]
            for lane, names in enumerate(tile.lanes):
                lines += [("lane", (number, at, lane, place, name)) for place, name in enumerate(names)]
            for lane, column in zip(*np.nonzero(tile.select != EMPTY), strict=True):
                magnitude, negative = tile.weights[lane, column]
                weight = -magnitude if negative else magnitude
                select = int(tile.select[lane, column])
                lines.append(("slot", (number, at, int(lane), int(column), select, weight)))
        lines.append(("layer", (number,)))
    return lines


def rebuilt(lines: Lines, layers: Layers) -> list[np.ndarray]:
    """The layer matrices from what the decoder gave."""
    filters = {key[:3]: key[3] for kind, key in lines if kind == "column"}
    inputs = {key[:4]: key[4] for kind, key in lines if kind == "lane"}
    found = [np.zeros(matrix.values.shape, int) for matrix, _ in layers]
    for kind, key in lines:
        if kind == "slot":
            layer, tile, lane, column, select, weight = key
            name = inputs[layer, tile, lane, select] % layers[layer][0].values.shape[1]
            found[layer][filters[layer, tile, column], name] += weight
    return found


@verilator
@pytest.mark.parametrize("layers", [real_layers, layers_of_all_kinds])
def test_every_weight_select_and_list_comes_out(layers: Callable[[], Layers], decoder: Path) -> None:
    given = layers()
    image = image_of(given)
    lines = decoded(decoder, image)
    assert sorted(lines) == sorted(expected(read_stream(image)))
    for found, (matrix, _) in zip(rebuilt(lines, given), given, strict=True):
        np.testing.assert_array_equal(found, matrix.values)


@verilator
def test_damage_raises_the_error_flag_before_its_layer_is_done(decoder: Path) -> None:
    """Every byte has one flipped bit in turn, and the image ends at every eighth byte."""
    matrix = sparse(5, 9)
    image = image_of([(matrix, packed(matrix, 3, 4, 2))] * 2)
    second = HEADER_BYTES + (len(image) - HEADER_BYTES) // 2
    damaged = {}
    for byte in range(len(image)):
        flipped = bytearray(image)
        flipped[byte] ^= 1 << byte % 8
        damaged[byte] = bytes(flipped)
    cut = [(end, image[:end], behind) for end in range(0, len(image), 8) for behind in (b"\0", b"\xff")]
    for at, content, behind in [*((at, content, b"\0") for at, content in damaged.items()), *cut]:
        *lines, last = said(decoder, content, behind)
        assert last.startswith("error ") and not last.startswith("error 0 "), (at, last)
        done = sum(line.startswith("layer ") for line in lines)
        assert done == (1 if at >= second else 0), (at, last)


TOO_LARGE = {
    "rows": (sparse(9, 70), packed(sparse(9, 70), 9, 8, 4)),
    "columns": (sparse(9, 70), packed(sparse(9, 70), 8, 41, 4)),
    "fan-in": (sparse(9, 70), packed(sparse(9, 70), 8, 8, 5)),
    "filters": (sparse(129, 7), packed(sparse(129, 7), 8, 8, 4)),
    "inputs": (sparse(12, 200, 6), packed(sparse(12, 200, 6), 8, 8, 4)),
    "weights": (FLOATS, packed(FLOATS, 8, 8, 4)),
}


@verilator
@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_layer_that_is_too_large_for_the_decoder(name: str, decoder: Path) -> None:
    last = said(decoder, image_of([TOO_LARGE[name]]))[-1]
    assert last.startswith("error 4 in layer 0 "), last


SIZES = {
    "plain": {},
    "a single element": {"ROWS": 1, "COLUMNS": 1, "FILTERS": 1, "INPUTS": 1, "STEPS": 1},
    "odd": {"ROWS": 5, "COLUMNS": 7, "FAN_IN": 3, "FILTERS": 33, "INPUTS": 50},
    "large": {
        "ROWS": 32,
        "COLUMNS": 32,
        "FAN_IN": 8,
        "FILTERS": 128,
        "INPUTS": 640,
        "ADDRESS_BITS": 20,
        "STEPS": 8,
    },
}


@verilator
@pytest.mark.parametrize("name", SIZES)
def test_verilator_has_no_warning_on_the_decoder(name: str) -> None:
    given = [f"-G{key}={value}" for key, value in SIZES[name].items()]
    command = ["verilator", "--lint-only", "-Wall", *given, "--top-module", "stream_decoder", *SOURCES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@yosys
def test_yosys_reads_the_decoder(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    for source in SOURCES:
        shutil.copy(source, folder)
    script = "read_verilog -sv *.sv; hierarchy -check -top stream_decoder; proc; check -assert; stat"
    done = subprocess.run(["yosys", "-p", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    assert "$dlatch" not in done.stdout
