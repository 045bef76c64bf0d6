"""docs/json.md names every key of the JSON that the commands print for the digits example, and no other."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml

import tightc
from helpers import models
from tightc.cli.main import COMMANDS, run
from tightc.example import RECIPE

PAGE = (Path(__file__).parents[1] / "docs" / "json.md").read_text(encoding="utf-8")
DIGITS, DATA = str(RECIPE.with_name("digits.onnx")), str(RECIPE.with_name("digits.npz"))
NO_REPORT = {"schema", "completion"}  # they print files of their own
# hold the values of a YAML file by its keys, measures by their names, and shapes by the names of inputs
OTHERS = {"hardware_file", "energy_file", "area_file", "measures", "input_shapes"}
COMMAND_LINES = """
prune {digits} --sparsity 0.9 -o pruned.onnx
prune {digits} --sparsity 0.5 --granularity filter -o narrow.onnx
finetune pruned.onnx --data {data} --epochs 1 --validation 100 -o finetuned.onnx
permute pruned.onnx --array 16x16 --fan-in 8 --temp-schedule quick.yaml -o permuted.onnx
quantize permuted.onnx --data {data} -o int8.onnx
pack permuted.onnx -o packed.onnx
unpack packed.onnx -o plain.onnx
inspect packed.onnx --sensitivity {data}
inspect uncovered.onnx
simulate packed.onnx --hardware banks.yaml --verify --area nangate45 --why
compare {digits} pruned.onnx --array 16x16 --fan-in 4 --temp-schedule quick.yaml --method dense,column-combine
compare pruned.onnx --hardware tight-32x32 --area nangate45 --equal-area --method dense,column-combine
evaluate packed.onnx --data {data}
evaluate packed.onnx --data {data} --teacher {digits}
rtl int8.onnx --fan-in 8 -o design
run recipe.yaml -o run
compress {digits} --data {data} --max-drop 90 --array 16x16 --epochs 1 --trials 1 --temp-schedule quick.yaml -o goal
compress {digits} --data {data} --max-drop 100 --margin 0 --goal energy --epochs 1 --trials 1 -o budget
check packed.onnx --require speedup>=1 --require accuracy_drop<=100 --against {digits} --data {data}
diff pruned.onnx packed.onnx
verify pruned.onnx packed.onnx
explore {digits} --array 16x16 --fan-in 4 --sparsity 0.8,0.9 --temp-schedule quick.yaml -o points.sqlite
report run -o page.html
hardware list
"""


def keys_in(value: Any, prefix: str = "") -> Iterator[str]:
    """The keys of an object and of those within it, such as `energy_parts_pj.mac`; not those of OTHERS."""
    if isinstance(value, list):
        for item in value:
            yield from keys_in(item, prefix)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield prefix + key
            is_pair = isinstance(inner, dict) and inner.keys() == {"a", "b"}  # of diff
            if key not in OTHERS and not is_pair:
                yield from keys_in(inner, f"{prefix}{key}.")


def documented() -> dict[str, set[str]]:
    """Of each key in the tables of the page the commands that print it."""
    rows = re.findall(r"^\| `([\w.]+)` \| ([\w, ]+) \| .+ \|$", PAGE, re.MULTILINE)
    assert len(dict(rows)) == len(rows), "a key is documented twice"
    return {key: set(commands.split(", ")) for key, commands in rows}


def printed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, set[str]]:
    """Of each key the commands that print it; every object has its parts."""
    monkeypatch.chdir(folder)
    prepare(folder)
    found: dict[str, set[str]] = {}
    for line in COMMAND_LINES.strip().splitlines():
        arguments = line.format(digits=DIGITS, data=DATA).split()
        out = StringIO()
        with redirect_stdout(out):
            assert run([*arguments, "--json"]) in ({0, 1} if arguments[0] == "diff" else {0}), line
        printed = json.loads(out.getvalue())
        command = arguments[0]
        assert printed["schema"].startswith(f"tightc.{command}/") and printed["totals"], line
        if command != "hardware":
            assert list(printed) == ["schema", "totals", "layers", "uncovered", "notes"]
        for part in ("totals", "layers", "uncovered"):
            for key in keys_in(printed.get(part, {})):
                found.setdefault(key, set()).add(command)
    return found


def prepare(folder: Path) -> None:
    """The files that the command lines read."""
    values = yaml.safe_load((tightc.configs() / "hardware" / "tight-32x32.yaml").read_text())
    buffer = values["activation_buffer"]
    values["activation_buffer"] = {**buffer, "bandwidth": "16 words/cycle", "banks": 16, "lane_reach": 4}
    (folder / "banks.yaml").write_text(yaml.safe_dump({**values, "name": "banks", "array": "16x16"}))
    (folder / "quick.yaml").write_text("steps: 5\nmoves_per_weight: 30\n")
    stages = [
        {"prune": {"sparsity": 0.9}},
        {"permute": {"array": "16x16", "fan_in": 8, "temp_schedule": {"steps": 5, "moves_per_weight": 30}}},
        {"pack": {}},
        {"simulate": {}},
    ]
    recipe = {"model": DIGITS, "data": {"data": DATA, "validation": 100}, "stages": stages}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    text = "net (float[1, 8] x, float[4, 4] b) => (float[1, 4] y) { a = MatMul(x, w)\n y = MatMul(a, b) }"
    models.save(models.build(text, w=models.sparse(8, 4, density=0.5)), folder / "uncovered.onnx")


def test_every_key_is_documented_with_the_commands_that_print_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, page = printed(monkeypatch, tmp_path), documented()
    assert {key: sorted(of) for key, of in found.items() if page.get(key) != of} == {}
    assert sorted(page.keys() - found.keys()) == []


def test_every_command_with_a_report_is_tried() -> None:
    tried = {line.split()[0] for line in COMMAND_LINES.strip().splitlines()}
    assert tried == set(COMMANDS) - NO_REPORT


def test_the_commands_of_the_page_write_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    quick = [
        "permute",
        "pruned.onnx",
        "--array",
        "16x16",
        "--temp-schedule",
        "quick.yaml",
        "-o",
        "permuted.onnx",
        "-q",
    ]
    assert run(["prune", DIGITS, "--sparsity", "0.9", "-o", "pruned.onnx", "-q"]) == run(quick) == 0
    assert run(["pack", "permuted.onnx", "-o", "packed.onnx", "-q"]) == 0
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        command, _, target = line.removeprefix("tightc ").partition(" > ")
        out = StringIO()
        with redirect_stdout(out):
            assert run(command.split()) == 0
        Path(target).write_text(out.getvalue())
    layers = json.loads(Path("simulate.json").read_text())["layers"]
    rows = list(csv.DictReader(StringIO(Path("layers.csv").read_text())))
    assert [row["name"] for row in rows] == [layer["name"] for layer in layers]
    assert [row["energy_parts_pj.mac"] for row in rows] == [
        str(layer["energy_parts_pj"]["mac"]) for layer in layers
    ]
