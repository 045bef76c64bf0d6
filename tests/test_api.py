"""The front door: one import, keywords with defaults, typed results, errors with remedies."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.config.yaml import read_options

ROOT = Path(__file__).parents[1]
QUICK = {"steps": 3, "moves_per_weight": 20}
VERBS = [
    tightc.inspect, tightc.prune, tightc.finetune, tightc.quantize, tightc.permute, tightc.pack, tightc.unpack,
    tightc.simulate, tightc.verify, tightc.compare, tightc.evaluate, tightc.check, tightc.diff,
    tightc.run_recipe, tightc.compress, tightc.load, tightc.save,
    tightc.load_images, tightc.tiles, tightc.examples, tightc.configs,
]  # fmt: skip
OPTIONS = [getattr(tightc, name) for name in tightc.__all__ if name.endswith("Options")]
OPTIONS += [tightc.TemperatureSchedule, tightc.Hardware, tightc.EnergyTable]


@pytest.fixture
def model() -> tightc.Model:
    return loaded(models.cnn())


@pytest.fixture
def permuted(model: tightc.Model) -> tightc.Model:
    pruned = tightc.prune(model, sparsity=0.5).model
    return tightc.permute(pruned, array=(8, 8), fan_in=4, temp_schedule=QUICK).model


def images_of(count: int = 8) -> tightc.NormalizedImages:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), np.uint8)
    return tightc.load_images((pixels, np.arange(count) % 4), (3, 8, 8))


def test_the_import_loads_nothing_heavy() -> None:
    heavy = ("numba", "torch", "onnx", "onnxruntime", "pydantic", "numpy", "rich")
    script = f"import sys, tightc; dir(tightc); tightc.__version__; print(*set({heavy!r}) & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT / "src"
    )
    assert (done.stdout, done.stderr) == ("\n", "")


def test_what_is_public_is_listed_and_there() -> None:
    assert dir(tightc) == sorted(tightc.__all__)
    assert tightc.__all__ == sorted(tightc.__all__)
    for name in tightc.__all__:
        assert getattr(tightc, name) is not None
    folders = {path.stem for path in (ROOT / "src" / "tightc").iterdir()}
    assert not folders & set(tightc.__all__) - {"configs"}, "a module would hide a public name"
    assert not (ROOT / "src" / "tightc" / "configs" / "__init__.py").exists()
    with pytest.raises(AttributeError, match="squeeze"):
        tightc.squeeze  # noqa: B018


def test_a_model_comes_from_a_path_bytes_or_a_proto(tmp_path: Path) -> None:
    proto = models.cnn()
    path = models.save(proto, tmp_path / "net.onnx")
    found = [tightc.load(source) for source in (path, str(path), path.read_bytes(), proto)]
    assert len({one.to_bytes() for one in found}) == 1
    tightc.save(found[-1], tmp_path / "again.onnx")
    assert onnx.load(tmp_path / "again.onnx").graph.node
    with pytest.raises(
        tightc.OptionError, match=r"source: expected a path, bytes or an onnx\.ModelProto, got int"
    ):
        tightc.load(3)  # type: ignore[arg-type]


def test_a_verb_returns_a_pair_that_prints_as_a_table(model: tightc.Model) -> None:
    result = tightc.prune(model, sparsity=0.8)
    pruned, report = result
    assert (pruned, report) == (result.model, result.report)
    assert report.density == report.totals["density"] == pytest.approx(0.2, abs=0.01)
    header, first, *_ = str(result).splitlines()
    assert header.split() == ["name", "operator", "N", "x", "K", "weights", "nonzeros", "density"]
    assert first.startswith("first ") and str(result) == str(report)
    assert len(repr(result)) < 300 and "density" in repr(result)


def test_the_chain(permuted: tightc.Model, tmp_path: Path) -> None:
    packed = tightc.pack(permuted, strip=True)
    assert packed.report.bytes_out == len(packed.model.to_bytes())
    plain = tightc.unpack(packed.model).model
    simulated = tightc.simulate(packed.model)
    assert simulated.cycles == tightc.simulate(plain).cycles < simulated.dense_cycles
    assert simulated.speedup == simulated.dense_cycles / simulated.cycles
    assert tightc.verify(permuted).totals["verified_layers"] == 3
    assert sum(layer.passes for layer in simulated.layers) == simulated.passes
    compared = tightc.compare([permuted], method="dense", array=(8, 8))
    assert compared.layers[0]["variant"] == "dense"
    recipe = tmp_path / "r.yaml"
    models.save(models.cnn(), tmp_path / "net.onnx")
    recipe.write_text("model: net.onnx\nstages:\n  - prune: {sparsity: 0.5}\n")
    assert [row["stage"] for row in tightc.run_recipe(recipe, tmp_path / "run").layers] == ["dense", "prune"]


def test_images(model: tightc.Model) -> None:
    images = images_of()
    assert 0 <= tightc.evaluate(model, images).accuracy <= 100
    assert "accuracy_drop_at_0.5" in tightc.inspect(model, images=images).layers[0]
    quantized = tightc.quantize(model, images=images)
    assert quantized.report.layers[0]["input_scale"] > 0
    assert tightc.prune(model, sparsity=0.5, criterion="obs", images=images).report.density < 0.6
    with pytest.raises(tightc.DataError, match="expected pixels of uint8 or float32"):
        tightc.load_images((np.zeros((2, 3, 8, 8)), np.zeros(2, int)), model)
    with pytest.raises(
        tightc.OptionError, match=r"mean: expected one number, or one per channel \(1\), got 2; give"
    ):
        tightc.load_images(tightc.examples() / "digits.npz", (1, 8, 8), mean=(0.1, 0.2))


def test_values_are_those_of_python(model: tightc.Model, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("steps: 3\n")
    wanted = tightc.TemperatureSchedule(steps=3)
    for schedule in (path, str(path), {"steps": 3}, wanted, {"steps": np.int64(3)}):
        assert tightc.PermuteOptions(temp_schedule=schedule).temp_schedule == wanted
    assert tightc.PermuteOptions(array=(8, 4), pattern=(1, 4)) == tightc.PermuteOptions(
        array="8x4", pattern="1:4"
    )
    options = tightc.PruneOptions(align=(8, 8), budget=("compression", 10))
    assert options.budget == tightc.Budget("compression", 10)
    assert tightc.PruneOptions(sparsity=np.float32(0.5)).sparsity == 0.5
    hardware = tightc.SimulateOptions(hardware=tightc.configs() / "hardware" / "tight-32x32.yaml").hardware
    assert isinstance(hardware, tightc.Hardware) and hardware.array == tightc.ArrayShape(32, 32)


def test_keywords_replace_options(model: tightc.Model) -> None:
    options = tightc.PruneOptions(sparsity=0.5, scope="layer")
    same = tightc.prune(model, options).model.to_bytes()
    assert same == tightc.prune(model, sparsity=0.5, scope="layer").model.to_bytes()
    assert tightc.prune(model, options, sparsity=0.8).report.density < 0.25


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda m: tightc.prune(m, sparsety=0.9),
            r"sparsety: expected one of accumulator_bypass, align, .*; did you mean sparsity\?",
        ),
        (lambda m: tightc.prune(m, sparsity=2), r"sparsity: expected .*, got 2; give a number below 1"),
        (lambda m: tightc.prune(m), r"sparsity: expected .*, got neither; give .* or budget with align"),
        (lambda m: tightc.prune("net.onnx", sparsity=0.9), r"model: expected a Model, got str; read it first"),
        (lambda m: tightc.pack(tightc.prune(m, sparsity=0.9)), r"model: expected a Model, got Result; give result"),
        (lambda m: tightc.prune(m, sparsity=0.9, seed=-1), r"seed: expected an integer from 0, got -1; give"),
        (lambda m: tightc.prune(m, sparsity=0.9, images=3), r"images: expected NormalizedImages, got int; read"),
        (lambda m: tightc.prune(m, sparsity=0.9, criterion="obs"), r"criterion obs: .*; add images$"),
        (lambda m: tightc.permute(m, tightc.PruneOptions(sparsity=0.9)), r"options: expected PermuteOptions, got "),
        (lambda m: tightc.permute(m, array=(8,)), r"array: expected .*, got \(8,\); give two integers from 1 to 4096"),
        (lambda m: tightc.permute(m, temp_schedule={"steps": 0}), r"temp_schedule.steps: expected .*, got 0; give"),
        (lambda m: tightc.permute(m, temp_schedule={"stepz": 1}), r"temp_schedule.stepz: .*; did you mean steps\?"),
        (lambda m: tightc.permute(m, temp_schedule=3), r"temp_schedule: expected .*, got 3; give a mapping of keys"),
        (lambda m: tightc.finetune(m, images_of(), device="gpu"), r"device: expected .*, got 'gpu'; give auto, cpu"),
        (lambda m: tightc.prune(m, sparsity=0.9, images=images_of()), r"images: expected criterion obs or fisher, got"),
        (lambda m: tightc.quantize(m, calibration="entropy"), r"calibration: expected images too, got none; give"),
        (lambda m: tightc.compare([]), r"models: expected at least one Model, got none; give a model"),
        (lambda m: tightc.load_images("x", m, split="all"), r"split: expected 'train' or 'test', got 'all'; give"),
        (lambda m: tightc.TemperatureSchedule(steps="many"), r"steps: expected .*, got 'many'; give an integer"),
    ],
)  # fmt: skip
def test_wrong_values_are_option_errors_with_the_remedy(call: Any, words: str, model: tightc.Model) -> None:
    with pytest.raises(tightc.OptionError) as error:
        call(model)
    assert re.match(words, str(error.value)), str(error.value)
    assert "--" not in str(error.value)


def test_the_tiles_hold_every_weight_once(permuted: tightc.Model) -> None:
    tiles = tightc.tiles(permuted)
    assert {tile.layer for tile in tiles} == {"first", "second", "last"}
    report = tightc.simulate(permuted)
    assert len(tiles) == report.passes
    for layer in {tile.layer for tile in tiles}:
        own = [tile for tile in tiles if tile.layer == layer]
        assert [tile.index for tile in own] == list(range(len(own)))
    (weight,) = (
        init for init in permuted.proto.graph.initializer if init.name == _weight_of(permuted, "first")
    )
    matrix = onnx.numpy_helper.to_array(weight)
    matrix = matrix.reshape(len(matrix), -1)
    rebuilt = np.zeros_like(matrix)
    for tile in tiles:
        if tile.layer == "first":
            assert tile.weights is not None
            for lane, column in np.argwhere(tile.select >= 0):
                source = tile.lane_inputs(lane)[tile.select[lane, column]]
                assert source == tile.slot_inputs()[lane, column]
                rebuilt[tile.filters[column], source] += tile.weights[lane, column]
            assert (tile.weights[tile.select < 0] == 0).all() and (
                tile.slot_inputs()[tile.select < 0] == -1
            ).all()
    assert np.array_equal(rebuilt, matrix)
    assert len(tightc.tiles(tightc.pack(permuted).model)) == len(tiles)


def _weight_of(model: tightc.Model, layer: str) -> str:
    (node,) = (node for node in model.proto.graph.node if node.name == layer)
    return str(node.input[1])


def test_a_model_without_tiles_is_refused(model: tightc.Model) -> None:
    with pytest.raises(
        tightc.ModelError, match="expected a permuted model, got one without tiles; permute it first"
    ):
        tightc.tiles(model)


def test_an_interrupt_carries_a_result(model: tightc.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from tightc.permutation import permute as module

    def interrupted(*_arguments: object, **_keywords: object) -> None:
        raise tightc.Interrupted(tightc.Result(model, tightc.Report("permute", {"passes": 3})))

    monkeypatch.setattr(module, "permute", interrupted)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        tightc.permute(model)
    assert interrupt.value.result.report.passes == 3  # type: ignore[attr-defined]


# --- documentation


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_every_verb_documents_every_parameter(verb: Any) -> None:
    text = inspect.getdoc(verb) or ""
    assert re.match(r"[A-Z][^\n]*\.\n", text), "a sentence first"
    assert text.count("Parameters\n----------") == bool(inspect.signature(verb).parameters)
    assert _documented(text) == list(inspect.signature(verb).parameters)
    if inspect.signature(verb).return_annotation != "None":
        assert re.search(r"\n\nReturns\n-------\n\w[^\n]*\n    [A-Z].*", text)
    assert all(len(line) <= 120 for line in text.splitlines() if " : " not in line)


@pytest.mark.parametrize("kind", OPTIONS, ids=lambda kind: kind.__name__)
def test_every_options_class_documents_every_field(kind: Any) -> None:
    assert _documented(inspect.getdoc(kind) or "") == list(kind.model_fields)


def _documented(text: str) -> list[str]:
    """The names in the section of parameters, each with a type and a meaning."""
    section = text.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^(\w+) : (.+)\n((?:    .+\n?)+)", section, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^\w", section, re.MULTILINE))
    assert all(re.match(r"    [A-Z'\"\d(].*[.?]\s*$", meaning, re.DOTALL) for _, _, meaning in entries), (
        entries
    )
    return [name for name, _, _ in entries]


def test_signatures_show_the_options_with_their_defaults() -> None:
    parameters = inspect.signature(tightc.permute).parameters
    assert parameters["array"].default == (32, 32) and parameters["fan_in"].default == 8
    assert list(parameters)[:4] == ["model", "options", "seed", "progress"]
    assert "keywords" not in parameters


def test_the_types_of_the_keywords_are_up_to_date() -> None:
    script = ROOT / "scripts" / "make_keywords.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], cwd=ROOT / "src", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_configuration_files_are_those_of_the_checkout_and_in_the_wheel() -> None:
    assert tightc.configs().resolve() == ROOT / "configs"
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    for pattern in data["package-data"]["tightc"]:
        assert any((ROOT / "src" / "tightc").glob(pattern)), pattern
    for kind, folder in (
        (tightc.TemperatureSchedule, "schedules"),
        (tightc.Hardware, "hardware"),
        (tightc.EnergyTable, "energy"),
    ):
        assert f"configs/{folder}/*.yaml" in data["package-data"]["tightc"]
        for path in (tightc.configs() / folder).glob("*.yaml"):
            assert isinstance(read_options(path, kind), kind)
