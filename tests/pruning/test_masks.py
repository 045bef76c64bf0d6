"""Pruning by masks: exactly the weights under a 0 become zero, and wrong masks are refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.cli.main import run
from tightc.errors import DataError, OptionError, TightcError
from tightc.pruning.options import PruneOptions
from tightc.recipe.run import run_recipe

EXAMPLE = tightc.examples() / "digits.onnx"
PAGE = Path(__file__).parents[2] / "docs" / "models-and-data.md"


def tensors(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def drawn(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < 0.3


EXACT = {
    "conv2.weight": drawn((32, 16, 3, 3)),
    "fc.weight": drawn((10, 96), seed=1),
}


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float16])
@pytest.mark.parametrize("form", ["{}", "{}_mask"])
def test_exactly_the_masked_weights_become_zero(form: str, dtype: type, tmp_path: Path) -> None:
    masks = {form.format(name): mask.astype(dtype) for name, mask in EXACT.items()}
    np.savez(tmp_path / "masks.npz", **masks)
    before, after = tensors(onnx.load(EXAMPLE)), []
    for given_mask in (masks, tmp_path / "masks.npz", str(tmp_path / "masks.npz")):
        model, report = tightc.prune(tightc.load(EXAMPLE), mask=given_mask)
        after.append(model.to_bytes())
        for name, tensor in tensors(model.to_proto()).items():
            expected = np.where(EXACT[name], before[name], 0) if name in EXACT else before[name]
            np.testing.assert_array_equal(tensor, expected)
        assert report.notes == ("conv1, conv3, conv4: no mask, so the weights stay as they are",)
        assert report.layers[1].nonzeros == np.count_nonzero(EXACT["conv2.weight"])
    assert after[0] == after[1] == after[2]


@settings(max_examples=20, deadline=None)
@given(bits=st.lists(st.booleans(), min_size=12, max_size=12))
def test_any_mask_of_a_matrix(bits: list[bool]) -> None:
    weight = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
    proto = models.build("net (float[1, 3] x) => (float[1, 4] y) { [c] y = MatMul(x, w) }", w=weight)
    mask = np.array(bits).reshape(3, 4)
    model, report = tightc.prune(loaded(proto), mask={"w": mask})
    np.testing.assert_array_equal(tensors(model.to_proto())["w"], weight * mask)
    assert report.nonzeros == sum(bits) and ("c: no weight is left" in report.notes) == (not any(bits))


@pytest.mark.parametrize(
    "name", ["node_conv2d_1", "conv2", "conv2_mask", "conv2.weight", "conv2.weight_mask"]
)
def test_each_name_of_a_layer_is_taken(name: str) -> None:
    model, _ = tightc.prune(tightc.load(EXAMPLE), mask={name: EXACT["conv2.weight"]})
    assert np.count_nonzero(tensors(model.to_proto())["conv2.weight"]) == np.count_nonzero(
        EXACT["conv2.weight"]
    )


@pytest.mark.parametrize("name", ["fc.weight", "fc.weight_mask", "fc"])
def test_the_name_in_torch_is_taken_where_the_exporter_numbered_the_weight(name: str) -> None:
    weight, mask = models.sparse(4, 6, density=1), np.eye(4, 6)
    proto = models.build("net (float[1, 4] x) => (float[1, 6] y) { [n] y = MatMul(x, w) }", w=weight)
    proto.graph.node[0].name = "/fc/MatMul"
    proto.graph.node[0].input[1] = proto.graph.initializer[0].name = "onnx::MatMul_7"
    model, _ = tightc.prune(tightc.load(proto), mask={name: mask})
    np.testing.assert_array_equal(tensors(model.to_proto())["onnx::MatMul_7"], weight * mask)


def test_the_zero_of_an_asymmetric_weight_is_its_zero_point() -> None:
    dense = tightc.quantize(tightc.load(EXAMPLE)).model
    model, report = tightc.prune(dense, mask={"conv2.weight": EXACT["conv2.weight"]})
    assert report.layers[1].nonzeros <= np.count_nonzero(EXACT["conv2.weight"])
    found = tensors(model.to_proto())["conv2.weight.int8"]
    assert not found[~EXACT["conv2.weight"]].any()


def test_a_layer_without_weights_goes_through_the_chain() -> None:
    masks = {**EXACT, "conv3": np.zeros((64, 32, 3, 3), bool)}
    model, report = tightc.prune(tightc.load(EXAMPLE), mask=masks)
    assert "conv3: no weight is left" in report.notes
    permuted = tightc.permute(model, array="16x16", method="first-fit").model
    packed = tightc.pack(permuted).model
    assert tightc.simulate(packed, verify=True).speedup > 1
    feed = {"x": np.random.default_rng(0).random((1, 1, 8, 8), np.float32)}
    outputs = []
    for one in (model, packed):
        session = onnxruntime.InferenceSession(one.to_bytes())
        outputs.append(session.run(None, {session.get_inputs()[0].name: feed["x"]})[0])
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)


SHAPE = (32, 16, 3, 3)
NAN = np.full(SHAPE, np.nan, np.float32)
HALF = np.ones(SHAPE, np.float32)
HALF[1, 2, 0, 1] = 0.5
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "{}: expected masks, got none", "store one for each layer to prune"),
    (
        {"conv9.weight": HALF},
        "{}: expected the name of a layer's weight, got 'conv9.weight'",
        "did you mean conv4.weight?",
    ),
    (
        {"0": HALF},
        "{}: expected the name of a layer's weight, got '0'",
        "give one of conv1.weight, conv2.weight, conv3.weight, ...",
    ),
    (
        {"conv2.weight": HALF[0]},
        "{}: conv2.weight: expected 32 x 16 x 3 x 3, the shape of the weight, got 16 x 3 x 3",
        "store a number for each weight",
    ),
    (
        {"fc.weight_mask": np.ones((96, 10))},
        "{}: fc.weight_mask: expected 10 x 96, the shape of the weight, got 96 x 10",
        "transpose it, as the export did with the weight",
    ),
    (
        {"conv2": HALF},
        "{}: conv2: expected 0 and 1, or bool, got 0.5 at (1, 2, 0, 1)",
        "store 1 for the weights that stay and 0 for the others",
    ),
    (
        {"conv2": NAN},
        "{}: conv2: expected 0 and 1, or bool, got nan at (0, 0, 0, 0)",
        "store 1 for the weights that stay and 0 for the others",
    ),
    (
        {"conv2": np.full(SHAPE, "1")},
        "{}: conv2: expected 0 and 1, or bool, got <U1",
        "store numbers",
    ),
    (
        {"conv2": np.ones(SHAPE), "conv2.weight_mask": np.ones(SHAPE)},
        "{}: expected one mask for conv2.weight, got conv2 and conv2.weight_mask",
        "leave one out",
    ),
]


@pytest.mark.parametrize(("masks", "sentence", "remedy"), WRONG)
def test_wrong_masks_are_refused(
    masks: dict[str, Any], sentence: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OptionError) as caught:
        tightc.prune(tightc.load(EXAMPLE), mask=masks)
    nearest = remedy.startswith("did you mean conv")  # several names may be equally near
    assert caught.value.sentence == f"mask: {sentence.format('<arrays>')}"
    assert caught.value.remedy == remedy or (nearest and caught.value.remedy.startswith("did you mean conv"))
    path = tmp_path / "masks.npz"
    np.savez(path, **masks)
    out = tmp_path / "out.onnx"
    assert run(["prune", str(EXAMPLE), "--mask", str(path), "-o", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"tightc: error: --mask: {sentence.format(path)}; ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--sparsity", "0.5"], "sparsity"),
        (["--align", "8x8", "--budget", "compression=4"], "align"),
        (["--skip", "conv1"], "skip"),
        (["--criterion", "obs", "--data", "x.npz"], "criterion"),
        (["--min-density", "0.1"], "min-density"),
    ],
)
def test_a_mask_stands_alone(flags: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prune", str(EXAMPLE), "--mask", "m.npz", *flags, "-o", "out.onnx"]) == 2
    err = capsys.readouterr().err
    assert err == (
        f"tightc: error: --mask: expected --mask alone, got {named} too: a mask says which weights go; "
        "leave one of them out\n"
    )


def test_files_that_are_no_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(path: object) -> str:
        assert run(["prune", str(EXAMPLE), "--mask", str(path), "-o", str(tmp_path / "out.onnx")]) == 2
        return capsys.readouterr().err

    missing = tmp_path / "no.npz"
    assert f"--mask: {missing}: cannot be read (No such file or directory); check the path" in refused(
        missing
    )
    assert "s3://a/m.npz: URLs are not supported" in refused("s3://a/m.npz")
    (tmp_path / "text.npz").write_text("text")
    assert "expected a .npz file of plain arrays" in refused(tmp_path / "text.npz")
    np.savez(tmp_path / "objects.npz", **{"conv1.weight": np.array([None])})
    assert "expected a .npz file of plain arrays" in refused(tmp_path / "objects.npz")
    with pytest.raises(DataError):
        tightc.prune(tightc.load(EXAMPLE), mask=tmp_path / "text.npz")
    with pytest.raises(TightcError, match="expected a sparsity or a budget, got neither"):
        PruneOptions()


def test_a_recipe_reads_masks_from_its_folder_and_sees_that_they_changed(tmp_path: Path) -> None:
    np.savez(tmp_path / "masks.npz", **EXACT)
    (tmp_path / "r.yaml").write_text(f"model: {EXAMPLE}\nstages: [prune: {{mask: masks.npz}}]\n")

    def state() -> tuple[str, int]:
        report = run_recipe(tmp_path / "r.yaml", tmp_path / "out")
        model = tightc.load(tmp_path / "out" / "01-prune.onnx")
        return report.layers[-1]["state"], tightc.inspect(model).layers[1].nonzeros

    assert state() == ("done", np.count_nonzero(EXACT["conv2.weight"]))
    assert state()[0] == "unchanged"
    np.savez(tmp_path / "masks.npz", conv2=np.ones(SHAPE, bool))
    assert state() == ("done", 32 * 16 * 9)
    # the resolved recipe in the folder gives the same
    assert f"mask: {tmp_path}/masks.npz" in (tmp_path / "out" / "recipe.yaml").read_text()
    again = run_recipe(tmp_path / "out" / "recipe.yaml", tmp_path / "again")
    assert again.layers[-1]["state"] == "done"


def test_the_history_names_the_masks_by_their_digest(tmp_path: Path) -> None:
    entries = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "m.npz", **{name: mask.astype(float) for name, mask in EXACT.items()})
        model, _ = tightc.prune(tightc.load(EXAMPLE), mask=tmp_path / folder / "m.npz")
        (text,) = [entry.value for entry in model.proto.metadata_props if entry.key == "tightc.history"]
        entries.append(json.loads(text)[-1]["options"]["mask"])
    assert entries[0] == entries[1] and re.fullmatch("[0-9a-f]{64}", entries[0])


def test_the_example_of_the_page_goes_from_torch_to_masks(tmp_path: Path) -> None:
    """The network of the page is stored, pruned by torch and by tightc: the same weights are zero."""
    torch = pytest.importorskip("torch")
    (block,) = re.findall(r"```python\n([^`]*named_buffers[^`]*)```", PAGE.read_text())
    setup = (
        "import torch\n"
        "torch.manual_seed(0)\n"
        "model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(),\n"
        "    torch.nn.Linear(288, 10))\n"
        "torch.onnx.export(model, (torch.zeros(1, 1, 8, 8),), 'model.onnx', dynamo=False)\n"
    )
    save = "torch.save({name: module.weight.detach() for name, module in model.named_modules() "
    save += "if hasattr(module, 'weight_mask')}, 'pruned.pt')\n"
    code = setup + block + save
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, check=True, capture_output=True
    )
    line = ["prune", str(tmp_path / "model.onnx"), "--mask", str(tmp_path / "masks.npz")]
    assert "tightc prune model.onnx --mask masks.npz -o pruned.onnx" in PAGE.read_text()
    assert run([*line, "-o", str(tmp_path / "pruned.onnx"), "-q"]) == 0
    found = tensors(onnx.load(tmp_path / "pruned.onnx"))
    expected = torch.load(tmp_path / "pruned.pt")
    assert len(expected) == 2
    for name, weight in expected.items():
        assert 0 < np.count_nonzero(weight) < weight.numel() / 2
        np.testing.assert_array_equal(found[f"{name}.weight"], weight.numpy())
