"""The accelerator of permute: array and fan-in of the hardware, values that replace them, what the history tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import HARDWARE
from tightc.accelerator.energy_table import default_table
from tightc.accelerator.options import AcceleratorOptions
from tightc.cli.main import run
from tightc.config.yaml import parse_options
from tightc.errors import ConfigError, ModelError, OptionError
from tightc.recipe.recipe import Recipe
from tightc.tile.array import ArrayShape

FIXTURES = Path(__file__).parents[1] / "packing" / "fixtures"
QUICK = {"temp_schedule": tightc.TemperatureSchedule(steps=3, moves_per_weight=10), "jobs": 1}
SMALL = {**HARDWARE, "arrays": 2}
HEAD = "model: net.onnx\nstages:\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def history(model: tightc.Model) -> dict[str, Any]:
    properties = {entry.key: entry.value for entry in model.proto.metadata_props}
    options: dict[str, Any] = json.loads(properties["tightc.history"])[-1]["options"]
    return options


def permuted(**options: Any) -> tuple[tightc.Model, tightc.Report]:
    result = tightc.permute(loaded(models.cnn()), **QUICK, **options)
    return result.model, result.report


@pytest.mark.parametrize("form", ["mapping", "options", "file"])
def test_array_and_fan_in_are_those_of_the_hardware(form: str, place: Path) -> None:
    hardware: Any = {
        "mapping": SMALL,
        "options": tightc.Hardware(**SMALL),
        "file": place / "small.yaml",
    }[form]
    options = tightc.PermuteOptions(hardware=hardware)
    assert (options.array, options.fan_in) == (ArrayShape(8, 4), 3)
    model, report = permuted(hardware=hardware)
    assert (report.totals["array"], report.totals["fan_in"]) == ("8x4", 3)
    assert all(
        len(tile.lane_inputs(lane)) <= 3 for tile in tightc.tiles(model) for lane in range(len(tile.select))
    )
    tightc.simulate(model, hardware=hardware)


def test_without_hardware_they_have_their_defaults() -> None:
    options = tightc.PermuteOptions()
    assert (options.array, options.fan_in, options.hardware) == (ArrayShape(32, 32), 16, None)


@pytest.mark.parametrize(
    ("given", "array", "fan_in"),
    [
        ({"fan_in": 2}, (8, 4), 2),
        ({"array": "4x4"}, (4, 4), 3),
        ({"array": ArrayShape(8, 8), "fan_in": 1}, (8, 8), 1),
        ({"array": (2, 3)}, (2, 3), 3),
        ({"fan_in": "auto"}, (8, 4), "auto"),
    ],
)
def test_values_that_are_given_win(given: dict[str, Any], array: tuple[int, int], fan_in: object) -> None:
    options = tightc.PermuteOptions(hardware=SMALL, **given)
    assert (tuple(options.array), options.fan_in) == (array, fan_in)


def test_other_hardware_brings_its_own_array_and_fan_in() -> None:
    """What the first hardware implied was not given by anybody."""
    buffer = {"size": "1 MiB", "bandwidth": "16 words/cycle", "double_buffered": True}
    larger = {**SMALL, "array": "16x16", "fan_in": 8, "activation_buffer": buffer, "weight_buffer": buffer}
    large, small = tightc.PermuteOptions(hardware=larger), tightc.PermuteOptions(hardware=SMALL)
    for options, hardware, expected in ((large, SMALL, ("8x4", 3)), (small, larger, ("16x16", 8))):
        result = tightc.permute(loaded(models.cnn()), options, **QUICK, hardware=hardware)
        assert (result.report.totals["array"], result.report.totals["fan_in"]) == expected
    kept = tightc.PermuteOptions(hardware=larger, fan_in=2)
    result = tightc.permute(loaded(models.cnn()), kept, **QUICK, hardware=SMALL)
    assert result.report.totals["fan_in"] == 2


def test_a_fan_in_above_the_hardware_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "expected at most 3, the fan-in of small, got 4; lower it to 3 or leave it out"
    with pytest.raises(OptionError) as caught:
        tightc.PermuteOptions(hardware=SMALL, fan_in=4)
    assert str(caught.value) == f"fan_in: {said}"
    flags = ["permute", "net.onnx", "--hardware", "small.yaml", "-o", "out.onnx", "--quiet"]
    assert run([*flags, "--fan-in", "4"]) == 2
    assert capsys.readouterr().err == f"tightc: error: --fan-in: {said}\n"
    with pytest.raises(ConfigError) as refused:
        parse_options(HEAD + "  - permute: {hardware: small.yaml, fan_in: 4}\n", "r.yaml", Recipe)
    assert said in str(refused.value) and "fan_in" in str(refused.value)
    assert not Path("out.onnx").exists()


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"method": "column-combine"}, "alpha: expected alpha up to 3, the fan-in of the array, got 8; "),
        ({"method": "nm"}, "pattern: expected a fan-in of 4 or more for pattern 2:4, got 3; "),
    ],
)  # fmt: skip
def test_remedies_are_within_the_hardware(own: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        tightc.PermuteOptions(hardware=SMALL, **own)
    assert str(caught.value).startswith(said)
    assert "raise fan_in" not in str(caught.value)
    roomier = {**SMALL, "fan_in": 8, "activation_buffer": {**SMALL["activation_buffer"], "size": "1 KiB"}}
    with pytest.raises(OptionError) as caught:
        tightc.PermuteOptions(hardware=roomier, fan_in=3, **own)
    assert "raise fan_in" in str(caught.value)


@pytest.mark.parametrize(
    "flags", [[], ["--fan-in", "2"], ["--array", "4x4"], ["--array", "4x4", "--fan-in", "1"]]
)
def test_flags_and_recipe_and_python_agree(
    flags: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = dict(zip((flag[2:].replace("-", "_") for flag in flags[::2]), flags[1::2], strict=True))
    values = {key: int(value) if value.isdigit() else value for key, value in given.items()}
    shown = (values.get("array", "8x4"), values.get("fan_in", 3))
    quick = "{steps: 3, moves_per_weight: 10}"
    Path("quick.yaml").write_text(quick)
    command = ["permute", "net.onnx", "--hardware", "small.yaml", "--temp-schedule", "quick.yaml", "--json"]
    assert run([*command, *flags, "-o", "out.onnx"]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert (totals["array"], totals["fan_in"]) == shown
    options = "".join(f", {key}: {value}" for key, value in values.items())
    Path("r.yaml").write_text(
        HEAD + f"  - permute: {{hardware: small.yaml, temp_schedule: {quick}{options}}}\n"
    )
    assert run(["run", "r.yaml", "-o", "made", "--quiet"]) == 0
    of_recipe = tightc.load(next(Path("made").glob("*-permute.onnx")))
    of_python = tightc.permute(tightc.load("net.onnx"), **QUICK, hardware="small.yaml", **values).model
    assert history(of_recipe) == history(of_python) == history(tightc.load("out.onnx"))
    assert of_python.to_bytes() == Path("out.onnx").read_bytes()


def test_an_array_beyond_the_buffers_is_refused_as_in_simulate(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for command in (["permute", "net.onnx", "-o", "out.onnx"], ["simulate", "net.onnx"]):
        assert run([*command, "--hardware", "small.yaml", "--array", "64x64", "--quiet"]) == 2
        found.append(capsys.readouterr().err)
    assert found[0] == found[1]
    assert found[0].startswith("tightc: error: --array 64x64 on small: ") and found[0].count("\n") == 1
    assert not Path("out.onnx").exists()


def test_overlap_without_prefetch_is_refused_as_in_simulate(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["permute", "net.onnx", "-o", "out.onnx", "--overlap-drain"]) == 2
    assert capsys.readouterr().err == (
        "tightc: error: --overlap-drain: expected --prefetch-weights beside it, got none; "
        "add --prefetch-weights, or give --no-overlap-drain\n"
    )


@pytest.mark.parametrize("objective", ["passes", "area", "inputs", "cycles", "energy"])
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--input-shape", "nothing=1x3x8x8"], "expected an input of the model (image), got nothing; "),
        (["--input-shape", "image=1x3x9x9"], "expected 8 for dimension 2 of input image, as in the model, got 9; "),
    ],
)  # fmt: skip
def test_sizes_that_the_model_does_not_have_are_refused_by_every_objective(
    flags: list[str], said: str, objective: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for command in (
        ["permute", "net.onnx", "--objective", objective, "-o", "out.onnx"],
        ["simulate", "net.onnx"],
    ):
        assert run([*command, *flags, "--quiet"]) == 2
        found.append(capsys.readouterr().err)
    assert found[0] == found[1] and said in found[0]


def test_a_batch_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        tightc.permute(loaded(models.depthwise()), batch=1, **QUICK)
    assert "expected 2 for dimension 0 of input x, as in the model, got 1" in str(caught.value)


# --- history


def test_the_history_tells_of_hardware_and_energy_only_where_they_are_given() -> None:
    names = AcceleratorOptions.model_fields.keys() - {"array", "input_shape"}
    assert not names & history(permuted()[0]).keys()
    assert not names & history(permuted(energy=default_table())[0]).keys()
    table = default_table().model_copy(update={"name": "mine"})
    given = {"hardware": SMALL, "energy": table, "replicate_tiles": False, "batch": 3}
    assert names & history(permuted(**given)[0]).keys() == given.keys()


def test_what_the_history_tells_gives_the_same_tiles_again() -> None:
    table = default_table().model_dump(mode="json")
    table["sram"]["energy"] = "1 pJ/byte"
    given = {"hardware": SMALL, "energy": table, "prefetch_weights": True, "objective": "energy", "fan_in": 2}
    model, _ = permuted(**given)
    reported = history(model)
    again = tightc.PermuteOptions.of(reported)
    assert again.hardware == tightc.Hardware(**SMALL) and again.energy == tightc.EnergyTable(**table)
    repeated = tightc.permute(loaded(models.cnn()), again).model
    assert repeated.to_bytes() == model.to_bytes()


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0"])
def test_older_histories_are_read_and_kept(version: str) -> None:
    old = tightc.load(FIXTURES / version / "permuted.onnx")
    before = {entry.key: entry.value for entry in old.proto.metadata_props}["tightc.history"]
    reported = history(old)
    assert "hardware" not in reported and "energy" not in reported
    model = tightc.permute(old, hardware=SMALL, **QUICK).model
    properties = {entry.key: entry.value for entry in model.proto.metadata_props}
    stages = json.loads(properties["tightc.history"])
    assert stages[:-1] == json.loads(before)
    assert stages[-1]["options"]["hardware"]["name"] == "small"
    tightc.simulate(model, hardware=SMALL)
