"""Flags made from options: lists, and switches that may be left open."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from pydantic import Field

from tightc.cli.flags import option_flags, parsed_options
from tightc.config.options import Options
from tightc.data.options import DataOptions
from tightc.permutation.pattern import TWO_OF_FOUR, Pattern


class Some(Options):
    """One option of each form."""

    open_switch: bool | None = Field(None, description="a switch; default: as it comes")
    switch: bool = Field(False, description="a switch")
    texts: tuple[str, ...] = Field((), description="texts")
    patterns: tuple[Pattern, ...] = Field((TWO_OF_FOUR, Pattern(1, 8)), description="patterns")


def given(kind: type[Options], *arguments: str) -> Options:
    found: list[Options] = []

    @click.command()
    @option_flags(kind)
    def command(**flags: object) -> None:
        found.append(parsed_options(kind, flags))

    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0]


@pytest.mark.parametrize(
    ("arguments", "value"), [([], None), (["--open-switch"], True), (["--no-open-switch"], False)]
)
def test_a_switch_may_be_left_open(arguments: list[str], value: bool | None) -> None:
    assert given(Some, *arguments) == Some(open_switch=value)


def test_an_ordinary_switch_has_its_default() -> None:
    assert given(Some, "--switch") == Some(switch=True)
    assert given(Some, "--switch", "--no-switch") == Some()


def test_texts_may_hold_commas() -> None:
    assert given(Some, "--texts", "a,b", "--texts", "c") == Some(texts=("a,b", "c"))


@pytest.mark.parametrize("arguments", [["--mean", "0.5,1,2"], ["--mean", "0.5", "--mean", "1,2"]])
def test_numbers_have_commas_or_flags_of_their_own(arguments: list[str]) -> None:
    assert given(DataOptions, "--data", "images", *arguments) == DataOptions(
        data="images", mean=(0.5, 1.0, 2.0)
    )


def test_the_help_shows_lists_as_they_are_given() -> None:
    @click.command()
    @option_flags(Some)
    def command(**_flags: object) -> None: ...

    output = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "--patterns TEXT Patterns. [default: 2:4,1:8]" in output
    assert "--open-switch / --no-open-switch A switch; default: as it comes." in output
    assert "--texts NAME Texts." in output
