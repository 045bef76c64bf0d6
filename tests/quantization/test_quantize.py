"""Quantize: outputs of int8 models by onnxruntime, against numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.errors import ModelError, OptionError
from tightc.model.file import Model, load_model_bytes
from tightc.model.history import read_history
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import is_permuted
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

QUICK = PermuteOptions(
    array=ArrayShape(8, 4), fan_in=3, temp_schedule=TemperatureSchedule(steps=5, moves_per_weight=20), jobs=1
)


def outputs(model: Model, feeds: dict[str, np.ndarray], *, literal: bool = False) -> list[np.ndarray]:
    """Outputs of stock onnxruntime; with `literal` it does not fuse int8 operators."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    if literal:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.to_bytes(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def tensors(model: Model) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.proto.graph.initializer}


def layers(model: Model) -> tuple[Layer, ...]:
    return read_network(model).layers


@pytest.mark.parametrize("opset", [13, models.OPSET, models.newest_opset()])
@pytest.mark.parametrize("form", models.FORMS)
def test_the_model_computes_with_its_int8_weights(form: str, opset: int) -> None:
    model = loaded(models.FORMS[form](opset, models.ir_for(opset)))
    quantized, report = quantize(model, QuantizeOptions())
    onnx.checker.check_model(quantized.proto, full_check=True)
    network, before = read_network(quantized), read_network(model)
    dequantized = {}
    for layer, old in zip(network.owners, before.owners, strict=True):
        assert network.weights[layer.weight].dtype == np.int8
        matrix, was = network.dequantized_matrix(layer), before.dequantized_matrix(old)
        assert np.abs(matrix - was).max() <= np.abs(was).max() / 127  # half a scale step, or clipped a little
        assert (matrix[was == 0] == 0).all()
        dequantized[old.weight] = network.dequantized_tensor(layer)
    by_hand = model.with_tensors(dequantized)
    feeds = models.feeds(model.proto)
    for found, expected in zip(outputs(quantized, feeds, literal=True), outputs(by_hand, feeds), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    untouched = tensors(model).keys() - {layer.weight for layer in before.layers}
    assert all(tensors(quantized)[name].tobytes() == tensors(model)[name].tobytes() for name in untouched)
    assert [entry["stage"] for entry in read_history(quantized)] == ["quantize"]
    assert report.totals["weights"] == sum(row["weights"] for row in report.layers)


@pytest.mark.parametrize("form", models.FORMS)
def test_the_chain_keeps_every_bit(form: str) -> None:
    quantized, _ = quantize(loaded(models.FORMS[form]()), QuantizeOptions())
    pruned, _ = prune(quantized, PruneOptions(sparsity=0.3))
    permuted, _ = permute(pruned, QUICK)
    packed, report = pack(permuted)
    onnx.checker.check_model(packed.proto, full_check=True)
    plain, _ = unpack(packed)
    feeds = models.feeds(quantized.proto)
    expected = outputs(pruned, feeds)
    for model in (permuted, packed, plain):
        assert all(map(np.array_equal, outputs(model, feeds), expected))
    assert report.totals["dropped_weights"] == 0
    before, after = read_network(pruned), read_network(plain)
    for old, new in zip(before.owners, after.owners, strict=True):
        assert np.array_equal(before.matrix(old), after.matrix(new))
    verified = simulate(packed, SimulateOptions(verify=True, batch=2 if form == "cnn" else None))
    assert all(row["value_error"] < 1e-4 for row in verified.layers)


def test_pruning_compares_dequantized_magnitudes() -> None:
    weight = np.array([[1.0, 0.6], [0.01, 0.008]], np.float32)
    proto = models.build(
        "net (float[1, 2] x) => (float[1, 2] y) { [mm] y = MatMul(w, x1) \n x1 = Transpose(x) }".replace(
            "{ [mm] y = MatMul(w, x1) \n x1 = Transpose(x) }", "{ [g] y = Gemm<transB = 1>(x, w) }"
        ),
        w=weight,
    )
    pruned, _ = prune(quantize(loaded(proto), QuantizeOptions())[0], PruneOptions(sparsity=0.5))
    network = read_network(pruned)
    assert (network.matrix(network.layers[0]) != 0).tolist() == [[True, True], [False, False]]


def classifier() -> tuple[Model, NormalizedImages]:
    """A model of two linear layers, and images for calibration."""
    proto = models.build(
        """net (float[b, 1, 2, 2] image) => (float[b, 3] y) {
            f = Flatten(image)
            [one] a = Gemm<transB = 1>(f, w)
            r = Relu(a)
            [two] y = Gemm<transB = 1>(r, v)
        }""",
        w=models.sparse(5, 4, density=1.0),
        v=models.sparse(3, 5, density=1.0, seed=1),
    )
    pixels = np.random.default_rng(0).normal(size=(40, 1, 2, 2)).astype(np.float32)
    return loaded(proto), NormalizedImages(
        Images(pixels, np.zeros(40, np.int64), ("a", "b", "c")), Normalization()
    )


def test_inputs_are_quantized_to_the_range_of_the_images() -> None:
    model, seen = classifier()
    quantized, report = quantize(model, QuantizeOptions(calibration="min-max"), seen)
    onnx.checker.check_model(quantized.proto, full_check=True)
    network = read_network(quantized)
    one, two = (network.dequantized_matrix(layer) for layer in network.layers)

    def rounded(values: np.ndarray, step: float) -> np.ndarray:
        return np.clip(np.rint(values / step), -128, 127) * step

    flat = seen.images.pixels.reshape(40, 4).astype(np.float64)
    steps = [row["input_scale"] for row in report.layers]
    assert steps[0] == pytest.approx(np.abs(flat).max() / 127)
    hidden = np.maximum(rounded(flat, steps[0]) @ one.T, 0)
    expected = rounded(hidden, steps[1]) @ two.T
    (found,) = outputs(quantized, {"image": seen.images.pixels})
    np.testing.assert_allclose(found, expected, atol=1.5 * steps[1] * np.abs(two).max())
    assert np.abs(found - expected).mean() < 0.1 * steps[1]


@pytest.mark.parametrize("calibration", ["percentile", "entropy"])
def test_ranges_without_the_largest_values_are_narrower(calibration: str) -> None:
    model, seen = classifier()
    pixels = np.random.default_rng(1).normal(size=(4000, 1, 2, 2)).astype(np.float32)
    pixels[0, 0, 0, 0] = 50
    seen = NormalizedImages(Images(pixels, np.zeros(4000, np.int64), seen.images.classes), Normalization())
    _, report = quantize(
        model, QuantizeOptions(calibration=calibration, percentile=99.9, calibration_images=4000), seen
    )
    assert 2 < 127 * report.layers[0]["input_scale"] < 20


@pytest.mark.parametrize("calibration", ["min-max", "percentile", "entropy"])
def test_progress_is_reported(calibration: str) -> None:
    model, seen = classifier()
    reported: list[tuple[float, dict[str, str]]] = []
    options = QuantizeOptions(calibration=calibration)
    quantize(model, options, seen, progress=lambda _, done, figures: reported.append((done, dict(figures))))
    fractions = [done for done, _ in reported]
    assert fractions == sorted(fractions) and 0 < fractions[0] < 0.6 and fractions[-1] == 1
    assert {"images": f"{len(seen.images.pixels):,}"} in [figures for _, figures in reported]
    histograms = [figures["input"] for _, figures in reported if "input" in figures]
    assert histograms == ([] if calibration == "min-max" else [row.input for row in layers(model)])


def test_inputs_can_be_quantized_later_and_nothing_twice() -> None:
    model, seen = classifier()
    once, _ = quantize(model, QuantizeOptions(), seen)
    weights, _ = quantize(model, QuantizeOptions())
    later, _ = quantize(weights, QuantizeOptions(), seen)
    feeds = {"image": seen.images.pixels}
    # ranges are those of the given model, with weights rounded already
    np.testing.assert_allclose(outputs(later, feeds)[0], outputs(once, feeds)[0], atol=0.1)
    for seen_again in (None, seen):
        with pytest.raises(
            ModelError,
            match=r"net.onnx: expected float weights or inputs to quantize, got none; use the model as it is",
        ):
            quantize(later, QuantizeOptions(), seen_again)


def test_skipped_layers_stay_float() -> None:
    model, seen = classifier()
    quantized, _ = quantize(model, QuantizeOptions(skip=("two",)), seen)
    assert [node.op_type for node in quantized.proto.graph.node].count("DequantizeLinear") == 2
    assert "v" in tensors(quantized) and "w" not in tensors(quantized)
    with pytest.raises(
        OptionError, match="--skip: expected the name of a layer, got 'three'; give one of one, two"
    ):
        quantize(model, QuantizeOptions(skip=("three",)))


def test_weights_rounded_to_zero_and_dropped_packings_are_noted() -> None:
    weight = np.array([[1.0, 0.001], [0.5, 0.5]], np.float32)
    proto = models.build(
        "net (float[1, 2] x) => (float[1, 2] y) { [g] y = Gemm<transB = 1>(x, w) }", w=weight
    )
    permuted, _ = permute(loaded(proto), QUICK)
    quantized, report = quantize(permuted, QuantizeOptions())
    assert report.totals["rounded_to_zero"] == 1 and report.totals["nonzeros"] == 3
    assert report.notes == (
        "g: some weights are below half a scale step and became zero",
        "the packings held for the weights before and were dropped: run tightc permute again",
    )
    assert is_permuted(permuted) and not is_permuted(quantized)


def test_other_dtypes_are_refused() -> None:
    double = loaded(models.FORMS["gemm"](dtype="float64"))
    with pytest.raises(ModelError) as fault:
        quantize(double, QuantizeOptions())
    assert str(fault.value).endswith(
        "expected a float32 or float16 weight, got float64; "
        "quantize before the model is converted, or skip the layer"
    )


@pytest.mark.parametrize("criterion", ["obs", "fisher"])
def test_criteria_with_images_need_float_weights(criterion: str) -> None:
    model, seen = classifier()
    quantized, _ = quantize(model, QuantizeOptions())
    with pytest.raises(ModelError) as fault:
        prune(quantized, PruneOptions(sparsity=0.5, criterion=criterion), seen)
    assert str(fault.value) == (
        f"net.onnx: --criterion {criterion}: expected float weights, got int8; "
        "prune before tightc quantize, or by magnitude"
    )


def test_models_quantized_by_onnxruntime_are_read(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    model, seen = classifier()
    onnx.save(model.proto, tmp_path / "float.onnx")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"image": seen.images.pixels}]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    def by_onnxruntime(name: str, kind: object) -> Model:
        quantization.quantize_static(
            tmp_path / "float.onnx",
            tmp_path / name,
            Reader(),
            per_channel=True,
            weight_type=kind,
            activation_type=kind,
        )
        return load_model_bytes((tmp_path / name).read_bytes(), name)

    symmetric = by_onnxruntime("s.onnx", quantization.QuantType.QInt8)
    assert [layer.name for layer in read_network(symmetric).layers] == ["one", "two"]
    packed, _ = pack(permute(symmetric, QUICK)[0])
    feeds = {"image": seen.images.pixels}
    assert np.array_equal(outputs(packed, feeds)[0], outputs(symmetric, feeds)[0])
    asymmetric = by_onnxruntime("a.onnx", quantization.QuantType.QUInt8)
    assert [layer.name for layer in read_network(asymmetric).layers] == ["one", "two"]
    packed, _ = pack(permute(asymmetric, QUICK)[0])
    assert np.array_equal(outputs(packed, feeds)[0], outputs(asymmetric, feeds)[0])
