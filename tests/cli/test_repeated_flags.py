"""A flag given twice where one value counts is an error, for every option of every command."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tightc.cli.main import COMMANDS, run, tightc

VALUE = "1"


def _commands() -> list[tuple[str, click.Command]]:
    """Every command, those of groups too, by its words."""
    context = click.Context(tightc)
    found: list[tuple[str, click.Command]] = []
    for name in COMMANDS:
        command = tightc.get_command(context, name)  # type: ignore[attr-defined]
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", command.commands[inner]) for inner in command.commands]
        else:
            found.append((name, command))
    return found


OPTIONS = [
    pytest.param(words.split(), option, id=f"{words} {option.opts[-1]}")
    for words, command in _commands()
    for option in command.params
    if isinstance(option, click.Option)
]


def given(option: click.Option, flag: str) -> list[str]:
    return [flag] if option.is_flag else [flag, *[VALUE] * option.nargs]


@pytest.mark.parametrize(("words", "option"), OPTIONS)
def test_once(words: list[str], option: click.Option, capsys: pytest.CaptureFixture[str]) -> None:
    """Also the short name beside the long one, and both of a pair; lists may be repeated."""
    flags = [*option.opts, *option.secondary_opts]
    for first, second in {(flags[-1], flags[-1]), (flags[0], flags[-1])}:
        code = run([*words, *given(option, first), *given(option, second)])
        err = capsys.readouterr().err
        name = "/".join([option.opts[-1], *option.secondary_opts])
        sentence = f"tightc: error: {name}: expected once, got it twice; give it once\n"
        assert (err == sentence) != option.multiple
        assert code == 2 or option.multiple
    if option.name == "junit":
        Path(VALUE).unlink()  # where a verdict goes, an error of the command line does too


def test_help_beside_a_flag_given_twice_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prune", "--seed", "1", "--seed", "2", "-h"]) == 0
    assert capsys.readouterr().out.startswith("Usage: tightc prune")


def test_three_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pack", "-v", "--verbose", "-v"]) == 2
    assert (
        capsys.readouterr().err == "tightc: error: --verbose: expected once, got it 3 times; give it once\n"
    )
