"""The schemas for editors against the reader: each refuses what the other does, except for what no schema can say."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import tightc
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import Hardware
from tightc.cli.main import run
from tightc.config.json_schema import json_schema
from tightc.config.options import Options, inner_options
from tightc.config.yaml import parse_options
from tightc.errors import ConfigError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.recipe.recipe import Recipe, Step

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed here")

CONFIGS = tightc.configs()
KINDS: dict[str, tuple[type[Options], str]] = {
    "hardware": (Hardware, "hardware/*.yaml"),
    "energy": (EnergyTable, "energy/*.yaml"),
    "area": (AreaTable, "area/*.yaml"),
    "schedule": (TemperatureSchedule, "schedules/*.yaml"),
    "recipe": (Recipe, "*.yaml"),
}
FILES = [
    *((name, path) for name, (_, pattern) in KINDS.items() for path in sorted(CONFIGS.glob(pattern))),
    *(
        ("recipe", path)
        for folder in ("experiments", "mlperf-tiny")
        for path in sorted((CONFIGS / folder).glob("*.yaml"))
        if path.name != "matrix.yaml"  # of scripts/experiments.py
    ),
    ("recipe", tightc.examples() / "digits.yaml"),
]
# docs/configuration.md has this list: what the reader says where the schema is silent
RULES = (
    "expected room for", "but temperature must fall",
    "expected at least the entry's energy", "expected at least the lane_reach", "beside lane_reach, got",
    r"expected a divisor of the \d+ banks", "expected a sparsity or a budget, got neither",
    "expected a pruning target, got none", "expected an array to align to",
    "expected a budget of", "expected a budget beside it", "expected criterion fisher or obs",
    r"expected at most \d+, the fan-in of", "expected alpha up to", r"expected a fan-in of \d+ or more",
    "expected an integer for method", "expected a method that packs subwords",
    "the folder of the run keeps the checkpoint", "there is no teacher", "would undo it;", "pack twice; keep one",
    "pack without permute;", "simulate on .*, the tiles are for", "simulate in dataflow",
    "expected one validation split", "needs data; add data:",
)  # fmt: skip
ONLY_THE_READER = {
    "rules between keys": "|".join(RULES),
    "integers written as 3.0": r"got -?\d+\.0(e\+\d+)?; give an integer",
    "bytes that are no integer": r"; give an integer number of bytes",
    "quantities out of range": r"; give (0 or )?a value from .* to ",
    "numbers beyond 64 bits": "at most 9223372036854775807",
    "methods of plugins": r"method: expected one of tight, first-fit, .*|method: expected .*; did you mean",
    "patterns and budgets out of range": r"; give two integers N:M|with a factor above 1",
    "ports above 65535": r"; give an address with its port",
    "files that are named": r": no such file; ",
    "a mask with other options": r"expected --mask alone, got ",
}


@cache
def validator(name: str) -> Any:
    found = json_schema(KINDS[name][0])
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def fault_of_the_reader(name: str, values: Any) -> str:
    """All that the reader says against a file of these values, empty where it takes it."""
    try:
        parse_options(yaml.safe_dump(values), "f.yaml", KINDS[name][0], CONFIGS)
    except ConfigError as error:
        return str(error)
    return ""


def assert_they_agree(name: str, values: Any) -> None:
    said = fault_of_the_reader(name, values)
    refused = [error.message for error in validator(name).iter_errors(values)]
    if refused:
        assert said, f"the schema refuses what the reader takes: {refused}"
    elif said:
        silent = re.compile("|".join(ONLY_THE_READER.values()))
        assert all(silent.search(line) for line in said.split("\n")), f"the schema says nothing of {said}"


def test_every_file_is_looked_at() -> None:
    found = {path for _, path in FILES} | {CONFIGS / "experiments" / "matrix.yaml"}
    assert {path for path in CONFIGS.rglob("*.yaml") if "ci" not in path.parts} <= found


@pytest.mark.parametrize(("name", "path"), FILES, ids=lambda value: getattr(value, "name", value))
def test_the_files_that_come_with_tightc_are_valid(name: str, path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    assert not list(validator(name).iter_errors(values))
    assert_they_agree(name, values)


@pytest.mark.parametrize("name", KINDS)
def test_the_command_prints_it_with_a_description_of_every_key(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["schema", name]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json_schema(KINDS[name][0])
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in (found, *found.get("$defs", {}).values()):
        part = part.get("anyOf", [part])[0]  # of a stage, whose name may stand alone
        assert part["description"] and part["additionalProperties"] is False
        assert all(field["description"] and "title" not in field for field in part["properties"].values())
    assert set(found["properties"]) == set(KINDS[name][0].model_fields)


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "hardwear"]) == 2
    assert (
        "'hardwear' is not one of 'hardware', 'energy', 'area', 'recipe', 'schedule'"
        in capsys.readouterr().err
    )


# --- changes of the real files

OTHERS = (
    None, True, 3, 0, -1, 3.0, 0.5, 1e9, "", "x", "32x32", "0x8", "64 KiB", "0 B", "8", "1.5 GHz", "-3 ns", "2:4",
    "edge-32x32", "egde", "quick", "a/b.yaml", [], [1], ["a"], {}, {"size": "1 B"}, "prune", "pack", "30s", "0s",
)  # fmt: skip


def places(values: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every value."""
    if at:
        yield at
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    for key, value in items:
        yield from places(value, (*at, key))


def changed(values: Any, at: tuple[Any, ...], change: Any) -> Any:
    found = copy.deepcopy(values)
    inner = found
    for key in at[:-1]:
        inner = inner[key]
    if change == "leave out":
        del inner[at[-1]]
    elif change == "misspell" and isinstance(inner, dict):
        inner[f"{at[-1]}x"] = inner.pop(at[-1])
    else:
        inner[at[-1]] = change
    return found


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_changed_files(data: st.DataObject) -> None:
    name, path = data.draw(st.sampled_from([(n, p) for n, p in FILES if n != "area"]))
    values = read(path)
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.sampled_from(sorted(places(values), key=repr)))
        values = changed(values, at, data.draw(st.sampled_from(["leave out", "misspell", *OTHERS])))
        if not isinstance(values, dict) or not values:
            return
    assert_they_agree(name, values)


@pytest.mark.parametrize(
    ("heights", "takes"),
    [
        ("32,16", True),
        ("32, 16 ,8", True),
        ("8", True),
        (8, True),
        ([32, 8], True),
        (["32", 8], True),
        (["32,16"], False),
        ("", False),
        ("32,", False),
        ("32;16", False),
        ("0", False),
        (0, False),
        (True, False),
        ([], True),
    ],
)
def test_tile_heights_are_a_list_one_value_or_text(heights: object, takes: bool) -> None:
    options = {"budget": "energy=4", "align": "32x32", "tile_heights": heights}
    values = {"model": "m", "data": {"data": "x"}, "stages": [{"finetune": options}]}
    assert validator("recipe").is_valid(values) == takes
    assert (fault_of_the_reader("recipe", values) == "") == takes


@pytest.mark.parametrize("stage", Step.model_fields)
def test_every_option_of_a_stage(stage: str) -> None:
    kind = inner_options(Step.model_fields[stage].annotation)
    assert kind is not None
    for name in kind.model_fields:
        for value in OTHERS:
            options = {"sparsity": 0.5, name: value} if stage == "prune" else {name: value}
            assert_they_agree("recipe", {"model": "m", "data": {"data": "x"}, "stages": [{stage: options}]})


@cache
def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


QUANTITY = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "+", "-", " "]),
    st.sampled_from(["0", "1", "0.0", "1.", ".5", "00", "1e3", "0e5", "1e-9", "12.5E+2", "", "e3", "1e400"]),
    st.sampled_from(["", " ", "  "]),
    st.sampled_from(["", "B", "KiB", "kb", "words/cycle", "MHz", "GB/s", "pJ", "um2", "operations/cycle"]),
)
ARRAY = st.builds(
    "{}{}{}".format, st.integers(0, 5000), st.sampled_from("xX:*"), st.sampled_from([0, 1, 9, 4096, 4097])
)


@pytest.mark.parametrize(
    ("overlap", "prefetch", "takes"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_overlapped_draining_needs_prefetched_weights(overlap: bool, prefetch: bool, takes: bool) -> None:
    edge = read(CONFIGS / "hardware" / "edge-32x32.yaml")
    values = {**edge, "overlap_drain": overlap, "prefetch_weights": prefetch}
    assert validator("hardware").is_valid(values) == takes
    assert_they_agree("hardware", values)


QUANTITIES = [
    ("clock",), ("array",), ("dram", "bandwidth"), ("weight_buffer", "size"), ("vector_unit",),
    ("activation_buffer", "bandwidth"),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(QUANTITIES), st.one_of(QUANTITY, ARRAY))
def test_quantities_and_arrays(at: tuple[str, ...], text: str) -> None:
    values = {**read(CONFIGS / "hardware" / "edge-32x32.yaml"), "vector_unit": "1 operations/cycle"}
    assert_they_agree("hardware", changed(values, at, text))


@pytest.mark.parametrize(
    ("stage", "takes"),
    [
        ("permute", True),
        ({"permute": None}, True),
        ({"permute": {"hardware": "edge-32x32"}}, True),
        ({"permute": {"hardware": "egde-32x32"}}, False),
        ({"permute": {"hardware": "egde-32x32.yaml"}}, None),
        ({"permute": {"fan_in": "auto"}}, True),
        ({"permute": {"fan_in": "all"}}, False),
        ({"permute": {"fan_in": 0}}, False),
        ({"permute": {"time_limit": "5m", "dask": "tcp://host:8786", "pattern": "2:4"}}, True),
        ({"permute": {"time_limit": "5 days"}}, False),
        ({"permute": {"dask": "host"}}, False),
        ({"permute": {}, "pack": {}}, False),
        ({}, False),
        ("squeeze", False),
        ({"simulate": "own.yaml"}, None),
    ],
)
def test_stages(stage: Any, takes: bool | None) -> None:
    """None: only the reader can open a file."""
    values = {"model": "net.onnx", "stages": [stage]}
    assert validator("recipe").is_valid(values) == (takes is not False)
    assert (fault_of_the_reader("recipe", values) == "") == (takes is True)
    assert_they_agree("recipe", values)
