"""The scripts that make networks to train: two from nothing, any other without what it was trained to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from helpers import training

SCRIPTS = Path(__file__).parents[1] / "scripts"


def made(script: str, *arguments: Path | str) -> onnx.ModelProto:
    path = Path(arguments[-1])
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    subprocess.run([*command, "--seed", "3"], check=True, capture_output=True, timeout=300)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model


def tensors(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize(
    ("script", "layers", "count", "image"),
    [("make_vgg16.py", 14, 14_715_584, (3, 32, 32)), ("make_fashion.py", 6, 245_648, (1, 28, 28))],
)
def test_a_network_has_its_weights_and_runs(
    script: str, layers: int, count: int, image: tuple[int, ...], tmp_path: Path
) -> None:
    model = made(script, tmp_path / "made.onnx")
    weights = [tensor for tensor in tensors(model).values() if tensor.ndim > 1]
    assert (len(weights), sum(map(np.size, weights))) == (layers, count)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((2, *image)).astype(np.float32)
    (logits,) = session.run(None, {"image": images})
    assert logits.shape == (2, 10) and np.isfinite(logits).all() and logits.std() > 0


def test_an_untrained_network_has_nothing_of_the_trained_one(tmp_path: Path) -> None:
    trained = training.proto_of("normed")
    onnx.save(trained, tmp_path / "trained.onnx")
    untrained = made("make_untrained.py", tmp_path / "trained.onnx", tmp_path / "untrained.onnx")
    assert untrained.graph.node == trained.graph.node
    old, new = tensors(trained), tensors(untrained)
    assert {name: array.shape for name, array in new.items()} == {
        name: array.shape for name, array in old.items()
    }
    assert {name: set(new[name].tolist()) for name in ("scale", "shift", "mean", "variance", "last_b")} == {
        "scale": {1.0}, "shift": {0.0}, "mean": {0.0}, "variance": {1.0}, "last_b": {0.0},
    }  # fmt: skip
    for name, spread in (("first_w", np.sqrt(2 / 9)), ("last_w", 0.1)):
        assert abs(np.corrcoef(old[name].ravel(), new[name].ravel())[0, 1]) < 0.3
        assert 0.7 < new[name].std() / spread < 1.3
