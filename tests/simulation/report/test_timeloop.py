"""Timeloop: its problems, read by the rules of its format, have the sizes of the layers and of the tiles."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path
from typing import Any

import pytest
import yaml

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import OutputError
from tightc.model.file import Model, load_model
from tightc.simulation.report.timeloop import export_timeloop

SMALL = tightc.ArrayShape(8, 4)


def export(model: Model, folder: Path) -> dict[str, Any]:
    """The problem of each file by its name."""
    paths = export_timeloop(model, folder, InputSizeOptions())
    assert sorted(paths) == sorted(folder.iterdir()) and paths[0].name == "README"
    return {path.stem: yaml.safe_load(path.read_text())["problem"] for path in paths[1:]}


def sizes(problem: dict[str, Any]) -> dict[str, list[int]]:
    """The extent of each axis of each data space, by Timeloop's projections: sums of dimension x coefficient."""
    shape, instance = problem["shape"], problem["instance"]
    assert problem["version"] == 0.4
    coefficients = {entry["name"]: entry["default"] for entry in shape.get("coefficients", ())}
    assert set(instance) == set(shape["dimensions"]) | set(coefficients)
    found = {}
    for space in shape["data_spaces"]:
        assert space.get("read_write", False) == (space["name"] == "Outputs")
        found[space["name"]] = [
            1 + sum((instance[term[0]] - 1) * prod(instance[name] for name in term[1:]) for term in axis)
            for axis in space["projection"]
        ]
    return found


def test_the_shared_resnet20(resnet20: Path, tmp_path: Path) -> None:
    found = export(load_model(resnet20), tmp_path)
    report = tightc.simulate(tightc.load(resnet20), array="32x32")
    assert list(found) == [row["name"] for row in report.layers]
    for row in report.layers:
        problem = found[row["name"]]
        size = sizes(problem)
        assert prod(size["Weights"]) == row["filters"] * row["inputs"]
        assert prod(size["Outputs"]) == row["filters"] * row["vectors"]
        dimensions = [problem["instance"][name] for name in problem["shape"]["dimensions"]]
        assert prod(dimensions) == row["filters"] * row["inputs"] * row["vectors"]
    assert sizes(found["node_Conv_387"]) == {
        "Weights": [16, 32, 3, 3],
        "Inputs": [1, 16, 33, 33],  # with padding, without the pixels that no window reads
        "Outputs": [1, 32, 16, 16],
    }
    assert found["node_linear"]["instance"] == {"M": 1, "N": 10, "K": 64}


def test_height_and_width_are_kept_apart(tmp_path: Path) -> None:
    text = "net (float[1, 3, 11, 8] x) => (float[N, C, H, W] y) { [c] y = Conv<strides = [2, 2]>(x, w) }"
    found = export(loaded(models.build(text, w=models.sparse(4, 3, 3, 2))), tmp_path)
    instance = {"C": 3, "M": 4, "R": 2, "S": 3, "N": 1, "P": 4, "Q": 5, "Wstride": 2, "Hstride": 2}
    assert found["c"]["instance"] == instance
    assert sizes(found["c"]) == {"Weights": [3, 4, 2, 3], "Inputs": [1, 3, 8, 11], "Outputs": [1, 4, 5, 4]}


@pytest.mark.parametrize("form", models.FORMS)
def test_every_form_of_layer_has_its_problem(form: str, tmp_path: Path) -> None:
    model = loaded(models.FORMS[form]())
    found = export(model, tmp_path)
    for problem, row in zip(found.values(), tightc.simulate(model, array=SMALL).layers, strict=True):
        macs = prod(problem["instance"][name] for name in problem["shape"]["dimensions"])
        assert macs * row["groups"] == row["filters"] * row["groups"] * row["inputs"] * row["vectors"]


def test_passes_have_problems_of_their_own(tmp_path: Path) -> None:
    pruned, _ = tightc.prune(loaded(models.cnn()), sparsity=0.5)
    permuted, _ = tightc.permute(pruned, array=SMALL, fan_in=3, method="first-fit")
    packed, _ = tightc.pack(permuted)
    found = export(packed, tmp_path)
    layers = tightc.simulate(packed, array=SMALL).layers
    tiles = tightc.tiles(packed)
    for row in layers:
        shapes = [tile.select.shape for tile in tiles if tile.layer == row["name"]]
        named = {
            int(name.rpartition("_")[2]): name for name in found if name.startswith(f"{row['name']}_pass_")
        }
        counted = 0
        for first, name in named.items():
            lanes, columns = shapes[first]
            assert found[name]["instance"] == {"M": row["vectors"], "N": columns, "K": lanes}
            comment = (tmp_path / f"{name}.yaml").read_text().splitlines()[0]
            (count,) = re.findall(rf"^# passes of {row['name']} with this shape: (\d+)$", comment)
            assert int(count) == shapes.count(shapes[first]) and shapes.index(shapes[first]) == first
            counted += int(count)
        assert counted == row["passes"] == len(shapes)
        assert row["name"] in found


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(OutputError, match=r"taken.* cannot be made a folder"):
        export_timeloop(loaded(models.cnn()), tmp_path / "taken", InputSizeOptions())
