"""What permute does with the weights that a lossy method leaves out, on small networks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import oracle
from helpers import models
from helpers.loading import loaded
from tightc.cli.main import run
from tightc.errors import OptionError
from tightc.model.file import load_model
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import matching_packings
from tightc.packing.pack import pack
from tightc.packing.unpack import unpack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

QUICK = {
    "array": ArrayShape(8, 4),
    "temp_schedule": TemperatureSchedule(steps=5, moves_per_weight=20),
    "jobs": 1,
}
COMBINE = PermuteOptions(**QUICK, method="column-combine", alpha=4, gamma=0.5)
NM = PermuteOptions(**QUICK, method="nm")
LOSSY = [COMBINE, NM]


def outputs(proto: onnx.ModelProto) -> list[np.ndarray]:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    return session.run(None, models.feeds(proto))


def constants(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    inside = [a.t for node in proto.graph.node if node.op_type == "Constant" for a in node.attribute]
    return [*proto.graph.initializer, *inside]


def zeroed_by_hand(proto: onnx.ModelProto, kept: dict[bytes, np.ndarray]) -> onnx.ModelProto:
    """`proto` with the weights outside of `kept` zero; `kept` has, by the bytes of a weight, a mask of its shape."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in constants(copy):
        array = numpy_helper.to_array(tensor)
        if array.tobytes() in kept:
            tensor.CopyFrom(numpy_helper.from_array(array * kept[array.tobytes()], tensor.name))
    return copy


@pytest.mark.parametrize("options", LOSSY, ids=lambda options: options.method)
@pytest.mark.parametrize("form", models.FORMS)
def test_dropped_weights_are_zero_and_nothing_else_changes(form: str, options: PermuteOptions) -> None:
    proto = models.FORMS[form]()
    network = read_network(loaded(proto))
    permuted, report = permute(loaded(proto), options, seed=1)
    onnx.checker.check_model(permuted.proto, full_check=True)
    after = read_network(permuted)
    packings = matching_packings(permuted, after)
    assert set(packings) == {layer.weight for layer in network.owners}
    kept = {}
    for row, layer in zip(report.layers, network.owners, strict=True):
        matrix, left = layer_matrix(network, layer), layer_matrix(after, layer)
        tiles, array = oracle.plain(packings[layer.weight]), tuple(options.array)
        assert oracle.packing_faults(tiles, left.values, matrix.groups, array, 4, left.values != 0) == []
        figures = oracle.measures(tiles, matrix.values, matrix.groups, array)
        assert {name: row[name] for name in figures} == pytest.approx(figures)
        mask = (left.values != 0).astype(matrix.values.dtype)
        kept[network.weights[layer.weight].tobytes()] = layer.tensor(
            mask, network.weights[layer.weight].shape
        )
    by_hand = zeroed_by_hand(proto, kept)
    stripped = permuted.copy_proto()
    del stripped.metadata_props[:]
    for ours, theirs in zip(constants(stripped), constants(by_hand), strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(ours), numpy_helper.to_array(theirs))
    for ours, theirs in zip(outputs(permuted.proto), outputs(by_hand), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("options", LOSSY, ids=lambda options: options.method)
def test_the_report_counts_dropped_weights_against_the_weights_as_they_were(options: PermuteOptions) -> None:
    before = read_network(loaded(models.cnn()))
    permuted, report = permute(loaded(models.cnn()), options)
    after = read_network(permuted)
    weights = [(before.weights[name], after.weights[name]) for name in before.weights]
    removed = sum(np.count_nonzero(old) - np.count_nonzero(new) for old, new in weights)
    squares = sum(float(np.square(old[new == 0], dtype=np.float64).sum()) for old, new in weights)
    total = sum(float(np.square(old, dtype=np.float64).sum()) for old, _ in weights)
    assert report.totals["dropped_weights"] == removed > 0
    assert report.totals["dropped_magnitude"] == pytest.approx(squares / total)
    assert report.totals["nonzeros"] == sum(np.count_nonzero(old) for old, _ in weights)
    (note,) = report.notes
    assert re.fullmatch(
        rf"{removed} weights were set to zero, \d+\.\d% of all that were not zero and "
        r"\d+\.\d% of their sum of squares; "
        "tightc finetune trains the rest",
        note,
    )


@pytest.mark.parametrize("options", LOSSY, ids=lambda options: options.method)
@pytest.mark.parametrize("form", models.FORMS)
def test_the_kept_weights_are_packed_and_simulated_without_loss(form: str, options: PermuteOptions) -> None:
    permuted, report = permute(loaded(models.FORMS[form]()), options)
    packed, packing_report = pack(permuted)
    assert packing_report.totals["dropped_weights"] == 0
    for ours, theirs in zip(outputs(packed.proto), outputs(permuted.proto), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    back = read_network(unpack(packed)[0])
    for name, weight in read_network(permuted).weights.items():
        np.testing.assert_array_equal(back.weights[name], weight)
    simulated = simulate(permuted, SimulateOptions())
    assert simulated.totals["nonzeros"] == report.totals["nonzeros"] - report.totals["dropped_weights"]


@pytest.mark.parametrize("options", LOSSY, ids=lambda options: options.method)
@pytest.mark.parametrize("form", ["cnn", "grouped", "shared weight"])
def test_serial_and_parallel_give_the_same_bytes(form: str, options: PermuteOptions) -> None:
    serial, _ = permute(loaded(models.FORMS[form]()), options, seed=3)
    parallel, _ = permute(loaded(models.FORMS[form]()), options.model_copy(update={"jobs": 4}), seed=3)
    assert serial.to_bytes() == parallel.to_bytes()


@pytest.mark.parametrize("options", LOSSY, ids=lambda options: options.method)
def test_permuting_again_drops_nothing_more(options: PermuteOptions) -> None:
    once, _ = permute(loaded(models.cnn()), options)
    again, report = permute(once, options.model_copy(update={"method": "tight"}))
    assert report.totals["dropped_weights"] == 0 and not any("set to zero" in note for note in report.notes)
    assert read_network(again).weights.keys() == read_network(once).weights.keys()
    for name, weight in read_network(once).weights.items():
        np.testing.assert_array_equal(read_network(again).weights[name], weight)


def test_a_lossless_combination_leaves_every_byte_of_the_weights() -> None:
    proto = models.cnn()
    permuted, report = permute(loaded(proto), COMBINE.model_copy(update={"gamma": 0.0}))
    stripped = permuted.copy_proto()
    del stripped.metadata_props[:]
    assert stripped.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)
    assert report.totals["dropped_weights"] == 0 and report.notes == ()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_column_combine_on_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--method", "column-combine", "--gamma", "0.5", "--array", "8x4"]
    assert run(["permute", "net.onnx", *arguments, "-o", "out.onnx"]) == 0
    printed = capsys.readouterr().out
    assert "weights were set to zero" in printed
    dropped = re.search(r"dropped_weights: (\d+)", printed)
    before, after = (read_network(load_model(name)).weights for name in ("net.onnx", "out.onnx"))
    removed = sum(np.count_nonzero(before[name]) - np.count_nonzero(after[name]) for name in before)
    assert dropped is not None and int(dropped[1]) == removed > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fan-in", "4"], "--alpha: expected alpha up to 4, the fan-in of the array, got 8; lower alpha to 4"),
        (["--alpha", "0"], "--alpha: expected maximum inputs per lane, .*, got 0; give a number of at least 1"),
        (["--alpha", "40000"], "--alpha: expected .*, got 40000; give a number of at most 32767"),
        (["--gamma", "-1"], "--gamma: expected .*, got -1.0; give a number of at least 0"),
        (["--gamma", "nan"], "--gamma: expected .*, got nan; give a finite number"),
        (["--gamma", "inf"], "--gamma: expected .*, got inf; give a finite number"),
    ],
)  # fmt: skip
def test_options_are_refused_with_the_remedy(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(["permute", "net.onnx", "--method", "column-combine", *arguments, "-o", "out.onnx"]) == 2
    assert re.match(f"tightc: error: {words}", capsys.readouterr().err)
    assert not (place / "out.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fan-in", "3"], "--pattern: expected a fan-in of 4 or more for pattern 2:4, got 3; raise fan_in to 4"),
        (["--pattern", "4:2"], "--pattern: expected .*, got '4:2'; give two integers N:M"),
        (["--pattern", "half"], "--pattern: expected .*, got 'half'; give two integers N:M"),
    ],
)  # fmt: skip
def test_patterns_are_refused_with_the_remedy(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(["permute", "net.onnx", "--method", "nm", *arguments, "-o", "out.onnx"]) == 2
    assert re.match(f"tightc: error: {words}", capsys.readouterr().err)
    assert not (place / "out.onnx").exists()


def test_nm_on_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["permute", "net.onnx", "--method", "nm", "--pattern", "1:4", "-o", "out.onnx", "--json"]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert totals["method"] == "nm" and totals["fan_in_max"] <= 4
    weights = read_network(load_model("out.onnx")).weights
    inputs = {name: weight.reshape(weight.shape[0], -1).shape[1] for name, weight in weights.items()}
    for name, weight in weights.items():
        kept = np.count_nonzero(weight.reshape(weight.shape[0], -1), axis=1)
        assert kept.max() <= -(-inputs[name] // 4)


def test_other_methods_do_not_mind_alpha_and_pattern() -> None:
    small = {"fan_in": 3, "alpha": 8, "pattern": "2:4"}
    assert PermuteOptions.of({"method": "tight", **small}).pattern == (2, 4)
    for method in ("column-combine", "nm"):
        with pytest.raises(OptionError):
            PermuteOptions.of({"method": method, **small})
