"""Files that come with tightc are taken by name; paths are paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tightc
from helpers import models
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import Hardware
from tightc.accelerator.options import AcceleratorOptions
from tightc.cli.main import run
from tightc.comparison.options import CompareOptions
from tightc.config.options import Options
from tightc.config.shipped import shipped_names
from tightc.config.yaml import options_in, parse_options, read_options
from tightc.errors import ConfigError, OptionError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.recipe.recipe import Recipe

KINDS: dict[str, type[Options]] = {
    "hardware": Hardware,
    "energy": EnergyTable,
    "area": AreaTable,
    "schedules": TemperatureSchedule,
}
CONFIGS = tightc.configs()


@pytest.mark.parametrize("folder", KINDS)
def test_every_file_of_a_folder_has_its_name(folder: str) -> None:
    paths = sorted((CONFIGS / folder).iterdir())
    assert shipped_names(folder) == tuple(path.stem for path in paths) != ()
    assert KINDS[folder].shipped == folder
    for path in paths:
        found = options_in(path.stem, KINDS[folder])
        assert found == read_options(path, KINDS[folder])
        assert folder == "schedules" or found.name == path.stem  # type: ignore[union-attr]


def test_help_names_all_energy_and_area_tables_and_schedules() -> None:
    fields = {**PermuteOptions.model_fields, "compared": CompareOptions.model_fields["temp_schedule"]}
    for field, folder in (
        ("energy", "energy"),
        ("area", "area"),
        ("temp_schedule", "schedules"),
        ("compared", "schedules"),
    ):
        for name in shipped_names(folder):
            assert name in str(fields[field].description)
    assert "tightc hardware list" in str(AcceleratorOptions.model_fields["hardware"].description)


def test_text_with_a_slash_or_a_yaml_ending_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("quick.yaml", "./quick", "no/quick", "quick.yml"):
        with pytest.raises(ConfigError, match="no such file"):
            options_in(text, TemperatureSchedule)
    for name in ("quick", "own", "quick.yaml"):
        Path(name).write_text("steps: 7\n")
    own = TemperatureSchedule(steps=7)
    assert options_in("./quick", TemperatureSchedule) == own
    assert options_in("quick.yaml", TemperatureSchedule) == own
    assert options_in("./own", TemperatureSchedule) == own
    assert options_in("own", TemperatureSchedule) == "own"
    assert options_in("quick", TemperatureSchedule) != own  # a name, whatever lies in this folder
    assert options_in("other", TemperatureSchedule) == "other"
    assert options_in("", TemperatureSchedule) == ""
    assert options_in("a\0b", TemperatureSchedule) == "a\0b"


def test_recipes_take_names(tmp_path: Path) -> None:
    text = "model: m\nstages:\n  - permute: {hardware: edge-32x32, fan_in: 1, temp_schedule: quick}\n"
    (step,) = parse_options(text, "r.yaml", Recipe, tmp_path).stages
    assert step.permute is not None and step.permute.hardware is not None
    assert step.permute.hardware.name == "edge-32x32" and step.permute.temp_schedule.steps == 15
    assert step.permute.array == step.permute.hardware.array


def test_python_takes_names_and_paths() -> None:
    found = tightc.PermuteOptions(hardware="tight-32x32", energy="nangate45", temp_schedule="thorough")
    path = CONFIGS / "hardware" / "tight-32x32.yaml"
    assert found.hardware == tightc.PermuteOptions(hardware=path).hardware
    assert found.fan_in == 8 and found.energy.name == "nangate45"
    report = tightc.simulate(tightc.load(models.cnn()), hardware="edge-32x32", area="sg13g2")
    assert report.totals["area_mm2"]
    with pytest.raises(OptionError) as caught:
        tightc.simulate(tightc.load(models.cnn()), hardware="edge-32")
    assert str(caught.value) == (
        f"hardware: expected {', '.join(shipped_names('hardware'))} or the path of a YAML file, got 'edge-32'; "
        "did you mean edge-32x32?"
    )


def test_flags_take_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    models.save(models.cnn(), tmp_path / "net.onnx")
    flags = ["simulate", "net.onnx", "--json", "--energy", "sg13g2", "--area", "nangate45", "--hardware"]
    assert run([*flags, "edge-32x32"]) == 0
    by_name = json.loads(capsys.readouterr().out)
    assert run([*flags, str(CONFIGS / "hardware" / "edge-32x32.yaml")]) == 0
    assert json.loads(capsys.readouterr().out) == by_name
    assert run([*flags, "egde"]) == 2
    assert capsys.readouterr().err == (
        f"tightc: error: --hardware: expected {', '.join(shipped_names('hardware'))} or the path of a YAML file, "
        "got 'egde'; did you mean edge-32x32?\n"
    )
    assert run([*flags, "qqq"]) == 2
    assert capsys.readouterr().err.endswith("give one of them, or a path with a / or .yaml\n")
