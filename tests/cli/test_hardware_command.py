"""`tightc hardware`: the list, a file as it is, and the check of one's own."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
import yaml

import tightc
from tightc.cli.main import run
from tightc.config.shipped import shipped_names

FOLDER = tightc.configs() / "hardware"
NAMES = shipped_names("hardware")


def test_the_list_has_the_values_of_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hardware", "list"]) == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "array", "clock", "fan-in", "buffers", "DRAM"]
    assert last == "buffers: activations, weights, partial sums"
    assert max(map(len, (head, *lines, last))) <= 80
    for name, line in zip(NAMES, lines, strict=True):
        values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
        sizes = [values[f"{kind}_buffer"]["size"] for kind in ("activation", "weight", "partial_sum")]
        cells = [name, values["array"], values["clock"], str(values["fan_in"]), ", ".join(sizes)]
        assert line.split() == " ".join([*cells, values["dram"]["bandwidth"]]).split()


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hardware", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "tightc.hardware/1" and found["totals"] == {"files": len(NAMES)}
    assert [row["name"] for row in found["hardware"]] == list(NAMES)
    for row in found["hardware"]:
        given = yaml.safe_load((FOLDER / f"{row['name']}.yaml").read_text())
        assert {key: row[key] for key in ("array", "clock", "dram")} == {
            key: given[key] for key in ("array", "clock", "dram")
        }


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_shown_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["hardware", "show", name]) == 0
    shown, _ = capsysbinary.readouterr()
    assert shown == (FOLDER / f"{name}.yaml").read_bytes()
    Path("mine.yaml").write_bytes(shown)
    assert run(["hardware", "show", "mine.yaml"]) == 0
    assert capsysbinary.readouterr()[0] == shown
    assert run(["hardware", "show", name, "--json"]) == 0
    (row,) = json.loads(capsysbinary.readouterr()[0])["hardware"]
    assert row["array"] == yaml.safe_load(shown)["array"]


def test_showing_an_own_file_tells_all_its_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (FOLDER / "edge-32x32.yaml").read_text()
    Path("mine.yaml").write_text(text.replace("fan_in: 1 ", "fan_in: 0 ").replace("400 MHz", "400"))
    assert run(["hardware", "show", "mine.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and [line.split(": ")[3] for line in err.splitlines()] == ["fan_in", "clock"]


def test_a_pipe_is_shown(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    pipe, content = tmp_path / "mine", (FOLDER / "edge-32x32.yaml").read_bytes()
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert run(["hardware", "show", str(pipe)]) == 0
    writer.join()
    assert capsysbinary.readouterr()[0] == content


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "tight"], "tightc: error: show: expected edge-32x32, eyeriss-12x14, "),
        (["show", "tight"], "or the path of a YAML file, got 'tight'; did you mean tight-32x32?"),
        (["show", "none.yaml"], "none.yaml: no such file; check the path of the YAML file"),
        (["show"], "show: expected a name or the path of a YAML file, got none; see tightc hardware list."),
        (["list", "edge-32x32"], "list: expected no name, got one; use show NAME."),
        (["lost"], "'lost' is not one of 'list', 'show'"),
        ([], "Missing argument 'list|show'"),
    ],
)
def test_errors(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hardware", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err
