"""Help: groups of options, rare options in --help-all, and no heavy import."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from pydantic import Field

from tightc.cli.command import StageCommand
from tightc.cli.common import display_flags
from tightc.cli.flags import option_flags
from tightc.cli.main import COMMANDS, tightc
from tightc.config.options import Options

HEAVY = ("numba", "torch", "onnx", "onnxruntime")
HELP = """
import contextlib, io, sys
from tightc.cli.main import run
with contextlib.redirect_stdout(io.StringIO()):
    run([{name!r}, "-h"])
"""


class Grouped(Options):
    """Options in two groups, one of them rare."""

    rare: int = Field(1, description="a rare number")
    second: int = Field(2, description="the second number")
    first: int = Field(1, description="the first number")
    alone: int = Field(0, description="a number in no group")

    groups = {"Numbers": ("first", "second"), "Others": ("rare",)}  # noqa: RUF012
    advanced = frozenset({"rare"})


@click.command(cls=StageCommand, epilog="Example: made --first 1")
@option_flags(Grouped)
@display_flags
def made(**_flags: object) -> None:
    """Does nothing."""


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(made, arguments)
    assert result.exit_code == 0
    return result.output


def test_options_stand_under_their_headings_in_the_order_of_the_group() -> None:
    lines = [line.split()[0] for line in shown("--help").splitlines() if line.strip()]
    assert (
        lines.index("Numbers:") < lines.index("--first") < lines.index("--second") < lines.index("General:")
    )
    assert lines.index("Options:") < lines.index("--alone") < lines.index("General:") < lines.index("--json")


def test_rare_options_are_in_help_all_only() -> None:
    short, full = shown("--help"), shown("--help-all")
    assert "--rare" not in short and short.endswith("Rare options: --help-all\n")
    assert "Others:\n  --rare INTEGER  A rare number.  [default: 1]" in full and "Rare options" not in full
    assert "--help-all" in short


def test_a_command_without_rare_options_says_nothing_of_them() -> None:
    output = CliRunner().invoke(tightc, ["unpack", "--help"]).output
    assert "help-all" not in output
    assert CliRunner().invoke(tightc, ["unpack", "--help-all"]).output == output


@pytest.mark.parametrize("name", COMMANDS)
def test_help_all_shows_every_flag(name: str) -> None:
    output = CliRunner().invoke(tightc, [name, "--help-all"], terminal_width=200).output
    command = tightc.get_command(click.Context(tightc), name)
    assert command is not None
    for param in command.params:
        assert isinstance(param, click.Argument) or param.opts[-1] in output


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loads_no_kernel(name: str) -> None:
    script = HELP.format(name=name) + f"print(*set({HEAVY!r}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def _kinds(base: type[Options]) -> list[type[Options]]:
    return [kind for inner in base.__subclasses__() for kind in (inner, *_kinds(inner))]


def test_groups_and_rare_options_name_fields() -> None:
    for name in COMMANDS:
        tightc.get_command(click.Context(tightc), name)
    for kind in _kinds(Options):
        if kind.__module__.startswith("tightc."):
            grouped = [name for names in kind.groups.values() for name in names]
            assert set(grouped) | kind.advanced <= set(kind.model_fields), kind
            assert len(set(grouped)) == len(grouped), kind
