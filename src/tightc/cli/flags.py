"""Flags from options: what a stage's Options class says is what its command takes, once for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tightc.config.options import Options, inner_options
from tightc.config.yaml import read_options
from tightc.errors import OptionError

Command = TypeVar("Command", bound=Callable[..., Any])
Chosen = TypeVar("Chosen", bound=Options)


def option_flags(
    options: type[Options], *, spared: bool = False, besides: tuple[str, ...] = ()
) -> Callable[[Command], Command]:
    """A flag for each field of `options`: `--fan-in` for `fan_in`; a field that is itself options takes a YAML file.

    Where they may be `spared`, the command can do without those that the options themselves require. The fields
    `besides` have flags already.
    """

    def decorate(command: Command) -> Command:
        for name, field in reversed(options.model_fields.items()):
            if name not in besides:
                command = _flag(name, field, spared)(command)
        return command

    return decorate


def parsed_options(kind: type[Chosen], given: dict[str, Any]) -> Chosen:
    """The options of `kind` from the flags that were `given`; those left out keep their defaults."""
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        value = given.get(name)
        if value is None or value == ():
            continue
        inner = inner_options(field.annotation)
        if inner:
            value = read_options(value, inner)
        elif _is_list(field) and not _is_of_texts(field):
            value = ",".join(value)  # given once for each or as a list, and read by the options themselves
        values[name] = next((one for one in _choices(field.annotation) if str(one) == value), value)
    return kind.of(values)


def parsed_options_if(
    kind: type[Chosen], given: dict[str, Any], key: str, flag: str | None = None
) -> Chosen | None:
    """The same where `key` was given, by its `flag`, else None; OptionError where others were given without it."""
    if given.get(key) is not None:
        return parsed_options(kind, given)
    for name in kind.model_fields:
        if given.get(name) not in (None, ()):
            needed = flag or key.replace("_", "-")
            raise OptionError(f"--{name.replace('_', '-')}: it needs --{needed}", f"add --{needed}")
    return None


def _flag(name: str, field: FieldInfo, spared: bool) -> Callable[[Command], Command]:
    flag = "--" + name.replace("_", "-")
    text = (field.description or "").rstrip(".")
    text = f"{text[:1].upper()}{text[1:]}."
    if field.is_required() and not spared:
        return click.option(flag, name, required=True, type=_type(field.annotation), help=text)
    shown = _shown(field)
    settings: dict[str, Any] = {"default": None, "help": f"{text}  [default: {shown}]" if shown else text}
    if field.annotation in (bool, bool | None):
        return click.option(f"{flag}/--no-{flag[2:]}", name, **settings)
    if _is_list(field):
        metavar = "NAME" if _is_of_texts(field) else None
        return click.option(flag, name, multiple=True, metavar=metavar, **settings)
    if inner_options(field.annotation):
        return click.option(flag, name, metavar="FILE.yaml", **settings)
    return click.option(flag, name, type=_type(field.annotation), **settings)


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _is_of_texts(field: FieldInfo) -> bool:
    """Whether it is a list of texts, which may hold commas."""
    return get_args(field.annotation)[0] is str


def _type(annotation: Any) -> click.ParamType[Any] | None:
    """The click type of a field; texts and sizes are left to the options themselves."""
    if choices := _choices(annotation):
        return click.Choice([str(choice) for choice in choices])
    parts = _parts(annotation)
    if get_origin(annotation) is tuple or any(isinstance(part, BeforeValidator) for part in parts):
        return click.STRING
    for number, kind in ((int, click.INT), (float, click.FLOAT)):
        if number in parts:
            return kind
    return click.STRING


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a Literal, or of one or nothing; empty for other types."""
    kinds = [part for part in (annotation, *get_args(annotation)) if get_origin(part) is Literal]
    return get_args(kinds[0]) if kinds else ()


def _parts(annotation: Any) -> list[Any]:
    """A type and all types inside it: int, None and int | None for the last."""
    return [annotation, *(inner for part in get_args(annotation) for inner in _parts(part))]


def _shown(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined or default is None or default == () or isinstance(default, Options):
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    if type(default) is tuple:  # not one that has a form of its own, such as 32x32
        return ",".join(f"{value:g}" if isinstance(value, int | float) else str(value) for value in default)
    return str(default)
