"""`tightc compare` as a command: its table, JSON, CSV, progress and errors."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import models
from tightc.cli.main import run

COMMAND = [sys.executable, "-c", "from tightc.cli.main import main; main()"]
ROOT = Path(__file__).parents[2]
QUICK = ["--temp-schedule", "quick.yaml", "--array", "8x4"]
VARIANTS = [
    "dense", "structured", "column-combine 0", "column-combine 0.5", "column-combine 1.75", "nm 2:4",
    "tight, fan-in 8",
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    models.save(models.gemm(), tmp_path / "other.onnx")
    (tmp_path / "quick.yaml").write_text("steps: 5\nmoves_per_weight: 30\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["compare", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_the_table_has_a_row_for_each_variant(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *lines = printed(capsys, "net.onnx", *QUICK).splitlines()
    assert cells(header) == [
        "variant", "passes", "cycles", "speedup", "vs combining", "energy", "energy gain", "energy vs gated",
        "energy vs combining",
        "compression", "dropped", "bits", "fan-in",
    ]  # fmt: skip
    rows = [cells(line) for line in lines[: len(VARIANTS)]]
    assert [row[0] for row in rows] == VARIANTS
    assert all(len(row) == len(cells(header)) for row in rows)
    assert rows[0][3] == "1.00x" and rows[2][4] == rows[2][8] == "1.00x"
    assert "array: 8x4" in lines and "hardware: ideal" in lines and "seed: 0" in lines
    assert any(line.startswith("note: energy is a model, not measured: ") for line in lines)


def test_the_model_is_a_column_where_there_are_several(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *lines = printed(
        capsys, "net.onnx", "other.onnx", *QUICK, "--method", "dense,structured"
    ).splitlines()
    assert cells(header)[:2] == ["model", "variant"] and "vs combining" not in header
    assert [cells(line)[:2] for line in lines[:4]] == [
        ["net", "dense"], ["net", "structured"], ["other", "dense"], ["other", "structured"],
    ]  # fmt: skip


def test_stalls_are_a_column_where_there_are_any(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "net (float[1, 400] x) => (float[1, 64] y) { y = MatMul(x, w) }"
    models.save(models.build(text, w=models.sparse(400, 64)), place / "wide.onnx")
    hardware = str(ROOT / "configs" / "hardware" / "tight-32x32.yaml")
    out = printed(capsys, "wide.onnx", "--hardware", hardware, "--method", "column-combine", "--gamma", "0")
    assert cells(out.splitlines()[0])[3] == "stalls" and "hardware: tight-32x32" in out
    assert int(cells(out.splitlines()[1])[3].replace(",", "")) > 0


def test_a_row_without_figures_has_dashes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hardware = str(ROOT / "configs" / "hardware" / "edge-32x32.yaml")
    out = printed(capsys, "net.onnx", "--hardware", hardware, "--method", "nm")
    assert set(cells(out.splitlines()[1])) == {"nm 2:4", "-"}
    assert "note: nm 2:4 has no figures: it needs a fan-in of 4, a lane of edge-32x32 carries 1" in out


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("names", [["net.onnx"], ["net.onnx", "other.onnx"]])
def test_the_table_fits_the_width(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    names: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = printed(capsys, *names, *QUICK)
    lines = out.splitlines()
    first = next(number for number, line in enumerate(lines) if VARIANTS[0] in line)
    rows = lines[first : first + len(VARIANTS) * len(names)]
    assert all(len(line) <= width and "…" not in line for line in lines)
    assert [any(name in row for name in VARIANTS) for row in rows] == [True] * len(rows)
    heads = set(" ".join(lines[:first]).split())
    assert {"variant", "passes", "cycles", "speedup"} <= heads
    assert "compression" in heads or {"compres-", "sion"} <= heads
    assert ("no room for " in out) == (width < 200)


def test_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "net.onnx", *QUICK, "--json", "--seed", "3"))
    assert set(found) == {"schema", "totals", "layers", "uncovered", "notes"}
    assert found["schema"] == "tightc.compare/2" and found["totals"]["seed"] == 3
    assert [row["variant"] for row in found["layers"]] == VARIANTS
    assert {
        "model", "method", "fan_in", "passes", "cycles", "stall_cycles", "speedup", "over_column_combine", "energy_pj",
        "energy_gain", "energy_gain_over_column_combine", "matrix_compression_rate", "tightness", "dropped_weights",
        "dropped_magnitude", "packed_bits", "bit_compression", "fan_in_max",
    } <= set(found["layers"][0])  # fmt: skip


def test_csv_holds_the_figures_of_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["net.onnx", "other.onnx", *QUICK, "--fan-in", "2,3", "--method", "dense,tight"]
    rows = json.loads(printed(capsys, *arguments, "--json"))["layers"]
    for quiet in ([], ["-q"]):
        lines = list(csv.DictReader(io.StringIO(printed(capsys, *arguments, "--csv", *quiet))))
        assert len(lines) == len(rows) == 6
        for line, row in zip(lines, rows, strict=True):
            assert line == {name: "" if value is None else str(value) for name, value in row.items()}


def test_a_model_from_a_pipe(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = printed(capsys, "net.onnx", *QUICK, "--csv").replace("\nnet,", "\n<stdin>,")
    for source in ([], ["-"]):
        done = subprocess.run(
            [*COMMAND, "compare", *source, *QUICK, "--csv"],
            input=models.cnn().SerializeToString(),
            capture_output=True,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode() == named


def test_lists_may_be_given_once_for_each(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = [
        "--method",
        "tight",
        "--method",
        "column-combine",
        "--fan-in",
        "2",
        "--fan-in",
        "3",
        "--gamma",
        "0.5",
    ]
    other = ["--method", "tight,column-combine", "--fan-in", "2,3", "--gamma", "0.5"]
    assert printed(capsys, "net.onnx", *QUICK, *one) == printed(capsys, "net.onnx", *QUICK, *other)


def test_quiet_and_verbose(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "net.onnx", *QUICK, "-q") == ""
    assert run(["compare", "net.onnx", *QUICK, "-v"]) == 0
    out, err = capsys.readouterr()
    tasks = [line.partition(": ")[0] for line in err.splitlines()]
    assert list(dict.fromkeys(tasks)) == VARIANTS
    assert "tight, fan-in 8: 100%  cycles " in err and out.startswith("variant ")


def test_the_models_stay_as_they_are(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in place.iterdir()}
    printed(capsys, "net.onnx", "other.onnx", *QUICK)
    assert {path: path.read_bytes() for path in place.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--csv", "--json"], "--csv and --json: expected one of them, got both; leave one out"),
        (["--method", "magic"], "--method: expected one of tight, first-fit, column-combine, nm, row-nm, "
         "series-nm, displace, vusa, whole-filters, structured, dense, "
         "got 'magic'; choose one of these, or install the package that adds it"),
        (["--fan-in", "2.5"], "--fan-in: expected inputs per lane, for tight and first-fit: 1 to 32767, such as "
         "4,8,16, got '2.5'; give integers separated by commas"),
        (["--fan-in", "4,16", "--hardware", "HARDWARE"], "--fan-in: expected at most 8, the fan-in of "
         "multiplexed-32x32, got 16; lower it to 8 or leave it out"),
        (["none.onnx"], "none.onnx: no such file; check the path of the model"),
    ],
)  # fmt: skip
def test_errors(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    hardware = str(ROOT / "configs" / "hardware" / "multiplexed-32x32.yaml")
    given = [hardware if argument == "HARDWARE" else argument for argument in arguments]
    assert run(["compare", "net.onnx", *given]) == 2
    assert capsys.readouterr() == ("", f"tightc: error: {sentence}\n")
