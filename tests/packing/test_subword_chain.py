"""Subwords through the whole chain: permuted, packed, unpacked, simulated, against onnxruntime and plain loops."""

from __future__ import annotations

from collections import Counter
from math import ceil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import oracle
from helpers import models
from helpers.loading import loaded
from tightc.cli.main import run
from tightc.errors import ModelError, OptionError
from tightc.model.file import Model, save_model
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.packing.pack import pack
from tightc.packing.unpack import unpack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

QUICK = {
    "array": ArrayShape(8, 8),
    "fan_in": 4,
    "temp_schedule": TemperatureSchedule(steps=5, moves_per_weight=20),
    "jobs": 1,
}
BITS = pytest.mark.parametrize("bits", [2, 4])


def pruned(form: str, bits: int, opset: int = models.OPSET) -> Model:
    quantized, _ = quantize(loaded(models.FORMS[form](opset, models.ir_for(opset))), QuantizeOptions())
    return prune(quantized, PruneOptions(sparsity=0.6, granularity="subword", subword_bits=bits))[0]


def permuted(model: Model, bits: int, **changes: object) -> tuple[Model, dict]:
    found, report = permute(model, PermuteOptions(**{**QUICK, "subword_bits": bits, **changes}))
    return found, report.totals


def outputs(model: Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.to_bytes(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def subwords(value: int, bits: int) -> int:
    return sum(abs(value) >> shift & (2**bits - 1) > 0 for shift in range(0, 8, bits))


@BITS
@pytest.mark.parametrize("method", ["tight", "first-fit"])
@pytest.mark.parametrize("form", models.FORMS)
def test_every_subword_has_one_slot(form: str, method: str, bits: int) -> None:
    model, totals = permuted(pruned(form, bits), bits, method=method)
    network = read_network(model)
    area = needed = 0
    for layer in network.owners:
        packing = read_packings(model)[layer.weight]
        expanded = oracle.block_diagonal(network.matrix(layer), layer.groups)
        seen: Counter[tuple[int, int]] = Counter()
        for tile in oracle.plain(packing):
            assert len(tile["lanes"]) <= 8 and len(tile["filters"]) <= 8
            assert all(len(lane) <= 4 and len(set(lane)) == len(lane) for lane in tile["lanes"])
            for lane, row in zip(tile["lanes"], tile["select"], strict=True):
                for f, chosen in zip(tile["filters"], row, strict=True):
                    if chosen != oracle.EMPTY:
                        seen[f, lane[chosen]] += 1
            area += len(tile["lanes"]) * len(tile["filters"])
        wanted = {(f, k): subwords(int(v), bits) for (f, k), v in np.ndenumerate(expanded) if v}
        assert dict(seen) == wanted
        needed += sum(wanted.values())
    slots = sum(network.matrix(layer).size for layer in network.owners) * (8 // bits)
    assert totals["matrix_compression_rate"] == pytest.approx(slots / area)
    assert totals["tightness"] == pytest.approx(needed / area) and totals["subwords"] == needed
    assert totals["dropped_weights"] == 0 and totals["dropped_magnitude"] == 0


@BITS
@pytest.mark.parametrize("opset", [13, models.OPSET, models.newest_opset()])
@pytest.mark.parametrize("form", models.FORMS)
def test_packed_and_unpacked_give_the_same_bits(form: str, opset: int, bits: int) -> None:
    model = pruned(form, bits, opset)
    packed, _ = pack(permuted(model, bits)[0])
    onnx.checker.check_model(packed.proto, full_check=True)
    plain, _ = unpack(packed)
    again, _ = pack(plain)
    feeds = models.feeds(model.proto)
    expected = outputs(model, feeds)
    for other in (packed, plain, again):
        assert all(map(np.array_equal, outputs(other, feeds), expected))
    before, after = read_network(model), read_network(plain)
    for old, new in zip(before.owners, after.owners, strict=True):
        assert np.array_equal(before.matrix(old), after.matrix(new))
    assert read_packings(plain).keys() == {layer.weight for layer in before.owners}


@BITS
@pytest.mark.parametrize(
    "form", ["cnn", "grouped", "depthwise", "gemm", "matmul left", "shared weight", "empty layer"]
)
def test_the_engine_multiplies_subwords_and_agrees_with_onnxruntime(form: str, bits: int) -> None:
    model, _ = permuted(pruned(form, bits), bits)
    report = simulate(model, SimulateOptions(verify=True, batch=2 if form == "cnn" else None))
    assert all(row["value_error"] < 1e-4 for row in report.layers)
    assert [row["engine_cycles"] for row in report.layers] == [row["cycles"] for row in report.layers]


@BITS
def test_the_dense_layer_runs_whole_words_on_the_same_multipliers(bits: int) -> None:
    model, totals = permuted(pruned("cnn", bits), bits)
    report = simulate(model, SimulateOptions())
    words = simulate(pruned("cnn", bits), SimulateOptions(array=ArrayShape(8, 8 * bits // 8)))
    for name in ("dense_cycles", "dense_passes", "dense_energy_pj"):
        assert report.totals[name] == pytest.approx(words.totals[name])
    assert totals["dense_passes"] == sum(row["dense_passes"] for row in words.layers if row["shares"] is None)


@BITS
def test_a_subword_takes_its_part_of_a_multiplication(bits: int) -> None:
    model, _ = permuted(pruned("gemm", bits), bits)
    report = simulate(model, SimulateOptions())
    network = read_network(model)
    used = sum(subwords(int(v), bits) for layer in network.owners for v in network.matrix(layer).ravel())
    (row,) = report.layers
    multiply, add = 0.2, 0.1  # pJ of an 8-bit multiplication and a 32-bit addition (Horowitz 2014)
    assert row["energy_parts_pj"]["mac"] == pytest.approx(used * row["vectors"] * (multiply * bits / 8 + add))


@BITS
def test_the_bits_of_a_slot_are_subword_sign_and_place(bits: int) -> None:
    model, totals = permuted(pruned("gemm", bits), bits)
    ((weight, packing),) = read_packings(model).items()
    tiles = oracle.plain(packing)
    area = sum(len(tile["lanes"]) * len(tile["filters"]) for tile in tiles)
    index = sum(oracle.index_bits(tile, packing.fan_in, packing.inputs, packing.filters) for tile in tiles)
    assert totals["packed_bits"] == area * (bits + 1 + ceil(np.log2(8 // bits))) + index
    network = read_network(model)
    assert totals["bit_compression"] == pytest.approx(
        8 * network.weights[weight].size / totals["packed_bits"]
    )


def test_a_file_keeps_its_subwords(tmp_path: Path) -> None:
    model, _ = permuted(pruned("cnn", 4), 4)
    packed, report = pack(model)
    save_model(packed, tmp_path / "packed.onnx")
    names = [
        tensor.name.rpartition(".")[2] for tensor in onnx.load(tmp_path / "packed.onnx").graph.initializer
    ]
    assert {"index", "layout"} <= set(names) and "values" not in names
    assert report.totals["subwords"] > 0


@pytest.mark.parametrize("method", ["column-combine", "nm", "structured", "dense"])
def test_methods_of_whole_weights_are_refused(method: str) -> None:
    with pytest.raises(OptionError) as fault:
        PermuteOptions.of({"method": method, "subword_bits": 4})
    assert str(fault.value) == (
        f"--subword-bits: expected a method that packs subwords, got {method}; choose tight or first-fit, or leave "
        "it out"
    )


def test_float_weights_have_no_subwords() -> None:
    with pytest.raises(
        ModelError, match="expected int8 weights, which have subwords, got float weights in first"
    ):
        permuted(loaded(models.cnn()), 4)


def test_damaged_subwords_are_refused() -> None:
    packed, _ = pack(permuted(pruned("gemm", 4), 4)[0])
    proto = packed.copy_proto()
    kept = [tensor for tensor in proto.graph.initializer if not tensor.name.endswith(".index")]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    with pytest.raises(ModelError, match=r"the packed tensor w\.int8\.index of weight w\.int8 is missing: "):
        unpack(packed.with_proto(proto))


@BITS
def test_the_command_line_takes_the_chain(bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(models.cnn(), "net.onnx")
    width = ["--subword-bits", str(bits)]
    for arguments in (
        ["quantize", "net.onnx", "-o", "int8.onnx"],
        ["prune", "int8.onnx", "--granularity", "subword", *width, "--sparsity", "0.6", "-o", "pruned.onnx"],
        ["permute", "pruned.onnx", "--array", "8x8", *width, "-o", "permuted.onnx"],
        ["pack", "permuted.onnx", "-o", "packed.onnx"],
        ["simulate", "packed.onnx", "--batch", "1", "--verify"],
    ):
        assert run([*arguments, "-q"]) == 0
    assert any(f"Rebuild{bits}Bit" in function.name for function in onnx.load("packed.onnx").functions)
