"""The simulate command: its flags, what it prints where, and what it refuses in one sentence."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import tightc
from helpers import models
from tightc.accelerator.hardware import Hardware
from tightc.cli.main import run
from tightc.cost_model.energy import PARTS
from tightc.simulation.options import SimulateOptions
from tightc.simulation.report.glossary import GLOSSARY

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = {
    "name": "small",
    "array": "8x4",
    "fan_in": 3,
    "operands": "int8",
    "clock": "100 MHz",
    "prefetch_weights": False,
    "activation_buffer": {"size": "1 KiB", "bandwidth": "4 words/cycle", "double_buffered": True},
    "weight_buffer": {"size": "1 KiB", "bandwidth": "8 words/cycle", "double_buffered": True},
    "partial_sum_buffer": {"size": "1 KiB", "bandwidth": "16 words/cycle", "double_buffered": False},
    "dram": {"bandwidth": "200 MB/s", "keep_feature_maps": True},
}


def _option(name: str) -> str:
    """What an option of simulate may be, up to the first semicolon."""
    return (SimulateOptions.model_fields[name].description or "").partition(";")[0]


def _meaning(key: str) -> str:
    """What a hardware file holds under `key`, up to the first semicolon."""
    return (Hardware.model_fields[key].description or "").partition(";")[0]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a dense model, an arranged one, and hardware for it."""
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "quick.yaml").write_text("steps: 5\nmoves_per_weight: 30\n")
    write_hardware(tmp_path / "small.yaml")
    banks = {**SMALL["activation_buffer"], "banks": 8, "lane_reach": 2}
    write_hardware(tmp_path / "banks.yaml", activation_buffer=banks)
    monkeypatch.chdir(tmp_path)
    flags = ["--array", "8x4", "--fan-in", "3", "--temp-schedule", "quick.yaml", "-q"]
    assert run(["permute", "net.onnx", *flags, "-o", "tight.onnx"]) == 0
    return tmp_path


def write_hardware(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    assert run(["simulate", *arguments]) == 0
    return capsys.readouterr()


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    out, err = printed(capsys, *arguments, "--json")
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence of a command line that ends with 2, prints nothing else and leaves nothing."""
    before = sorted(os.listdir())
    assert run(["simulate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and sorted(os.listdir()) == before
    if err.startswith("Usage: "):
        return err.rstrip("\n").rpartition("Error: ")[2]
    assert err.startswith("tightc: error: ") and err.endswith("\n") and err.count("\n") == 1
    return err.removeprefix("tightc: error: ").rstrip("\n")


# --- --explain

# what names a layer, a model or a setting: no figures
NAMES = {"name", "label", "weight", "operator", "filters", "inputs", "groups", "shares", "method", "vectors"}
SETTINGS = {
    "array", "arrays", "hardware", "dataflow", "prefetch_weights", "replicate_tiles", "columns_per_lane_register",
    "overlap_drain", "accumulator_bypass", "energy_table", "area_table", "hardware_file", "fan_in",
    "energy_file", "weights_from_dram", "decoder",
}  # fmt: skip
AREA = str(tightc.configs() / "area" / "nangate45.yaml")
EVERY_FIGURE = ("tight.onnx", "--hardware", "banks.yaml", "--verify", "--why", "--area", AREA)


def figures_of(report: dict[str, Any]) -> set[str]:
    return {name for row in (report["totals"], *report["layers"]) for name in row} - NAMES - SETTINGS


def measures_of_permute(capsys: pytest.CaptureFixture[str]) -> set[str]:
    flags = ["--array", "8x4", "--temp-schedule", "quick.yaml", "-o", "again.onnx", "--json"]
    assert run(["permute", "net.onnx", *flags]) == 0
    report = json.loads(capsys.readouterr().out)
    return figures_of(report)


def unexplained(figures: set[str], measures: set[str]) -> set[str]:
    explained = {*GLOSSARY, *(f"dense_{name}" for name in GLOSSARY), *measures}
    return figures - explained


def test_every_figure_of_a_report_is_explained_or_a_measure_of_permute(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = figures_of(as_json(capsys, *EVERY_FIGURE))
    assert {
        "roof",
        "time_ms",
        "engine_cycles",
        "dense_stall_cycles",
        "energy_gain_if",
        "tightness",
    } <= figures
    parts = {"energy_parts_pj", "dense_energy_parts_pj", "verified_layers"}  # see the next test
    assert unexplained(figures - parts, measures_of_permute(capsys)) == set()


def test_no_figure_is_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = figures_of(as_json(capsys, *EVERY_FIGURE))
    assert unexplained(figures, measures_of_permute(capsys)) == set()


def test_nothing_is_explained_that_no_report_has(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(GLOSSARY) <= figures_of(as_json(capsys, *EVERY_FIGURE))


def test_every_part_of_the_energy_is_explained() -> None:
    meaning = GLOSSARY["energy_pj"].meaning
    assert all(re.search(rf"\b{part}: ", meaning) for part in PARTS)
    assert re.search(r"\bbank_network, where there are banks: ", meaning)


def test_the_units_are_those_of_the_names() -> None:
    for name, (unit, meaning) in GLOSSARY.items():
        ending = {"_cycles": "cycles", "_bytes": "bytes", "_pj": "pJ", "_ms": "ms"}
        wanted = next((unit for end, unit in ending.items() if name.endswith(end)), None)
        assert wanted in (None, unit), name
        assert meaning and meaning == meaning.strip() and not meaning.endswith(".") and "  " not in meaning


@pytest.mark.parametrize("more", [[], ["-q"], ["nothing.onnx"], ["--json"]])
def test_explain_needs_no_model(place: Path, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    out, err = printed(capsys, "--explain", *more)
    assert err == "" and max(map(len, out.splitlines())) <= 80
    names = [line.partition(" [")[0] for line in out.splitlines() if re.fullmatch(r"\w+( \[\w+\])?", line)]
    assert names == list(GLOSSARY)
    words = " ".join(out.split())
    assert all(meaning in words for _, meaning in GLOSSARY.values())
    assert "\ncycles [cycles]\n" in out and "\nspeedup\n" in out


def test_replicas_of_tiles_are_explained() -> None:
    meaning = GLOSSARY["compute_cycles"].meaning
    assert re.search("replica(s|ted)", meaning)


# --- CSV


def test_csv_has_a_line_for_each_layer(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, "tight.onnx", "--csv", "--verify")
    rows = list(csv.DictReader(io.StringIO(out)))
    layers = as_json(capsys, "tight.onnx", "--verify")["layers"]
    assert err == "" and "\r" not in out
    assert [row["name"] for row in rows] == ["first", "second", "last"]
    for row, layer in zip(rows, layers, strict=True):
        flat = {name: value for name, value in layer.items() if not isinstance(value, dict)}
        parts = {f"{name}.{part}": value for name, inner in layer.items() if isinstance(inner, dict)
                 for part, value in inner.items()}  # fmt: skip
        assert set(row) == {*flat, *parts}
        for name, value in {**flat, **parts}.items():
            assert row[name] == ("" if value is None else str(value))


def test_csv_of_a_dense_model_and_quietly(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, "net.onnx", "--csv")
    assert printed(capsys, "net.onnx", "--csv", "-q") == (out, "")
    head = (
        "name,label,weight,operator,filters,inputs,groups,shares,method,vectors,temporal_tiles,arrays_used,"
    )
    assert out.startswith(head)
    assert len(out.splitlines()) == 4


def test_csv_and_json_are_one_too_many(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "net.onnx", "--csv", "--json") == (
        "--csv and --json: expected one of them, got both; leave one out"
    )


# --- --trace, --layer, --export-scalesim, --export-timeloop, --export-tiles


def test_a_layer_without_a_trace(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "net.onnx", "--layer", "first") == (
        "--layer: expected --trace too, got none; add --trace DIR."
    )


@pytest.mark.parametrize(
    "flags",
    [
        ["--layer", ""],
        ["--trace", ""],
        ["--export-scalesim", ""],
        ["--export-timeloop", ""],
        ["--export-tiles", ""],
    ],
)
def test_empty_names_are_not_passed_over(
    place: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    refused(capsys, "net.onnx", *flags)


def test_usage_is_checked_before_the_model_is_read(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "no.onnx", "--layer", "first").startswith("--layer: expected --trace too")
    assert refused(capsys, "no.onnx", "--csv", "--json").startswith("--csv and --json")


@pytest.mark.parametrize("flag", ["--trace", "--export-scalesim", "--export-timeloop"])
@pytest.mark.parametrize(
    ("folder", "reason"), [("net.onnx", "File exists"), ("net.onnx/in", "Not a directory")]
)
def test_folders_that_cannot_be_made(
    place: Path, capsys: pytest.CaptureFixture[str], flag: str, folder: str, reason: str
) -> None:
    assert refused(capsys, "tight.onnx", flag, folder) == (
        f"{folder}: cannot be made a folder ({reason}); give the path of a folder, or of a new one"
    )


def test_the_export_is_written_and_reported(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, "net.onnx", "--array", "8x4", "--export-scalesim", "a/b")
    written = [line.removeprefix("wrote ") for line in err.splitlines()]
    assert written and all(line.startswith("wrote a/b/") for line in err.splitlines())
    assert sorted(os.listdir("a/b")) == sorted(Path(name).name for name in written)
    assert all(Path(name).stat().st_size for name in written) and "ideal 8x4: " in out
    before = {name: Path(name).read_bytes() for name in written}
    assert printed(capsys, "net.onnx", "--array", "8x4", "--export-scalesim", "a/b", "-q") == ("", "")
    assert {name: Path(name).read_bytes() for name in written} == before


def test_passes_and_tiles_are_written_and_reported(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exports = ["--export-scalesim", "s", "--export-timeloop", "t", "--export-tiles", "tiles.npz"]
    _, err = printed(capsys, "tight.onnx", *exports)
    written = [line.removeprefix("wrote ") for line in err.splitlines()]
    assert {"s/passes.csv", "t/README", "t/first_pass_0.yaml", "tiles.npz"} <= set(written)
    assert sorted(os.listdir("t")) == sorted(Path(name).name for name in written if name.startswith("t/"))


def test_tiles_that_cannot_be_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "tight.onnx", "--export-tiles", "lost/t.npz") == (
        "lost/t.npz: there is no folder lost; make the folder first, or write elsewhere"
    )
    assert "net.onnx: expected a permuted or packed model, got one without tiles" in refused(
        capsys, "net.onnx", "--export-tiles", "t.npz"
    )


def test_json_stays_one_object_next_to_files(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, "tight.onnx", "--json", "--trace", "t", "--export-scalesim", "s")
    assert json.loads(out)["schema"] == "tightc.simulate/2"
    assert all(line.startswith("wrote ") for line in err.splitlines()) and "wrote t/first.csv" in err


# --- --verify


def columns_of(out: str) -> list[str]:
    return re.split(r"  +", out.splitlines()[0].strip())


def test_verify_has_columns_of_its_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, _ = printed(capsys, "tight.onnx")
    verified, _ = printed(capsys, "tight.onnx", "--verify")
    assert columns_of(verified) == [*columns_of(plain), "engine cycles", "value error"]
    assert "verified_layers: 3" in verified and "verified_layers" not in plain
    (error,) = re.findall(r"^value_error: (\S+)$", verified, re.MULTILINE)
    assert re.fullmatch(r"\d\.\de-\d\d", error) and float(error) < 1e-5
    rows = [re.split(r"  +", line.strip()) for line in verified.splitlines()[1:4]]
    at = columns_of(verified).index("cycles")
    assert all(row[-2] == row[at] and re.fullmatch(r"\d\.\de[-+]\d\d", row[-1]) for row in rows)


def test_verify_changes_no_other_figure(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, verified = as_json(capsys, "tight.onnx"), as_json(capsys, "tight.onnx", "--verify")
    assert plain == as_json(capsys, "tight.onnx", "--no-verify")
    for one, other in zip(plain["layers"], verified["layers"], strict=True):
        assert other == {**one, "engine_cycles": one["cycles"], "value_error": other["value_error"]}
    more = {name: verified["totals"][name] for name in ("verified_layers", "value_error")}
    assert verified["totals"] == {**plain["totals"], **more}


def test_verify_tells_its_progress(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = printed(capsys, "tight.onnx", "--verify", "-v")
    assert [line for line in err.splitlines() if "verify" in line]
    assert printed(capsys, "tight.onnx", "--verify", "-q") == ("", "")


# --- the chip


def test_replicated_tiles_and_not(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = {"size": "64 KiB", "bandwidth": "4096 words/cycle", "double_buffered": True}
    buffers = ("weight_buffer", "activation_buffer", "partial_sum_buffer")
    large = {"array": "32x32", **dict.fromkeys(buffers, fast)}
    write_hardware(place / "replicated.yaml", replicate_tiles=True, **large)
    write_hardware(place / "alone.yaml", **large)

    def cycles(*flags: str) -> int:
        return int(as_json(capsys, "net.onnx", *flags)["totals"]["cycles"])

    ideal = ["--array", "32x32"]
    assert cycles(*ideal) == cycles(*ideal, "--no-replicate-tiles") > cycles(*ideal, "--replicate-tiles")
    file, other = ["--hardware", "replicated.yaml"], ["--hardware", "alone.yaml"]
    assert cycles(*file) == cycles(*file, "--replicate-tiles") == cycles(*other, "--replicate-tiles")
    assert cycles(*other) == cycles(*other, "--no-replicate-tiles") == cycles(*file, "--no-replicate-tiles")
    assert cycles(*file) < cycles(*other)


def test_replicated_tiles_are_never_slower(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = {**SMALL["weight_buffer"], "size": "64 KiB"}
    write_hardware(place / "slow.yaml", array="32x32", weight_buffer=weights)
    single, replicated = (
        as_json(capsys, "net.onnx", "--hardware", "slow.yaml", flag)["totals"]["cycles"]
        for flag in ("--no-replicate-tiles", "--replicate-tiles")
    )
    assert replicated <= single


def test_several_arrays_and_loading_ahead(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    totals = [
        as_json(capsys, "tight.onnx", *flags)["totals"]
        for flags in ([], ["--arrays", "2"], ["--prefetch-weights"], ["--no-prefetch-weights"])
    ]
    one, two, ahead, not_ahead = (entry["cycles"] for entry in totals)
    assert two < one and ahead < one and not_ahead == one
    assert [entry["arrays"] for entry in totals] == [1, 2, 1, 1]


def test_how_arrays_work(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--columns-per-lane-register",
        "4",
        "--prefetch-weights",
        "--overlap-drain",
        "--accumulator-bypass",
    ]
    before, after = (as_json(capsys, "tight.onnx", *given)["totals"] for given in ([], [*flags, "--verify"]))
    assert after["cycles"] < before["cycles"] and after["dense_cycles"] < before["dense_cycles"]
    names = ("columns_per_lane_register", "prefetch_weights", "overlap_drain", "accumulator_bypass")
    assert [before[name] for name in names] == [1, False, False, False]
    assert [after[name] for name in names] == [4, True, True, True]


def test_another_array_than_that_arranged_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "tight.onnx", "--array", "4x4") == (
        "--array: expected 8x4, the array that the model was permuted for, got 4x4; use --array 8x4, "
        "or run tightc permute --array 4x4 first"
    )
    assert refused(capsys, "tight.onnx", "--hardware", str(CONFIGS / "hardware" / "tight-32x32.yaml")) == (
        "--hardware tight-32x32: expected 8x4, the array that the model was permuted for, got 32x32; "
        "use --array 8x4, or run tightc permute with this --hardware first"
    )
    assert as_json(capsys, "tight.onnx", "--array", "8x4")["totals"]["array"] == "8x4"


def test_hardware_whose_lanes_carry_less_than_the_tiles(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_hardware(place / "narrow.yaml", name="narrow", fan_in=2)
    assert refused(capsys, "tight.onnx", "--hardware", "narrow.yaml") == (
        "--hardware narrow: expected a fan-in of at least 3, which the model's tiles need, got 2; "
        "run tightc permute with this --hardware first"
    )
    printed(capsys, "net.onnx", "--hardware", "narrow.yaml")
    printed(capsys, "tight.onnx", "--hardware", "small.yaml")


@pytest.mark.parametrize("dataflow", ["os", "is"])
def test_tiles_with_another_dataflow(place: Path, capsys: pytest.CaptureFixture[str], dataflow: str) -> None:
    assert refused(capsys, "tight.onnx", "--dataflow", dataflow) == (
        f"--dataflow: expected ws, since the model's tiles are weight-stationary, got {dataflow}; "
        "use --dataflow ws, or simulate the model from before tightc permute"
    )


def test_stalls_and_the_roof_are_shown_on_hardware(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ideal, real = (printed(capsys, "net.onnx", *flags)[0] for flags in ([], ["--hardware", "small.yaml"]))
    assert {"stalls", "roof"} & set(columns_of(ideal)) == set()
    assert {"stalls", "roof"} <= set(columns_of(real))
    assert real.splitlines()[-1].startswith("small 8x4: ") and ideal.splitlines()[-1].startswith("ideal ")


# --- YAML that is wrong: file, line, key, what is permitted

BUFFER = "  size: 1 KiB\n  bandwidth: 4 words/cycle\n  double_buffered: true\n"
GOOD = (
    "name: h\narray: 8x4\nfan_in: 3\noperands: int8\nclock: 100 MHz\nprefetch_weights: false\n"
    f"activation_buffer:\n{BUFFER}weight_buffer:\n{BUFFER}partial_sum_buffer:\n{BUFFER}"
    "dram:\n  bandwidth: 200 MB/s\n  keep_feature_maps: true\n"
)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("array: 8x4", "array: 8", f"h.yaml:2: array: expected {_meaning('array')}, got 8; "
         "give two integers from 1 to 4096 joined by x"),
        ("fan_in: 3", "fan_in: 0", f"h.yaml:3: fan_in: expected {_meaning('fan_in')}, got 0; "
         "give a number of at least 1"),
        ("fan_in: 3", "fanin: 3", f"h.yaml:3: fanin: expected one of {', '.join(sorted(Hardware.model_fields))}, "
         "got fanin; did you mean fan_in?"),
        ("fan_in: 3\n", "", f"h.yaml:1: fan_in: expected {_meaning('fan_in')}, got nothing; add it"),
        ("operands: int8", "operands: int4", "h.yaml:4: operands: expected 'int8' or 'fp32', got 'int4'; "
         "did you mean int8?"),
        ("prefetch_weights: false", "prefetch_weights: 1", "h.yaml:6: prefetch_weights: "
         "expected true or false, got 1; give true or false"),
        ("  keep_feature_maps: true", "  keep_maps: true", "h.yaml:21: dram.keep_maps: expected one of "
         "bandwidth, keep_feature_maps, got keep_maps; did you mean keep_feature_maps?"),
        ("weight_buffer:\n  size: 1 KiB", "weight_buffer:\n  size: 16 B", "h.yaml:12: weight_buffer.size: expected "
         "room for one tile (8x4 int8 weights), got half of 16 B; give at least 64 B"),
        ("name: h\n", "name: h\nname: g\n", "h.yaml:2: name is given twice; keep one of them"),
        ("name: h", "name: [h", "h.yaml:2: not YAML (expected ',' or ']', but got ':'); mend the line"),
    ],
)  # fmt: skip
def test_wrong_hardware(
    place: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    (place / "h.yaml").write_text(GOOD)
    printed(capsys, "net.onnx", "--hardware", "h.yaml")
    assert GOOD.count(old) == 1
    (place / "h.yaml").write_text(GOOD.replace(old, new))
    assert refused(capsys, "net.onnx", "--hardware", "h.yaml") == words


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("clock: 100 MHz", "clock: 100", "h.yaml:5: clock: expected "),
        ("clock: 100 MHz", "clock: fast", "h.yaml:5: clock: expected "),
        ("clock: 100 MHz", "clock: 0 MHz", "h.yaml:5: clock: expected "),
        (
            "bandwidth: 200 MB/s",
            "bandwidth: 200 MB",
            "h.yaml:20: dram.bandwidth: expected ",
        ),
    ],
)
def test_wrong_units_of_hardware(
    place: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, key: str
) -> None:
    (place / "h.yaml").write_text(GOOD.replace(old, new))
    sentence = refused(capsys, "net.onnx", "--hardware", "h.yaml")
    value = new.partition(": ")[2]
    assert sentence.startswith(key) and re.search(f", got '?{value}'?; give a ", sentence)


def energy_text() -> str:
    return (CONFIGS / "energy" / "horowitz-45nm.yaml").read_text()


def line_of(text: str, start: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if line.startswith(start))


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (lambda text: text.replace("int8_multiply:", "int8_multiplication:"), "int8_multiplication:",
         "int8_multiplication: expected one of "),
        (lambda text: re.sub(r"^name: .*$", "name: ''", text, flags=re.MULTILINE), "name:",
         "name: expected name of the table in reports, got ''"),
        (lambda text: text.replace("sram:", "x: 3\nsram:", 1), "x:", "x: expected one of "),
    ],
)  # fmt: skip
def test_wrong_energy_tables(
    place: Path, capsys: pytest.CaptureFixture[str], change: Any, line: str, words: str
) -> None:
    text = change(energy_text())
    assert text != energy_text()
    (place / "e.yaml").write_text(text)
    sentence = refused(capsys, "net.onnx", "--energy", "e.yaml")
    assert sentence.startswith(f"e.yaml:{line_of(text, line)}: {words}") and "; " in sentence


def test_a_unit_of_energy_that_is_none(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = energy_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("energy:"))
    lines[at] = re.sub("energy: .*", "energy: 3 joule", lines[at])
    (place / "e.yaml").write_text("\n".join(lines))
    sentence = refused(capsys, "net.onnx", "--energy", "e.yaml")
    assert re.match(rf"e\.yaml:{at + 1}: \w+\.energy: expected energy of .*, got '3 joule'; give ", sentence)


@pytest.mark.parametrize("flag", ["--hardware", "--energy"])
def test_files_that_are_no_options(place: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert (
        refused(capsys, "net.onnx", flag, "no.yaml")
        == "no.yaml: no such file; check the path of the YAML file"
    )
    (place / "list.yaml").write_text("- 3\n")
    assert refused(capsys, "net.onnx", flag, "list.yaml").startswith(
        "list.yaml:1: holds no keys; give keys such as "
    )
    assert refused(capsys, "net.onnx", flag, "./net.onnx").startswith("net.onnx: cannot be read as text (")
    (place / "empty.yaml").write_text("")
    assert run(["simulate", "net.onnx", flag, "empty.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 5  # all keys that must be there
    for line in lines:
        assert re.fullmatch(r"tightc: error: empty\.yaml:1: \w+: expected .+, got nothing; add it", line)
    assert "name: expected name of" in lines[0]


def test_another_energy_table_changes_the_energy_and_nothing_else(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = re.sub(r"^name: .*$", "name: mine", energy_text(), flags=re.MULTILINE)
    (place / "e.yaml").write_text(text.replace("0.03 pJ", "3 pJ"))
    one, other = as_json(capsys, "net.onnx"), as_json(capsys, "net.onnx", "--energy", "e.yaml")
    assert (one["totals"]["energy_table"], other["totals"]["energy_table"]) == ("horowitz-45nm", "mine")
    assert other["totals"]["energy_pj"] > one["totals"]["energy_pj"]
    changed = {name for name, value in one["totals"].items() if other["totals"][name] != value}
    assert changed <= {name for name in one["totals"] if "energy" in name}


# --- quiet and exit codes


def test_quiet_says_nothing_but_errors(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--verify", "--trace", "t", "--export-scalesim", "s", "--hardware", "small.yaml", "-q"]
    assert printed(capsys, "tight.onnx", *flags) == ("", "")
    assert refused(capsys, "tight.onnx", "--array", "4x4", "-q").startswith("--array: expected 8x4")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--arrays", "0"], f"--arrays: expected {_option('arrays')}, got 0; give a number of at least 1"),
        (["--arrays", "two"], f"--arrays: expected {_option('arrays')}, got 'two'; give an integer"),
        (["--columns-per-lane-register", "0"], "--columns-per-lane-register: expected "
         f"{_option('columns_per_lane_register')}, got 0; give a number of at least 1"),
        (["--columns-per-lane-register", "4097"], "--columns-per-lane-register: expected "
         f"{_option('columns_per_lane_register')}, got 4097; give a number of at most 4096"),
        (["--overlap-drain"], "--overlap-drain: expected --prefetch-weights beside it, got none; "
         "add --prefetch-weights, or give --no-overlap-drain"),
        (["--dataflow", "rs"], "--dataflow: expected 'ws', 'os' or 'is', got 'rs'; give one of them"),
    ],
)  # fmt: skip
def test_values_that_are_not_permitted(
    place: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    assert refused(capsys, "net.onnx", *flags) == words


def test_why_is_a_sentence_for_each_layer_in_every_form(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = as_json(capsys, "tight.onnx", "--why")["layers"]
    assert all(layer["why"].endswith(".") for layer in layers)
    out, _ = printed(capsys, "tight.onnx", "--why")
    lines = out.splitlines()
    assert [line for line in lines if line.endswith(".")] == [
        f"{layer['label']}: {layer['why']}" for layer in layers
    ]
    out, _ = printed(capsys, "tight.onnx", "--why", "--csv")
    assert [row["why"] for row in csv.DictReader(io.StringIO(out))] == [layer["why"] for layer in layers]
    assert "why" not in as_json(capsys, "tight.onnx")["layers"][0]
