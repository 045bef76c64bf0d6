"""`pack --stream` and `unpack --stream`: files, the packed model beside them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.stream_reader import read_stream
from tightc.cli.main import run
from tightc.errors import ModelError, StreamError
from tightc.model.file import Model, save_model
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import decode_layers
from tightc.packing.options import PackOptions
from tightc.packing.pack import pack, pack_with_stream
from tightc.packing.unpack import unpack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.simulation.report.tiles import export_tiles
from tightc.tile.array import ArrayShape
from tightc.tile.packing import EMPTY

SMALL = PermuteOptions(
    array=ArrayShape(8, 4), fan_in=3, temp_schedule=TemperatureSchedule(steps=5, moves_per_weight=20), jobs=1
)


def permuted(form: str = "cnn", element_type: str = "float32", **changes: object) -> Model:
    model = loaded(models.FORMS[form](dtype="float32" if element_type == "int8" else element_type))
    if element_type == "int8":
        model = quantize(model, QuantizeOptions()).model
    return permute(model, SMALL.model_copy(update=changes))[0]


@pytest.mark.parametrize("element_type", ["float32", "float16", "int8"])
def test_the_stream_holds_the_tiles_and_weights_of_the_packed_model(element_type: str) -> None:
    result, image = pack_with_stream(permuted(element_type=element_type))
    plain, packings = decode_layers(result.model)
    network = read_network(plain)
    held = matching_packings(plain, network, packings)
    layers = [layer for layer in network.owners if layer.weight in held]
    read = read_stream(image)
    assert len(read) == len(layers) > 1
    for found, layer in zip(read, layers, strict=True):
        packing = held[layer.weight]
        weights = layer_matrix(network, layer).weights(*packing.slots())
        assert found.floating == (element_type != "int8")
        got = []
        for own, tile in zip(found.tiles, packing.tiles, strict=True):
            assert own.filters == tile.filters.tolist()
            assert np.array_equal(own.select, tile.select)
            assert [name for lane in own.lanes for name in lane] == tile.inputs.tolist()
            got += own.weights[tile.select != EMPTY].tolist()
        if found.floating:
            whole = weights.view(f"u{weights.dtype.itemsize}").tolist()
            assert [magnitude | negative << found.width - 1 for magnitude, negative in got] == whole
        else:
            assert [-magnitude if negative else magnitude for magnitude, negative in got] == weights.tolist()
    totals = result.report.totals
    assert totals["stream_bits"] == 8 * len(image)
    assert totals["stream_bits"] == 8 * 24 + sum(row["stream_bits"] for row in result.report.layers)


def test_the_tiles_that_simulate_exports_are_those_of_the_stream_in_its_order(tmp_path: Path) -> None:
    result, image = pack_with_stream(permuted(element_type="int8"))
    export_tiles(result.model, tmp_path / "tiles.npz")
    read = read_stream(image)
    with np.load(tmp_path / "tiles.npz", allow_pickle=False) as arrays:
        assert len(arrays["keys"]) == len(read) > 1
        for key, layer in zip(arrays["keys"].tolist(), read, strict=True):
            filters, inputs, select, weights = (
                arrays[f"{key}.{name}"] for name in ("filters", "inputs", "select", "weights")
            )
            assert len(filters) == len(layer.tiles)
            for index, tile in enumerate(layer.tiles):
                lanes, columns = tile.select.shape
                assert filters[index, filters[index] >= 0].tolist() == tile.filters
                assert [lane[lane >= 0].tolist() for lane in inputs[index, :lanes]] == tile.lanes
                assert np.array_equal(select[index, :lanes, :columns], tile.select)
                held = select[index] >= 0
                own = tile.weights[tile.select != EMPTY].tolist()
                assert [magnitude * (1 - 2 * negative) for magnitude, negative in own] == weights[index][
                    held
                ].tolist()


def test_the_stream_takes_no_more_passes_slots_or_lane_inputs() -> None:
    model = permuted()
    plain, streamed = pack(model).report.totals, pack_with_stream(model)[0].report.totals
    assert streamed["passes"] == plain["passes"]
    for name in ("area", "lane_inputs", "packed_bits"):
        assert streamed[name] <= plain[name]
    assert streamed["stream_bits"] == plain["stream_bits"] < plain["packed_bits"]


def test_unpack_checks_that_the_stream_is_that_of_the_model() -> None:
    model = permuted()
    result, image = pack_with_stream(model)
    assert unpack(result.model, image, "s.bin").report.totals["stream_bits"] == 8 * len(image)
    with pytest.raises(StreamError, match=r"s\.bin: the stream has other tiles or weights of "):
        unpack(result.model, pack_with_stream(permuted(fan_in=2))[1], "s.bin")
    with pytest.raises(StreamError, match=r"s\.bin: expected \d+ layers, got 1"):
        unpack(result.model, pack_with_stream(permuted("gemm"))[1], "s.bin")
    with pytest.raises(
        StreamError, match=r"s\.bin: layer 0 of the stream is damaged: its check sum is another"
    ):
        unpack(result.model, image[:40] + bytes([image[40] ^ 1]) + image[41:], "s.bin")


def test_dense_layers_have_no_stream() -> None:
    model = permuted(method="dense")
    totals = pack(model).report.totals
    assert totals["stream_bits"] is None
    with pytest.raises(ModelError, match="expected packed layers for a stream, got dense ones only"):
        pack_with_stream(model, PackOptions())


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        ("pack in.onnx -o out.onnx --stream out.onnx", "the model to write"),
        ("pack in.onnx -o out.onnx --stream link.onnx", "the model to write"),
        ("pack in.onnx -o - --stream /dev/stdout", "the model to write"),
        ("pack in.onnx -o out.onnx --stream in.onnx", "MODEL"),
        ("unpack packed.onnx -o stream.bin --stream stream.bin", "the model to write"),
    ],
)
def test_a_stream_has_a_file_of_its_own(
    arguments: str,
    role: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(permuted("gemm"), "in.onnx")
    assert run(["pack", "in.onnx", "--stream", "stream.bin", "-q", "-o", "packed.onnx"]) == 0
    Path("link.onnx").symlink_to("out.onnx")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.exists()}
    capsys.readouterr()
    command = arguments.split()
    assert run([*command, "-q"]) == 2
    assert capsys.readouterr().err == (
        f"tightc: error: --stream: expected a file of its own, got that of {role}, {command[-1]}; give another path\n"
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.exists()} == before


def test_the_command_and_the_verbs_write_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, packed, stream = (str(tmp_path / name) for name in ("in.onnx", "packed.onnx", "stream.bin"))
    save_model(permuted(), source)
    assert run(["pack", source, "--stream", stream, "-q", "-o", packed]) == 0
    result = tightc.pack(tightc.load(source), stream=tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == Path(stream).read_bytes()
    assert run(["unpack", packed, "--stream", stream, "-q", "-o", str(tmp_path / "plain.onnx")]) == 0
    assert tightc.unpack(result.model, stream=stream).report.totals["stream_bits"]
    capsys.readouterr()
    assert (
        run(["unpack", packed, "--stream", str(tmp_path / "none.bin"), "-q", "-o", str(tmp_path / "x")]) == 2
    )
    assert "none.bin: cannot be read" in capsys.readouterr().err
