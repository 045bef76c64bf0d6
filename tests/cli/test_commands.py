"""The commands as people and pipes use them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from helpers import models
from tightc.cli.main import COMMANDS, run, tightc

SCHEMAS = {"simulate": 2, "compare": 2}  # those that are not 1
COMMAND = [sys.executable, "-c", "from tightc.cli.main import main; main()"]
MEASURES = {
    "nonzeros", "density", "matrix_compression_rate", "tightness", "passes", "dense_passes", "pass_compression",
    "passes_lower_bound", "fan_in_max", "lane_inputs", "packed_bits", "bit_compression", "dropped_weights",
    "dropped_magnitude",
}  # fmt: skip
COSTS = {
    "passes", "cycles", "dense_cycles", "speedup", "utilisation", "energy_pj", "dense_energy_pj", "energy_gain",
}  # fmt: skip
QUICK = "steps: 5\nmoves_per_weight: 30\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "quick.yaml").write_text(QUICK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tightly(*arguments: str, **settings: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=120, **settings)


# --- help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(tightc, [name, "--help"])
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    assert f"Example: tightc {name}" in text
    assert f"{COMMANDS[name]} " in text
    command = tightc.get_command(None, name)
    assert command.help.splitlines()[0] == COMMANDS[name]
    assert CliRunner().invoke(tightc, [name, "-h"]).output == result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_of_every_command_has_help(name: str) -> None:
    for parameter in tightc.get_command(None, name).params:
        if parameter.param_type_name == "option":
            assert parameter.help and parameter.help.rstrip().endswith((".", "]")), parameter.name


def test_the_examples_of_the_help_name_real_flags() -> None:
    for name in COMMANDS:
        command = tightc.get_command(None, name)
        known = {flag for parameter in command.params for flag in parameter.opts}
        flags = {word for word in command.epilog.split() if word.startswith("-") and word != "-"}
        assert flags <= known, name


def test_help_lists_the_commands_in_the_order_of_the_chain() -> None:
    output = CliRunner().invoke(tightc, ["--help"]).output
    listed = output.partition("Commands:\n")[2].partition("\n\n")[0]
    lines = [line.split() for line in listed.splitlines()]
    assert [words[0] for words in lines] == list(COMMANDS), "each has one line of 80 columns"
    assert "Example: tightc prune" in output


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"tightc, version {version('tightc')}\n"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom tightc.cli.main import run\ncode = run(['--help'])\n"
        "heavy = {'torch', 'numba', 'onnxruntime', 'onnx', 'numpy', 'PIL', 'rich', 'distributed'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_public_names_are_found_in_the_package() -> None:
    import tightc as package

    for name in set(package.__all__) - {"__version__"}:
        assert callable(getattr(package, name))
    with pytest.raises(AttributeError):
        package.squeeze  # noqa: B018
    script = "import sys, tightc; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


# --- streams


def test_the_pipe_of_the_readme(place: Path) -> None:
    tight = " ".join(f'"{part}"' for part in COMMAND)
    chain = (
        f"{tight} prune net.onnx --sparsity 0.5 | {tight} permute --array 8x8 --temp-schedule quick.yaml | "
        f"{tight} pack | {tight} simulate --array 8x8"
    )
    done = subprocess.run(["sh", "-c", chain], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    out = done.stdout
    assert out.splitlines()[-1].startswith("ideal 8x8: speedup ") and "first" in out
    stages = [line.partition(":")[0] for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert sorted(stages) == ["pack", "permute", "prune"]  # they run side by side and end in any order


def test_the_pipe_and_files_give_the_same_model(place: Path) -> None:
    piped = tightly("permute", "--temp-schedule", "quick.yaml", "-q", input=models.cnn().SerializeToString())
    assert piped.returncode == 0 and piped.stderr == b""
    assert run(["permute", "net.onnx", "--temp-schedule", "quick.yaml", "-q", "-o", "out.onnx"]) == 0
    assert piped.stdout == (place / "out.onnx").read_bytes()


def test_a_dash_means_the_stream(place: Path) -> None:
    done = tightly("prune", "-", "--sparsity", "0.5", "-o", "-", input=models.cnn().SerializeToString())
    assert done.returncode == 0
    onnx.checker.check_model(onnx.load_model_from_string(done.stdout), full_check=True)
    assert sorted(os.listdir()) == ["net.onnx", "quick.yaml"]


def test_a_reader_that_leaves_is_no_error(place: Path) -> None:
    for command in ("prune net.onnx --sparsity 0.5 -q", "simulate net.onnx --json"):
        done = in_bash(f"{command} | true; exit ${{PIPESTATUS[0]}}")
        assert (done.returncode, done.stderr) == (0, b"")


def in_bash(arguments: str) -> subprocess.CompletedProcess[bytes]:
    tight = " ".join(f'"{part}"' for part in COMMAND)
    return subprocess.run(["bash", "-c", f"{tight} {arguments}"], capture_output=True, timeout=60)


def test_the_output_may_be_a_pipe_by_name(place: Path) -> None:
    named = in_bash("prune net.onnx --sparsity 0.5 -q -o /dev/stdout | cat")
    given = in_bash("prune net.onnx --sparsity 0.5 -q -o >(cat > given.onnx); wait $!")
    assert (named.returncode, named.stderr, given.returncode, given.stderr) == (0, b"", 0, b"")
    plain = in_bash("prune net.onnx --sparsity 0.5 -q")
    assert plain.stdout == named.stdout == (place / "given.onnx").read_bytes()
    assert sorted(os.listdir()) == ["given.onnx", "net.onnx", "quick.yaml"]


def test_names_up_to_the_longest_are_written(place: Path) -> None:
    longest = "x" * 245 + "äö.onnx"  # 254 bytes
    for _ in range(2):  # anew, and over a file
        assert run(["prune", "net.onnx", "--sparsity", "0.5", "-q", "-o", longest]) == 0
    assert sorted(os.listdir()) == ["net.onnx", "quick.yaml", longest]
    done = in_bash(f"prune net.onnx --sparsity 0.5 -q -o {'x' * 252}.onnx")
    assert done.returncode == 2 and done.stderr.endswith(
        b"cannot be written (File name too long); give a shorter name\n"
    )


CHAIN = {
    "inspect": ["inspect", "packed.onnx"],
    "prune": ["prune", "net.onnx", "--sparsity", "0.5", "-o", "out.onnx"],
    "permute": ["permute", "net.onnx", "--array", "8x8", "--temp-schedule", "quick.yaml", "-o", "out.onnx"],
    "pack": ["pack", "permuted.onnx", "-o", "out.onnx"],
    "unpack": ["unpack", "packed.onnx", "-o", "out.onnx"],
    "simulate": ["simulate", "packed.onnx"],
}


@pytest.fixture
def chain(place: Path) -> Path:
    """The working folder with every model of the chain in it."""
    quick = ["--array", "8x8", "--temp-schedule", "quick.yaml"]
    assert run(["permute", "net.onnx", *quick, "-q", "-o", "permuted.onnx"]) == 0
    assert run(["pack", "permuted.onnx", "-q", "-o", "packed.onnx"]) == 0
    return place


@pytest.mark.parametrize("stage", CHAIN)
def test_json_has_its_schema_and_the_names_of_the_glossary(
    chain: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    assert run([*CHAIN[stage], "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert found["schema"] == f"tightc.{stage}/{SCHEMAS.get(stage, 1)}"
    assert set(found) == {"schema", "totals", "layers", "uncovered", "notes"}
    assert [row["name"] for row in found["layers"]] == ["first", "second", "last"]
    expected = {
        "inspect": {"nonzeros", "density"},
        "prune": {"nonzeros", "density"},
        "simulate": COSTS,
    }.get(stage, MEASURES)
    assert expected <= set(found["totals"])
    for row in found["layers"]:
        assert expected <= set(row)
    if stage == "simulate":
        assert set(found["totals"]) >= MEASURES


def strict(text: str) -> object:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("stage", ["inspect", "simulate"])
def test_json_stays_json_for_a_network_without_weights(
    place: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    proto = models.build(
        "net (float[1, 4] x) => (float[1, 4] y) { y = MatMul(x, w) }", w=np.zeros((4, 4), np.float32)
    )
    models.save(proto, place / "net.onnx")
    assert run(["permute", "net.onnx", "-q", "-o", "empty.onnx"]) == 0
    assert run([stage, "empty.onnx", "--json"]) == 0
    strict(capsys.readouterr().out)
    assert run([stage, "empty.onnx"]) == 0


@pytest.mark.parametrize("stage", CHAIN)
def test_results_are_on_stdout(chain: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    assert run(CHAIN[stage]) == 0
    out, err = capsys.readouterr()
    assert ("first" in out and "density" in out) or "passes" in out
    assert err == ""


@pytest.mark.parametrize("stage", CHAIN)
def test_quiet_is_silent(chain: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    assert run([*CHAIN[stage], "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run([*CHAIN[stage], "-q", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and json.loads(out)["schema"] == f"tightc.{stage}/{SCHEMAS.get(stage, 1)}"


@pytest.mark.parametrize("stage", ["prune", "permute", "pack", "unpack"])
def test_the_report_is_on_stderr_where_stdout_holds_the_model(chain: Path, stage: str) -> None:
    done = tightly(*CHAIN[stage][:-2])
    onnx.checker.check_model(onnx.load_model_from_string(done.stdout), full_check=True)
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith(f"{stage}: ") and all(line.startswith("note: ") for line in lines[1:])
    silent = tightly(*CHAIN[stage][:-2], "-q")
    assert (silent.stdout, silent.stderr) == (done.stdout, b"")


def test_verbose_tells_progress_on_stderr(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["permute", "net.onnx", "--temp-schedule", "quick.yaml", "-v", "-o", "out.onnx"]) == 0
    out, err = capsys.readouterr()
    assert "cost " in err and "temperature " in err and "moves/s " in err
    assert {line.partition(":")[0] for line in err.splitlines()} == {"first", "second", "last", "permute"}
    assert re.search(r"^permute: 100%  layers 3/3$", err, re.MULTILINE)
    assert "moves/s" not in out


def test_the_seed_decides_the_bytes(place: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        arguments = ["permute", "net.onnx", "--temp-schedule", "quick.yaml", "--fan-in", "2", "-q"]
        assert run([*arguments, "--seed", seed, "-o", f"{name}.onnx"]) == 0
    a, b, c = ((place / f"{name}.onnx").read_bytes() for name in "abc")
    assert a == b != c


def test_an_output_replaces_its_own_input(place: Path) -> None:
    assert run(["prune", "net.onnx", "--sparsity", "0.5", "-q", "-o", "net.onnx"]) == 0
    assert run(["inspect", "net.onnx", "-q"]) == 0
    assert sorted(os.listdir()) == ["net.onnx", "quick.yaml"]


def test_unpack_undoes_pack(chain: Path) -> None:
    assert run([*CHAIN["unpack"], "-q"]) == 0
    feeds = models.feeds(models.cnn())
    one, other = (
        onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        for name in ("net.onnx", "out.onnx")
    )
    assert one.tobytes() == other.tobytes()
