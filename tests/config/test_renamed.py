"""Options that were renamed: an old key, flag, keyword or value says the new name."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from pydantic import Field, create_model

import tightc
from tightc.cli.main import COMMANDS, run
from tightc.cli.main import tightc as group
from tightc.config.options import Options
from tightc.config.renamed import RENAMED_KEYS, RENAMED_VALUES, in_python
from tightc.config.yaml import parse_options
from tightc.errors import ConfigError, OptionError

FLAGS = {name: {param.name for param in group.get_command(None, name).params} for name in COMMANDS}  # type: ignore[union-attr,arg-type]


def with_field(name: str, kind: object = int) -> type[Options]:
    """Options with one field of that name."""
    made: type[Options] = create_model(
        "Made", __base__=Options, **{name: (kind, Field(description="a number"))}
    )  # type: ignore[call-overload]
    return made


@pytest.mark.parametrize(("old", "new"), RENAMED_KEYS.items())
def test_an_old_key_names_the_new_one(old: str, new: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_options(f"{old}: 3", "r.yaml", with_field(new))
    assert str(error.value) == f"r.yaml:1: {old}: renamed to {new} in 0.3; write {new}"
    with pytest.raises(OptionError) as wrong:
        with_field(new)(**{old: 3})
    assert str(wrong.value) == f"{old}: renamed to {new} in 0.3; write {new}"


@pytest.mark.parametrize(("old", "new"), RENAMED_KEYS.items())
def test_an_old_flag_names_the_new_one(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [name for name, flags in FLAGS.items() if new in flags and old not in flags]
    if not commands:
        pytest.skip(f"no command has --{new}")
    flag, wanted = (f"--{name.replace('_', '-')}" for name in (old, new))
    for command in commands:
        for given in (flag, f"{flag}=3"):
            assert run([command, "net.onnx", given]) == 2
            err = capsys.readouterr().err
            assert err == f"tightc: error: {flag}: renamed to {wanted} in 0.3; write {wanted}\n"


@pytest.mark.parametrize(
    ("key", "old", "new"), [(key, *pair) for key, pairs in RENAMED_VALUES.items() for pair in pairs.items()]
)
def test_an_old_value_names_the_new_one(key: str, old: str, new: str) -> None:
    from typing import Literal

    kind = with_field(key, Literal[new, "other"])  # type: ignore[valid-type]
    with pytest.raises(ConfigError) as error:
        parse_options(f"{key}: {old}", "r.yaml", kind)
    assert str(error.value) == f"r.yaml:1: {key}: {old} is renamed to {new} in 0.3; write {new}"

    import click

    from tightc.cli.flags import option_flags, parsed_options

    @click.command()
    @option_flags(kind)
    def command(**flags: object) -> None:
        parsed_options(kind, flags)

    result = CliRunner().invoke(command, [f"--{key}", old])
    assert str(result.exception) == f"--{key}: {old} is renamed to {new} in 0.3; write {new}"


def test_an_unknown_flag_is_still_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["permute", "--fan-inn", "3"]) == 2
    assert "No such option '--fan-inn'" in capsys.readouterr().err


def test_messages_for_python_have_no_flags() -> None:
    assert in_python("--fan-in: wrong; add --data PATH or --min-density") == (
        "fan_in: wrong; add images or min_density"
    )
    with pytest.raises(
        OptionError,
        match=r"^budget: expected one target, got a sparsity and a budget; give sparsity or budget$",
    ):
        tightc.PruneOptions(sparsity=0.5, align=(8, 8), budget="speedup=2")
