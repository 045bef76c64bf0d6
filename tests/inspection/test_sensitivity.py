"""The loss with one layer pruned, recounted with onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.cli.main import run
from tightc.data.images import Images, Normalization
from tightc.errors import DataError, ModelError, OptionError
from tightc.inspection.inspect import inspect
from tightc.inspection.options import SPARSITIES, InspectOptions, SensitivityOptions
from tightc.inspection.sensitivity import with_sensitivity
from tightc.report import Report

PLAIN = Normalization()


def some(count: int = 30, classes: int = 4) -> Images:
    rng = np.random.default_rng(1)
    return Images(rng.normal(size=(count, 3, 8, 8)).astype(np.float32), rng.integers(0, classes, count))


def measured(proto: onnx.ModelProto, shown: Images, **options: int) -> Report:
    model = loaded(proto)
    report = inspect(model, InspectOptions())
    return with_sensitivity(report, model, shown, PLAIN, SensitivityOptions(**options))


def logits(proto: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": pixels})[0].astype(np.float64)


def smallest_zero(proto: onnx.ModelProto, name: str, sparsity: float) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            order = sorted(range(values.size), key=lambda place: abs(values.flat[place]))
            values.flat[order[: round(sparsity * values.size)]] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    return changed


def test_a_final_softmax_changes_no_figure() -> None:
    proto, closed = models.cnn(), models.cnn()
    output = closed.graph.output[0].name
    for node in closed.graph.node:
        node.output[:] = ["scores" if name == output else name for name in node.output]
    closed.graph.node.append(helper.make_node("Softmax", ["scores"], [output], axis=1))
    assert logits(closed, some().pixels).sum(axis=1) == pytest.approx(1)
    one, other = (measured(each, some(), images=20) for each in (proto, closed))
    assert one.totals["accuracy"] == other.totals["accuracy"]
    for plain, with_softmax in zip(one.layers, other.layers, strict=True):
        assert plain["divergence_at_0.9"] == with_softmax["divergence_at_0.9"] > 0


def test_every_figure_by_onnxruntime() -> None:
    proto, images = models.cnn(), some()
    plain = inspect(loaded(proto), InspectOptions())
    report = measured(proto, images, images=30)
    before = logits(proto, images.pixels)
    right = 100 * np.mean(before.argmax(axis=1) == images.labels)
    assert report.totals == {**plain.totals, "accuracy": pytest.approx(right), "images": 30}
    probabilities = np.exp(before) / np.exp(before).sum(axis=1, keepdims=True)
    for name, row, bare in zip(("first_w", "second_w", "last_w"), report.layers, plain.layers, strict=True):
        assert {key: row[key] for key in bare} == bare
        for sparsity in SPARSITIES:
            after = logits(smallest_zero(proto, name, sparsity), images.pixels)
            drop = right - 100 * np.mean(after.argmax(axis=1) == images.labels)
            assert row[f"accuracy_drop_at_{sparsity}"] == pytest.approx(drop)
            moved = np.exp(after) / np.exp(after).sum(axis=1, keepdims=True)
            wanted = np.mean(np.sum(probabilities * np.log(probabilities / moved), axis=1))
            assert row[f"divergence_at_{sparsity}"] == pytest.approx(wanted, rel=1e-3, abs=1e-7)


def test_a_shared_weight_is_measured_once() -> None:
    proto = models.build(
        """net (float[B, 3, 8, 8] image) => (float[B, 3] y) {
            [one] a = Conv(image, w)
            [two] b = Conv(a, w)
            c = GlobalAveragePool(b)
            y = Flatten(c)
        }""",
        w=models.sparse(3, 3, 3, 3),
    )
    one, two = measured(proto, some(classes=3)).layers
    assert one["divergence_at_0.95"] > 0
    assert two["divergence_at_0.95"] is None and two["accuracy_drop_at_0.5"] is None


def test_the_seed_draws_the_images() -> None:
    one, again, two = (measured(models.cnn(), some(), images=9, seed=seed).layers for seed in (0, 0, 1))
    assert one == again != two


@pytest.mark.parametrize(
    ("make", "images", "said", "kind"),
    [
        (
            models.cnn,
            some(classes=9),
            r"image \d+: expected a label of the network's 4 classes .*, got \d",
            DataError,
        ),
        (models.gemm, some(), "expected 4 dimensions for input x, got 2", ModelError),
    ],
)
def test_errors(make, images: Images, said: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=said):
        measured(make(), images)


def test_options_out_of_range() -> None:
    with pytest.raises(OptionError, match=r"--images: expected .*, got 0; give a number of at least 1"):
        SensitivityOptions.of({"images": 0})


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, images = str(models.save(models.cnn(), tmp_path / "net.onnx")), some()
    data = str(tmp_path / "images.npz")
    np.savez(data, x=images.pixels, y=images.labels)
    assert run(["inspect", model, "--sensitivity", data, "--mean", "0", "--images", "12"]) == 0
    table = capsys.readouterr().out
    assert "drop at 0.5" in table and "KL at 0.95" in table and "accuracy: " in table
    assert run(["inspect", model, "--sensitivity", data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["layers"][0]) >= {f"divergence_at_{sparsity}" for sparsity in SPARSITIES}
    assert found["totals"]["images"] == 30
    assert run(["inspect", model]) == 0
    assert "drop at" not in capsys.readouterr().out
    assert run(["inspect", model, "--std", "2"]) == 2
    assert "--std: expected --sensitivity too, got none; add --sensitivity" in capsys.readouterr().err


def test_a_weight_with_a_zero_point_is_pruned_to_it() -> None:
    """The same integers and scales, stored around another zero, have the same sensitivity."""
    text = """net (float[B, 3, 8, 8] image) => (float[B, 4] logits) {
        w = DequantizeLinear(q, s, z)
        f = Flatten(image)
        [fc] logits = MatMul(f, w)
    }"""
    values = np.random.default_rng(0).integers(-90, 90, (192, 4))
    scale = np.float32(0.01)
    signed = models.build(text, q=values.astype(np.int8), s=scale, z=np.int8(0))
    shifted = models.build(text, q=(values + 100).astype(np.uint8), s=scale, z=np.array(100, np.uint8))
    (one,), (other,) = (measured(proto, some()).layers for proto in (signed, shifted))
    # onnxruntime may round the other operand where it fuses an integer weight, of either type in its own way
    assert {key: one[key] for key in ("nonzeros", "density")} == {
        key: other[key] for key in ("nonzeros", "density")
    }
    for key, value in one.items():
        if key.startswith("divergence"):
            assert other[key] == pytest.approx(value, rel=0.05)
