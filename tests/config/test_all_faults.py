"""All faults of a file are told at once, a line for each, in the order of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import tightc
from helpers import models
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import Hardware
from tightc.cli.main import run
from tightc.config.options import Options
from tightc.config.yaml import parse_options
from tightc.errors import ConfigError, OptionError, TightcError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.recipe.recipe import Recipe

EDGE = (tightc.configs() / "hardware" / "edge-32x32.yaml").read_text()
ENERGY = (tightc.configs() / "energy" / "nangate45.yaml").read_text()
AREA = (tightc.configs() / "area" / "nangate45.yaml").read_text()
# each text with its change, and what its line has to say
HARDWARE_FAULTS = {
    "array: 32x32 ": ("aray: 32x32 ", "did you mean array?"),
    "fan_in: 1 ": ("fan_in: 0 ", "fan_in: expected inputs per lane"),
    "operands: int8": (
        "operands: int9",
        "operands: expected 'int8' or 'fp32', got 'int9'; did you mean int8?",
    ),
    "clock: 400 MHz": ("clock: 400", "clock: expected clock frequency of the array"),
    "bandwidth: 64 words/cycle": ("bandwith: 64 words/cycle", "partial_sum_buffer.bandwith: expected one of"),
}


def faults(text: str, kind: type[Options], folder: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_options(text, "f.yaml", kind, folder)
    lines = str(caught.value).split("\n")
    assert [str(caught.value).split("\n")[0], *map(str, caught.value.more)] == lines
    return lines


def changed(text: str, changes: dict[str, tuple[str, str]]) -> str:
    for old, (new, _) in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def assert_all(text: str, kind: type[Options], changes: dict[str, tuple[str, str]]) -> None:
    wrong = changed(text, changes)
    found = faults(wrong, kind)
    assert len(found) == len(changes)
    for (new, said), line in zip(changes.values(), found, strict=True):
        number = wrong[: wrong.index(new)].count("\n") + 1
        assert line.startswith(f"f.yaml:{number}: ") and said in line


def test_five_faults_of_a_hardware_file() -> None:
    assert_all(EDGE, Hardware, HARDWARE_FAULTS)


def test_faults_of_the_other_kinds() -> None:
    assert_all(
        ENERGY,
        EnergyTable,
        {
            "name: nangate45": ("name: ''", "expected name of the table in reports, got ''; give a non-empty string"),
            "int32_add:": ("int32_sum:", "did you mean int32_add?"),
            "at: 4096 B": ("at: 8", "sram.at: expected capacity that the figure holds for"),
        },
    )  # fmt: skip
    assert_all(
        AREA,
        AreaTable,
        {
            "node: 45 nm": (
                "node: 45 mm",
                "node: expected process node, from 0.1 nm to 1e6 nm, such as 45 nm, got '45 mm'",
            ),
            "requantizer:": ("requantiser:", "did you mean requantizer?"),
        },
    )
    assert_all(
        "t_start: 0.3\nsteps: 30\nseed: 0\n",
        TemperatureSchedule,
        {
            "t_start: 0.3": ("t_start: warm", "got 'warm'; give a number"),
            "steps: 30": ("reheats: 3", "reheats: removed in 0.4; leave it out"),
            "seed: 0": ("seed: -1", "got -1; give a number of at least 0"),
        },
    )


def test_faults_of_several_stages_of_a_recipe() -> None:
    text = (
        "modle: net.onnx\nstages:\n  - prune: {sparsity: 1.5, scop: layer}\n"
        "  - permute:\n      hardware: egde-32x32\n      temp_schedule: {steps: 0}\n  - squeeze\n"
    )
    found = faults(text, Recipe)
    assert [line.split(": ")[:2] for line in found] == [
        ["f.yaml:1", "modle"],
        ["f.yaml:3", "stages.0.prune.sparsity"],
        ["f.yaml:3", "stages.0.prune.scop"],
        ["f.yaml:5", "stages.1.permute.hardware"],
        ["f.yaml:6", "stages.1.permute.temp_schedule.steps"],
        ["f.yaml:7", "stages.2.squeeze"],
    ]


def test_rules_between_keys_are_told_together_too() -> None:
    text = EDGE.replace("prefetch_weights: false", "prefetch_weights: false\noverlap_drain: true")
    text = text.replace("size: 64 KiB", "size: 64 B").replace("size: 256 KiB", "size: 64 B")
    assert [line.split(": ")[1] for line in faults(text, Hardware)] == [
        "prefetch_weights",
        "weight_buffer.size",
        "partial_sum_buffer.size",
    ]
    stages = ("finetune", "permute: {array: 8x8}", "simulate: {array: 4x4}", "pack", "pack")
    recipe = "model: m\nstages:\n" + "".join(f"  - {stage}\n" for stage in stages)
    assert [line.split(": ", 1)[1] for line in faults(recipe, Recipe)] == [
        "stages.2: simulate on 4x4, the tiles are for 8x8; leave its array out",
        "stages.3: pack twice; keep one",
    ]
    recipe = "model: m\nstages:\n  - finetune\n  - evaluate\n"
    assert [line.split(": ")[1] for line in faults(recipe, Recipe)] == ["stages.0", "stages.1"]


def test_a_misspelled_key_is_not_missing_too_but_another_is() -> None:
    assert len(faults("modle: m\nstages: [simulate]\n", Recipe)) == 1
    assert [line.rpartition("; ")[2] for line in faults("qqq: 1\nstages: [simulate]\n", Recipe)] == [
        "add it",
        "remove it",
    ]
    (line,) = faults(EDGE.replace("keep_feature_maps:", "keep:"), Hardware)
    assert line.endswith("got keep; did you mean keep_feature_maps?")


def test_keys_given_twice_and_keys_that_are_no_names_come_with_the_rest() -> None:
    found = faults("steps: 3\nsteps: 4\n[1]: 2\n<<: 3\nseed: x\n", TemperatureSchedule)
    assert [line.partition(": ")[2].partition(";")[0] for line in found] == [
        "steps is given twice",
        "expected a name as key, got a list or mapping",
        "<<: expected a mapping or a list of mappings, got '3'",
        "seed: expected random seed of the search, from 0, got 'x'",
    ]


def test_files_within_files_tell_all_of_theirs_once(tmp_path: Path) -> None:
    (tmp_path / "h.yaml").write_text(changed(EDGE, HARDWARE_FAULTS))
    text = "array: 3\nhardware: h.yaml\nenergy: none.yaml\nfan_in: 0\n"
    found = faults(text, PermuteOptions, tmp_path)
    assert len(found) == 3 + len(HARDWARE_FAULTS)
    assert found[0].startswith("f.yaml:1: array: ") and found[-1].startswith("f.yaml:4: fan_in: ")
    assert [line.startswith(f"{tmp_path / 'h.yaml'}:") for line in found] == [
        False,
        *[True] * 5,
        False,
        False,
    ]
    assert "none.yaml: no such file" in found[-2]
    stages = "stages:\n  - permute: {hardware: h.yaml}\n  - simulate: {hardware: h.yaml}\n"
    assert len(faults(f"model: m\n{stages}", Recipe, tmp_path)) == len(HARDWARE_FAULTS)


def test_a_file_of_nothing_but_faults_is_cut() -> None:
    found = faults("".join(f"wrong{number}: 1\n" for number in range(40)), TemperatureSchedule)
    assert len(found) == 20 and found[-1] == "f.yaml: 21 more faults; mend these first"


def test_the_command_line_prints_a_line_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "h.yaml").write_text(changed(EDGE, HARDWARE_FAULTS))
    assert run(["simulate", "net.onnx", "--hardware", "h.yaml"]) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == len(HARDWARE_FAULTS)
    assert all(line.startswith("tightc: error: h.yaml:") for line in lines)
    (tmp_path / "h.yaml").write_text(
        "a\\nb: 1\n" + '"c\\nd": 1\n' + EDGE
    )  # names with line breaks stay in their line
    assert run(["simulate", "net.onnx", "--hardware", "h.yaml"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_python_and_flags_tell_all_as_well() -> None:
    with pytest.raises(OptionError) as caught:
        PermuteOptions(fan_in=0, array="3", alpha=0)  # type: ignore[arg-type]
    assert [line.split(": ")[0] for line in str(caught.value).split("\n")] == ["array", "fan_in", "alpha"]
    with pytest.raises(OptionError) as caught:
        PermuteOptions.of({"fan_in": 0, "array": "3"})
    assert [line.split(": ")[0] for line in str(caught.value).split("\n")] == ["--array", "--fan-in"]
    model = tightc.load(models.cnn())
    with pytest.raises(TightcError) as raised:
        tightc.permute(model, fan_in=0, array="3")
    assert [line.split(": ")[0] for line in str(raised.value).split("\n")] == ["array", "fan_in"]
