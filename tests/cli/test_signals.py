"""Which signals end a command, and what a library makes of them at odd moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from tightc.cli import signals
from tightc.cli.signals import odd_errors_as_interrupts, with_ending_signals
from tightc.errors import OutputError

PATIENCE = 60  # seconds for what takes a few
# a command that waits, in a process that may ignore signals as the shell or nohup have set it; run as python -m, where
# Python ends itself by SIGINT once an interrupt has come through exec()
WAITING = """
import signal, sys, time
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), signal.SIG_IGN)
from tightc.cli import main
def wait(*_, **__):
    exec("print('at work', flush=True)\\ntime.sleep(600)")  # as dataclasses and numba call exec()
main.tightc.main = wait
sys.argv[1:] = []
main.main()
"""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restores the handlers: after a command, signals end the process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signals._received.clear()


def ended(*received: signal.Signals, ignored: tuple[str, ...] = ()) -> tuple[int, str]:
    """(exit code, stderr) of the waiting command after these signals."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "waiting.py").write_text(WAITING)
        process = subprocess.Popen([sys.executable, "-m", "waiting", *ignored], cwd=folder, **pipes)
        return _after(process, received)


def _after(process: subprocess.Popen[str], received: Sequence[signal.Signals]) -> tuple[int, str]:
    try:
        assert process.stdout is not None and process.stdout.readline() == "at work\n"
        for number in received:
            process.send_signal(number)
            time.sleep(0.1)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    return process.returncode, err


@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminated")],
)
def test_each_signal_has_its_exit_code(number: signal.Signals, word: str) -> None:
    code, err = ended(number)
    assert (code, err.strip()) == (128 + number, f"tightc: {word}")


def test_signals_that_the_caller_ignores_stay_ignored() -> None:
    code, err = ended(signal.SIGHUP, signal.SIGINT, signal.SIGTERM, ignored=("SIGHUP", "SIGINT"))
    assert (code, err.strip()) == (143, "tightc: terminated")


def test_in_python_no_handler_is_installed() -> None:
    script = (
        "import signal, tightc\nfrom tightc.cli.main import run\nrun(['--version'])\n"
        "print([signal.getsignal(n) is h for n, h in ((signal.SIGTERM, signal.SIG_DFL), "
        "(signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.splitlines()[-1] == "[True, True, True]", done.stderr


def after_signal(error: BaseException) -> Callable[[], int]:
    """A command in which a library turns SIGTERM into `error`."""

    def command() -> int:
        try:
            with odd_errors_as_interrupts():
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                except KeyboardInterrupt:
                    raise error from None
        except KeyboardInterrupt:
            return signals.report_interrupt()
        return 0

    return command


@pytest.mark.parametrize(
    "error", [ImportError("half"), SystemError("null"), OSError(5, "lost"), KeyError("x")]
)
def test_an_error_that_a_signal_caused_is_an_interrupt(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_ending_signals(after_signal(error)) == 143
    assert capsys.readouterr().err == "tightc: terminated\n"


@pytest.mark.parametrize("error", [OutputError("full", "free some"), click.UsageError("wrong")])
def test_a_sentence_of_tightc_stays_one(error: Exception) -> None:
    with pytest.raises(type(error)):
        with_ending_signals(after_signal(error))


def test_without_a_signal_errors_stay_what_they_are() -> None:
    with pytest.raises(ImportError), odd_errors_as_interrupts():
        raise ImportError("half")


def test_an_interrupt_in_a_finalizer_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    class Finalized:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    def command() -> int:
        Finalized()
        time.sleep(PATIENCE)
        return 0

    assert with_ending_signals(command) == 143
    assert capsys.readouterr().err == "tightc: terminated\n"


def test_an_interrupt_in_a_finalizer_is_not_repeated_after_the_command() -> None:
    class Finalized:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    def command() -> int:
        Finalized()
        return 5  # before it is repeated

    assert with_ending_signals(command) == 5
    time.sleep(4 * signals._SOON)  # the signal would end this process


def test_other_ignored_errors_are_reported_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)

    class Finalized:
        def __del__(self) -> None:
            raise ValueError("lost")

    def command() -> int:
        Finalized()
        return 3

    assert with_ending_signals(command) == 3
    assert [one.exc_type for one in reported] == [ValueError]


def test_after_the_command_a_signal_ends_the_process() -> None:
    assert with_ending_signals(lambda: 0) == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
