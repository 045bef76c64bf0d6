"""Completion in bash, zsh and fish themselves: commands, flags, values, names, and files and folders."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.types import StringParamType

from tightc.cli.main import COMMANDS, run, tightc
from tightc.cli.suggestions import Suggested
from tightc.config.shipped import shipped_names
from tightc.permutation.registry import BUILT_IN

SHELLS = [
    pytest.param(
        name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed here")
    )
    for name in ("bash", "zsh", "fish")
]
HARDWARE = list(shipped_names("hardware"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files to complete, and `tightc` on the path."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "tightc"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tightc "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(programs))
    files = tmp_path / "files"
    files.mkdir()
    for name in ("net.onnx", "my net.onnx", "mine.yaml", "star*.onnx"):
        (files / name).write_text("")
    (files / "images").mkdir()
    monkeypatch.chdir(files)
    return files


def offered(shell: str, *words: str) -> list[str]:
    """What the shell offers for the last of `words`, sorted."""
    return sorted({"bash": bash, "zsh": zsh, "fish": fish}[shell](words))


def script(shell: str) -> str:
    return subprocess.run(["tightc", "completion", shell], check=True, capture_output=True, text=True).stdout


def bash(words: tuple[str, ...]) -> list[str]:
    given = " ".join(f"'{word}'" for word in ("tightc", *words))
    command = (
        f"source /dev/stdin; COMP_WORDS=({given}); COMP_CWORD={len(words)}; "
        "$(complete -p tightc | sed 's/.*-F \\([^ ]*\\) .*/\\1/') tightc; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", command], input=script("bash"), capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def fish(words: tuple[str, ...]) -> list[str]:
    line = " ".join(("tightc", *words)).replace("'", "\\'")
    command = f"source; complete --do-complete '{line}'"
    done = subprocess.run(
        ["fish", "--private", "--no-config", "-c", command],
        input=script("fish"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [line.partition("\t")[0].rstrip("/") for line in done.stdout.splitlines()]


def zsh(words: tuple[str, ...]) -> list[str]:
    """What zsh lists at a terminal, with the line and two tabs typed into it."""
    parent, child = pty.openpty()
    Path("../setup.zsh").write_text(
        "PS1='ready> '; autoload -U compinit; compinit -u -D\nsetopt no_list_packed\nunsetopt beep list_types\n"
        "zstyle ':completion:*' list-prompt ''; LISTMAX=0; COLUMNS=40; LINES=100\n" + script("zsh")
    )
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=child, stdout=child, stderr=child, env={**os.environ, "TERM": "dumb"}
    )
    try:
        typed(parent, "source ../setup.zsh; print load''ed\n", "loaded")
        text = typed(parent, " ".join(("tightc", *words)) + "\t\t", "\n")  # the list begins in a new line
    finally:
        shell.kill()
        shell.wait()
        os.close(parent)
        os.close(child)
    return re.split(r"\s{2,}|\r?\n", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x07|\r", "", text))


def typed(terminal: int, keys: str, until: str) -> str:
    """What the terminal shows after `keys`: up to `until`, and on until it is silent for a second."""
    os.write(terminal, keys.encode())
    text, end = "", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            text += os.read(terminal, 65536).decode(errors="replace")
        elif until in text:
            return text
    raise AssertionError(f"expected {until!r}, got {text!r}")


@pytest.mark.parametrize("shell", SHELLS)
def test_commands(place: Path, shell: str) -> None:
    assert set(COMMANDS) <= set(offered(shell, ""))


@pytest.mark.parametrize("shell", SHELLS)
def test_models_are_files(place: Path, shell: str) -> None:
    found = {name.replace("\\", "") for name in offered(shell, "simulate", "")}
    assert found >= {"net.onnx", "my net.onnx", "mine.yaml", "images", "star*.onnx"}


@pytest.mark.parametrize("shell", SHELLS)
def test_hardware_is_a_name_or_a_file(place: Path, shell: str) -> None:
    assert {*HARDWARE, "mine.yaml"} <= set(offered(shell, "simulate", "net.onnx", "--hardware", ""))


@pytest.mark.parametrize("shell", SHELLS[::2])
def test_what_begins_so(place: Path, shell: str) -> None:
    assert offered(shell, "simulate", "--hardware", "m") == ["mine.yaml", "multiplexed-32x32", "my net.onnx"]
    assert offered(shell, "hardware", "show", "ed") == ["edge-32x32"]
    assert offered(shell, "permute", "--meth") == ["--method"]
    assert offered(shell, "permute", "--method", "") == sorted(BUILT_IN)
    assert offered(shell, "finetune", "--data", "im") == ["images"]
    assert offered(shell, "simulate", "--dataflow", "") == ["is", "os", "ws"]
    assert offered(shell, "completion", "") == ["bash", "fish", "zsh"]
    assert offered(shell, "schema", "rec") == ["recipe"]


def test_bash_divides_a_flag_with_its_value(place: Path) -> None:
    assert offered("bash", "simulate", "--hardware", "=", "ed") == ["edge-32x32"]
    assert offered("bash", "simulate", "--inputs", "=") == offered("bash", "simulate", "")
    assert offered("bash", "compare", "--method", "nm,t") == ["nm,tight"]


@pytest.mark.parametrize("words", [("nothing", ""), ("prune", "--keep", "x", ""), ("prune", "--nothing", "")])
def test_a_line_that_is_wrong_so_far_gets_no_error(place: Path, words: tuple[str, ...]) -> None:
    offered("bash", *words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert run(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert "_tightc_completion" in out and f"{shell}_complete" in out and err == ""


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "csh"]) == 2
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_path_of_every_command_completes_files(name: str) -> None:
    """An option whose help speaks of a file or folder to give needs a metavar that says so."""
    command = tightc.get_command(click.Context(tightc), name)
    assert command is not None
    for param in command.params:
        text = f"{getattr(param, 'help', '') or ''} {param.metavar or ''}"
        is_path = re.search(r"\b[Ff]iles?\b|\b[Ff]older\b|\.npz|FILE|DIR|MODEL|RECIPE", text)
        if is_path and isinstance(param.type, StringParamType):
            assert isinstance(param.type, Suggested), f"{name} {param.name}: {text}"
            kinds = [item.type for item in param.type.shell_complete(click.Context(command), param, "")]
            assert kinds[-1] == "file", f"{name} {param.name}: {text}"


def test_commands_are_completed_without_importing_them() -> None:
    code = (
        "import sys, os; os.environ.update(_TIGHTC_COMPLETE='bash_complete', COMP_WORDS='tightc', COMP_CWORD='1')\n"
        "from tightc.cli.main import run\n"
        "try: run([])\nexcept SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('tightc.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, modules = done.stdout.splitlines()
    assert len(lines) == len(COMMANDS) and "tightc.cli.prune" not in modules.split()
