"""Closed and full streams, and other names of stdout: the work is done, and the exit code says so."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import models
from tightc.cli import streams
from tightc.cli.main import run
from tightc.model.file import load_model_bytes

PRUNE = "prune net.onnx --sparsity 0.5"
# what a file that is opened next gets as its number, where the caller has closed some streams
NUMBER = """
import os
from tightc.cli.streams import prepare_streams
prepare_streams()
with open("number", "w") as stream:
    stream.write(str(stream.fileno()))
print("lost"), os.write(2, b"lost")
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_bash(arguments: str, script: str = "") -> subprocess.CompletedProcess[bytes]:
    """A command and redirections; the exit code is that of the command, whatever reads from it."""
    program = f"-c '{script}'" if script else "-m tightc"
    command = f'"{sys.executable}" {program} {arguments}; exit ${{PIPESTATUS[0]}}'
    return subprocess.run(["bash", "-c", command], capture_output=True, timeout=120)


@pytest.mark.parametrize(
    "arguments", ["--help", "--version", "inspect net.onnx", "inspect net.onnx --json", PRUNE]
)
def test_a_reader_that_leaves_early_is_no_error(arguments: str) -> None:
    done = in_bash(f"{arguments} -q | true" if arguments == PRUNE else f"{arguments} | true")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("redirection", ["2>&1 | true", "2>/dev/full | cat", "2>&- | cat", "2>&- >&-", ">&-"])
def test_lost_messages_do_not_end_the_work(place: Path, redirection: str) -> None:
    assert in_bash(f"{PRUNE} -v -o out.onnx {redirection}").returncode == 0
    assert run([*PRUNE.split(), "-q", "-o", "undisturbed.onnx"]) == 0
    assert (place / "out.onnx").read_bytes() == (place / "undisturbed.onnx").read_bytes()


def test_a_model_for_a_closed_stdout_is_refused_before_the_work() -> None:
    done = in_bash(f"{PRUNE} >&-")
    assert (done.returncode, done.stderr.decode()) == (
        2,
        "tightc: error: stdout is closed; add -o FILE, or pipe it to a command\n",
    )


def test_a_closed_stdin_is_no_model() -> None:
    done = in_bash("inspect <&-")
    assert done.returncode == 2 and b"Give the path of a MODEL, or pipe one in." in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(place: Path, closed: str) -> None:
    assert in_bash(closed, NUMBER.replace("'", '"')).returncode == 0
    assert int((place / "number").read_text()) > 2


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "pipe"])
def test_a_model_on_stdout_by_another_name_is_alone_there(place: Path, name: str) -> None:
    if name == "pipe":
        os.mkfifo(place / "pipe")
        done = in_bash(f"{PRUNE} -o pipe > pipe & cat pipe; wait $!; true")
    else:
        done = in_bash(f"{PRUNE} -o {name} | cat")
    assert done.returncode == 0 and b"density" in done.stderr
    assert load_model_bytes(done.stdout).proto.graph.node


def test_a_file_on_stdout_by_another_name_keeps_the_report_off(place: Path) -> None:
    done = in_bash(f"{PRUNE} -o /dev/stdout > out.onnx")
    assert done.returncode == 0 and b"density" in done.stderr
    assert load_model_bytes((place / "out.onnx").read_bytes()).proto.graph.node


def test_a_device_that_takes_all_is_an_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*PRUNE.split(), "-o", os.devnull]) == 0
    assert "density" in capsys.readouterr().out


def test_a_name_that_is_too_long_is_refused_before_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*PRUNE.split(), "-o", "x" * 256]) == 2
    assert capsys.readouterr().err == (
        f"tightc: error: {'x' * 256}: cannot be written (File name too long); give a shorter name\n"
    )


def test_a_stream_in_memory_is_left_as_it_is() -> None:
    """A caller may have put one in place of stdout."""
    stream = io.TextIOWrapper(io.BytesIO())
    streams.abandon(stream)
    stream.write("still there")
    stream.flush()
    assert stream.buffer.getvalue() == b"still there"
