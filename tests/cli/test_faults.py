"""What is no error of the user ends in one sentence and exit code 70, lack of memory in 2; 1 means a failed check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from helpers import models
from tightc.cli import main
from tightc.cli.main import run
from tightc.errors import VerifyError
from tightc.inspection import inspect as inspection

COMMAND = [sys.executable, "-c", "from tightc.cli.main import main; main()"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIGHTC_DEBUG", raising=False)
    return tmp_path


def ends_with(
    fault: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Exit code and stderr of a command in which `fault` is raised."""

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(inspection, "read_network", fail)
    code = run(["inspect", "net.onnx"])
    out, err = capsys.readouterr()
    assert out == ""
    return code, err


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (KeyError("w"), r"KeyError: 'w'"),
        (ValueError("\x1b[2J" + "a" * 10_000), "ValueError: \\x1b[2Jaaa"),
        (AssertionError(), "AssertionError"),
        (RecursionError("maximum recursion depth exceeded"), "RecursionError: maximum recursion"),
        (TypeError("two\nlines"), "TypeError: two"),
    ],
)
@pytest.mark.usefixtures("place")
def test_a_fault_of_tightc_asks_for_a_report(
    fault: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = ends_with(fault, monkeypatch, capsys)
    assert code == 70
    assert err.startswith("tightc: error: a fault of tightc, in tightc/inspection/inspect.py:")
    assert f"({reason}" in err
    assert err.endswith(
        "; please report it with the command, its input, and the output with TIGHTC_DEBUG=1\n"
    )
    assert err.count("\n") == 1 and err.strip().isprintable()


@pytest.mark.usefixtures("place")
def test_debug_prints_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for value, shown in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("TIGHTC_DEBUG", value)
        code, err = ends_with(KeyError("w"), monkeypatch, capsys)
        assert code == 70
        assert ("Traceback (most recent call last)" in err) is shown
        assert err.splitlines()[-1].startswith("tightc: error: a fault of tightc")


@pytest.mark.usefixtures("place")
def test_lack_of_memory_names_what_was_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty((2**30, 2**20), np.float32)
    for fault, what in (
        (caught.value, "Unable to allocate 4.00 PiB"),
        (MemoryError(), "in tightc/inspection"),
    ):
        code, err = ends_with(fault, monkeypatch, capsys)
        assert code == 2
        assert err.startswith(f"tightc: error: not enough memory ({what}")
        assert err.endswith("; use a smaller model or batch, or a larger machine\n") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (VerifyError("they differ", "report it"), 1),
        (click.ClickException("no"), 2),
        (click.FileError("f"), 2),
    ],
)
@pytest.mark.usefixtures("place")
def test_one_means_a_failed_check_alone(
    fault: Exception, expected: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(fault, monkeypatch, capsys)[0] == expected


def test_a_fault_outside_of_tightc_names_the_last_place() -> None:
    try:
        os.stat("/nowhere")
    except OSError as fault:
        assert main._place(fault).startswith("test_faults.py:")


def test_letters_that_stdout_lacks_are_escaped(place: Path) -> None:
    proto = models.cnn()
    proto.graph.node[0].name = "Schicht-ä"
    models.save(proto, place / "net.onnx")
    done = subprocess.run(
        [*COMMAND, "inspect", "net.onnx"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Schicht-\\xe4" in done.stdout
