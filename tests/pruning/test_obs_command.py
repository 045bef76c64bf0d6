"""OBS pruning by command and recipe, and its errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers import models
from helpers.classifier import dense, many_forms, obs_pruned, some
from helpers.loading import loaded
from tightc.cli.main import run
from tightc.data.images import Normalization, NormalizedImages
from tightc.errors import ConfigError, DataError, ModelError, OptionError
from tightc.model.file import load_model
from tightc.pruning.obs import obs
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.recipe.run import run_recipe

# ---- errors


def test_images_are_required() -> None:
    with pytest.raises(OptionError, match="--criterion obs: expected images, got none; add --data PATH"):
        prune(loaded(many_forms()), PruneOptions(sparsity=0.5, criterion="obs"))


def test_images_without_a_criterion_that_uses_them() -> None:
    with pytest.raises(
        OptionError,
        match=r"--calibration-images: expected criterion fisher or obs, got magnitude, .*; leave it out, or add",
    ):
        PruneOptions.of({"sparsity": 0.5, "calibration_images": 9})


def test_a_layer_with_too_many_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obs, "_MOST_INPUTS", 20)
    with pytest.raises(
        OptionError, match=r"layer grouped: expected at most 20 inputs, got 27; add --skip grouped"
    ):
        obs_pruned(many_forms(), sparsity=0.5)


def test_a_bias_that_is_computed() -> None:
    proto = models.build(
        """net (float[B, 2, 2, 2] x) => (float[B, 8] y) {
            a = Flatten(x)
            b = Relu(a)
            [fc] y = Gemm(a, w, b)
        }""",
        w=dense(8, 8),
    )
    with pytest.raises(
        ModelError,
        match="layer fc: expected a constant bias, got b, which is computed at run time; add --skip fc",
    ):
        obs_pruned(proto, some(5, 2, 2, 2), sparsity=0.5)


def test_values_that_overflow() -> None:
    seen = some()
    seen.images.pixels[3] = 3e38
    with pytest.raises(ModelError, match=r"(layer stem|output logits): expected finite "):
        obs_pruned(many_forms(), seen, sparsity=0.5)


@pytest.mark.parametrize(
    ("seen", "said", "kind"),
    [
        (some(4, 2, 8, 8), "the images: expected images of 2 x 9 x 9 .* got 2 x 8 x 8", DataError),
        (NormalizedImages(some().images, Normalization((0.5,) * 3)), "mean: expected .* got 3", OptionError),
    ],
)
def test_images_that_do_not_fit(seen: NormalizedImages, said: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=said):
        obs_pruned(many_forms(), seen, sparsity=0.5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (models.gemm, "expected 4 dimensions for input x, got 2"),
        (
            lambda: models.build(
                "net (uint8[B, 2, 9, 9] x) => (float[B, 3, 7, 7] y) { a = Cast<to = 1>(x)\n[c] y = Conv(a, w) }",
                w=dense(3, 2, 3, 3),
            ),
            "expected float32 for input x, got uint8",
        ),
        (
            lambda: models.build(
                "net (float[B, 2, 9, 9] x, float[B, 2, 9, 9] z) => (float[B, 3, 7, 7] y) "
                "{ a = Add(x, z)\n[c] y = Conv(a, w) }",
                w=dense(3, 2, 3, 3),
            ),
            r"expected one input, got 2 \(x, z\)",
        ),
        (
            lambda: models.build(
                "net (float[B, C, 9, 9] x) => (float[B, 3, 7, 7] y) { [c] y = Conv(x, w) }",
                w=dense(3, 2, 3, 3),
            ),
            "expected a fixed number of channels for input x, got an open dimension",
        ),
    ],
)
def test_models_that_take_no_images(make: Callable[[], onnx.ModelProto], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        obs_pruned(make(), sparsity=0.5)


# ---- the command


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """The paths of a model, of images, and of where to write."""
    model = models.save(many_forms(), tmp_path / "net.onnx")
    seen = some(20)
    np.savez(tmp_path / "images.npz", x=seen.images.pixels, y=seen.images.labels)
    return str(model), str(tmp_path / "images.npz"), str(tmp_path / "out.onnx")


def test_the_command(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    model, data, out = files
    arguments = [
        "prune",
        model,
        "--sparsity",
        "0.5",
        "--criterion",
        "obs",
        "--data",
        data,
        "--calibration-images",
        "12",
    ]
    assert run([*arguments, "--mean", "0.1", "--std", "2", "--seed", "4", "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["density"] == pytest.approx(0.5, abs=0.001)
    given = NormalizedImages(some(20).images, Normalization((0.1,), (2.0,)))
    wanted, _ = prune(
        load_model(model), PruneOptions(sparsity=0.5, criterion="obs", calibration_images=12), given, seed=4
    )
    assert load_model(out).to_bytes() == wanted.to_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--criterion", "obs"], "--criterion obs: expected images, got none; add --data PATH"),
        (
            ["--data", "DATA"],
            "--data: expected criterion obs or fisher, got magnitude; leave --data out, or add --criterion obs",
        ),
        (["--mean", "0.5"], "--mean: expected --data too, got none; add --data"),
        (
            ["--calibration-images", "9"],
            "--calibration-images: expected criterion fisher or obs, got magnitude, which uses no images",
        ),
    ],
)
def test_flags_that_make_no_sense(
    arguments: list[str], said: str, files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, out = files
    given = [data if argument == "DATA" else argument for argument in arguments]
    assert run(["prune", model, "--sparsity", "0.5", *given, "-o", out]) == 2
    assert said in capsys.readouterr().err
    assert not Path(out).exists()


def test_a_recipe_gives_prune_its_data(files: tuple[str, str, str], tmp_path: Path) -> None:
    stage = "stages:\n  - prune: {sparsity: 0.5, criterion: obs, calibration_images: 12}\n"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model: net.onnx\nseed: 4\ndata: {{data: images.npz, mean: 0.1, std: 2}}\n{stage}")
    run_recipe(recipe, tmp_path / "out")
    given = NormalizedImages(some(20).images, Normalization((0.1,), (2.0,)))
    options = PruneOptions(sparsity=0.5, criterion="obs", calibration_images=12)
    wanted, _ = prune(load_model(files[0]), options, given, seed=4)
    assert load_model(tmp_path / "out" / "01-prune.onnx").to_bytes() == wanted.to_bytes()
    assert run_recipe(recipe, tmp_path / "out").layers[1]["state"] == "unchanged"
    assert run_recipe(recipe, tmp_path / "out", seed=5).layers[1]["state"] == "done"
    recipe.write_text(f"model: net.onnx\n{stage}")
    with pytest.raises(ConfigError, match=r"stages\.0: prune needs data; add data"):
        run_recipe(recipe, tmp_path / "out")
