"""Recipes on samples by input name, with a teacher in place of labels; and metrics that would run code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from tightc.errors import ConfigError
from tightc.recipe.run import run_recipe

TEXT = """<ir_version: 8, opset_import: ["" : 18]> g (float[N, 12] x) => (float[N, 12] y) {
  [down] a = Gemm<transB = 1>(x, w1, b1)\nb = Relu(a)\n[up] y = Gemm<transB = 1>(b, w2, b2)\n}"""
RECIPE = """model: net.onnx
data: {data: set.npz}
stages:
  - prune: {sparsity: 0.5, criterion: obs}
  - finetune: {epochs: 2, teacher: true, batch_size: 8, device: cpu, learning_rate: 0.01}
  - evaluate: {teacher: true}
  - evaluate: {metric: auc}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    proto = parser.parse_model(TEXT)
    for name, shape in {"w1": (8, 12), "b1": (8,), "w2": (12, 8), "b2": (12,)}.items():
        proto.graph.initializer.append(
            numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        )
    onnx.save(proto, tmp_path / "net.onnx")
    np.savez(tmp_path / "set.npz", x=random.standard_normal((64, 12)), y=np.arange(64) % 2)
    (tmp_path / "r.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_distills_on_samples_and_measures_agreement(place: Path) -> None:
    report = run_recipe(place / "r.yaml", place / "run")
    assert [row["stage"] for row in report.layers] == ["dense", "prune", "finetune", "evaluate", "evaluate"]
    assert all(row["accuracy"] is None for row in report.layers)
    assert report.layers[2]["density"] == pytest.approx(0.5, abs=0.02)
    again = run_recipe(place / "r.yaml", place / "run")
    assert {row["state"] for row in again.layers} == {"unchanged"}


def test_a_metric_of_the_users_own_needs_allow_code(place: Path) -> None:
    (place / "recipe_metric.py").write_text("def most(outputs, labels): return outputs.max()\n")
    (place / "r.yaml").write_text(
        "model: net.onnx\ndata: {data: set.npz}\nstages: [evaluate: {metric: 'recipe_metric:most'}]\n"
    )
    with pytest.raises(
        ConfigError,
        match=r"stages\.0\.evaluate\.metric: 'recipe_metric:most' names a function, and a recipe may not run code",
    ):
        run_recipe(place / "r.yaml", place / "run")
    report = run_recipe(place / "r.yaml", place / "run", allow_code=True)
    assert report.layers[-1]["stage"] == "evaluate"
