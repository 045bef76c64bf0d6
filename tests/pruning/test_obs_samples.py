"""OBS on samples: token models, autoencoders, several inputs and outputs, floats of 16 bits, images without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper, parser

import tightc
from helpers.loading import loaded
from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.data.samples import Samples
from tightc.errors import DataError, ModelError
from tightc.model.file import Model
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune

HEAD = '<ir_version: 8, opset_import: ["" : 18]> '
AUTOENCODER = (
    "g (F[N, 12] x) => (F[N, 12] y) { [down] a = Gemm<transB = 1>(x, w1, b1)\nb = Relu(a)\n"
    "[up] y = Gemm<transB = 1>(b, w2, b2) }"
)
TOKENS = (
    "g (int64[N, L] ids, F[N, L, 1] mask) => (F[N, L, 3] y, F[N, 16] code) { e = Gather(table, ids)\n"
    "[one] a = MatMul(e, w1)\nb = Relu(a)\nm = Mul(b, mask)\n[two] y = MatMul(m, w2)\n"
    "code = ReduceMax<keepdims = 0>(m, axis) }"
)
IMAGES = (
    "g (F[N, 2, 6, 6] image) => (F[N, 3, 4, 4] y) { [one] a = Conv(image, w1, b1)\nb = Relu(a)\n"
    "[two] y = Conv(b, w2) }"
)
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    AUTOENCODER: {"w1": (10, 12), "b1": (10,), "w2": (12, 10), "b2": (12,)},
    TOKENS: {"table": (20, 8), "w1": (8, 16), "w2": (16, 3)},
    IMAGES: {"w1": (8, 2, 3, 3), "b1": (8,), "w2": (3, 8, 1, 1)},
}


def network(text: str, half: bool = False) -> Model:
    random = np.random.default_rng(1)
    proto = parser.parse_model(HEAD + text.replace("F[", "float16[" if half else "float["))
    for name, shape in SHAPES[text].items():
        array = random.standard_normal(shape).astype(np.float16 if half else np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    if "axis)" in text:
        proto.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    return loaded(proto)


def data_for(text: str, half: bool = False, count: int = 200) -> NormalizedImages | Samples:
    random = np.random.default_rng(2)
    if text == IMAGES:
        pixels = random.integers(0, 256, (count, 2, 6, 6), dtype=np.uint8)
        return NormalizedImages(Images(pixels, None), Normalization((0.5,), (0.25,)))
    if text == TOKENS:
        mask = (random.random((count, 5, 1)) < 0.8).astype(np.float32)
        return Samples({"ids": random.integers(0, 20, (count, 5)), "mask": mask})
    x = random.standard_normal((count, 6)) @ random.standard_normal((6, 12))  # correlated, as OBS needs
    return Samples({"x": x.astype(np.float16 if half else np.float32)})


def outputs(model: Model, data: NormalizedImages | Samples) -> list[np.ndarray]:
    images = isinstance(data, NormalizedImages)
    feeds = {"image": data.normalization.apply(data.images.pixels)} if images else dict(data.inputs)
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    kinds = {value.name: value.type for value in session.get_inputs()}
    feeds = {n: a.astype(np.float16) if "float16" in kinds[n] else a for n, a in feeds.items()}
    return [values.astype(float) for values in session.run(None, feeds)]


def error(model: Model, dense: Model, data: NormalizedImages | Samples) -> float:
    pairs = zip(outputs(model, data), outputs(dense, data), strict=True)
    return float(np.mean([np.square(a - b).sum() / np.square(b).sum() for a, b in pairs]))


@pytest.mark.parametrize(
    ("text", "half"),
    [(AUTOENCODER, False), (AUTOENCODER, True), (TOKENS, False), (IMAGES, False), (IMAGES, True)],
)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_obs_beats_magnitude_on_any_float_outputs(text: str, half: bool, scope: Any) -> None:
    dense, data = network(text, half), data_for(text, half)
    by_obs, report = prune(dense, PruneOptions(sparsity=0.5, scope=scope, criterion="obs"), data)
    by_magnitude, _ = prune(dense, PruneOptions(sparsity=0.5, scope=scope))
    assert report.totals["density"] == pytest.approx(0.5, abs=0.03)
    assert error(by_obs, dense, data) < 0.9 * error(by_magnitude, dense, data)


def test_all_rows_of_recordings_are_drawn_from() -> None:
    dense, data = network(AUTOENCODER), data_for(AUTOENCODER)
    assert isinstance(data, Samples)
    options = PruneOptions(sparsity=0.5, criterion="obs", calibration_images=64)
    whole, _ = prune(dense, options, data, seed=3)
    parts, _ = prune(dense, options, Samples(data.inputs, None, parts=4), seed=3)
    assert whole.to_bytes() == parts.to_bytes()


def test_fisher_needs_labels() -> None:
    with pytest.raises(DataError, match="expected a class number for each sample, got none"):
        prune(network(AUTOENCODER), PruneOptions(sparsity=0.5, criterion="fisher"), data_for(AUTOENCODER))


def test_a_model_without_an_output_of_floats() -> None:
    text = (
        "g (F[N, 12] x) => (int64[N] best) { a = Gemm<transB = 1>(x, w1, b1)\n"
        "best = ArgMax<axis = 1, keepdims = 0>(a) }"
    )
    SHAPES[text] = {"w1": (10, 12), "b1": (10,)}
    with pytest.raises(ModelError, match="expected an output of floats, got none"):
        prune(network(text), PruneOptions(sparsity=0.5, criterion="obs"), data_for(AUTOENCODER))


def test_the_verbs_take_mappings_and_files(tmp_path: Path) -> None:
    dense, data = network(TOKENS), data_for(TOKENS)
    assert isinstance(data, Samples)
    np.savez(tmp_path / "set.npz", **data.inputs)
    read = tightc.load_images(tmp_path / "set.npz", dense)
    assert isinstance(read, tightc.Samples)
    arrays = {name: array.tolist() for name, array in data.inputs.items()}
    pruned = [
        tightc.prune(dense, images=given, sparsity=0.5, criterion="obs").model.to_bytes()
        for given in (
            data,
            read,
            dict(data.inputs),
            tightc.load_images({**arrays, "mask": data.inputs["mask"]}, dense),
        )
    ]
    assert len(set(pruned)) == 1
    sparse = tightc.prune(dense, sparsity=0.5).model
    tuned = tightc.finetune(
        sparse, dict(data.inputs), teacher=dense, epochs=2, device="cpu", learning_rate=0.02
    )
    before, after = (
        tightc.evaluate(m, dict(data.inputs), teacher=dense).totals["relative_error"]
        for m in (sparse, tuned.model)
    )
    assert after < before
    assert tightc.quantize(dense, images=dict(data.inputs)).report.totals["weights"] == 176
