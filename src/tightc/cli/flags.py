"""Flags made from a stage's options, so that shell and YAML take the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tightc.cli.command import StageOption
from tightc.cli.suggestions import Suggested
from tightc.config.options import Options, inner_options
from tightc.config.shipped import shipped_names
from tightc.config.yaml import options_in
from tightc.errors import OptionError

Command = TypeVar("Command", bound=Callable[..., Any])
Chosen = TypeVar("Chosen", bound=Options)

# options that are paths, with the metavar that says so
_PATHS = {
    "checkpoint": "FILE",
    "data": "PATH",
    "compare": "FILE.json",
    "inputs": "FILE.npz",
    "mask": "FILE.npz",
}
_FORMS = {"ArrayShape": "ROWSxCOLUMNS", "Budget": "KIND=FACTOR", "Pattern": "N:M"}


def option_flags(
    options: type[Options], *, optional: bool = False, exclude: tuple[str, ...] = ()
) -> Callable[[Command], Command]:
    """A flag for each field of `options`: `--fan-in` for `fan_in`; a field that is itself options takes a YAML file.

    With `optional` the command works without the flags that the options require. Fields in `exclude` get no flag.
    """
    headings = {name: heading for heading, names in options.groups.items() for name in names}
    order = dict.fromkeys((*headings, *options.model_fields))

    def decorate(command: Command) -> Command:
        for name in reversed(order):
            if name not in exclude:
                field = options.model_fields[name]
                settings = {**_settings(field, optional), **_suggestions(name, field)}
                settings |= {"heading": headings.get(name, ""), "advanced": name in options.advanced}
                command = click.option(*_declarations(name, field), cls=StageOption, **settings)(command)
        return command

    return decorate


def parsed_options(kind: type[Chosen], given: dict[str, Any]) -> Chosen:
    """The options of `kind` from the flags that were `given`; the others keep their defaults."""
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        value = given.get(name)
        if value is None or value == ():
            continue
        inner = inner_options(field.annotation)
        if inner:
            value = options_in(value, inner)
        elif _is_list(field) and not _is_of_texts(field):
            value = ",".join(value)  # the options read several flags as one list
        values[name] = next((one for one in _choices(field.annotation) if str(one) == value), value)
    return kind.of(values)


def parsed_options_if(
    kind: type[Chosen], given: dict[str, Any], key: str, flag: str | None = None
) -> Chosen | None:
    """As `parsed_options` where `key` was given, by `flag`, else None; OptionError where only others were given."""
    if given.get(key) is not None:
        return parsed_options(kind, given)
    for name in kind.model_fields:
        if given.get(name) not in (None, ()):
            needed = flag or key.replace("_", "-")
            raise OptionError(
                f"--{name.replace('_', '-')}: expected --{needed} too, got none", f"add --{needed}"
            )
    return None


def _declarations(name: str, field: FieldInfo) -> tuple[str, str]:
    """The flag, with its negation where it is a switch, and the name of its parameter."""
    flag = "--" + name.replace("_", "-")
    if field.annotation in (bool, bool | None):
        return f"{flag}/--no-{flag[2:]}", name
    return flag, name


def _settings(field: FieldInfo, optional: bool) -> dict[str, Any]:
    """What click needs to know of the flag."""
    text = (field.description or "").rstrip(".")
    text = f"{text[:1].upper()}{text[1:]}."
    if field.is_required() and not optional:
        return {"required": True, "type": _type(field.annotation), "help": text}
    shown = _shown(field)
    settings: dict[str, Any] = {"default": None, "help": f"{text}  [default: {shown}]" if shown else text}
    if field.annotation in (bool, bool | None):
        return settings
    if _is_list(field):
        return {**settings, "multiple": True, "metavar": "NAME" if _is_of_texts(field) else None}
    if inner_options(field.annotation):
        return {**settings, "metavar": "FILE.yaml"}
    return {**settings, "type": _type(field.annotation), "metavar": _metavar(field.annotation)}


def _suggestions(name: str, field: FieldInfo) -> dict[str, Any]:
    """The metavar of a path, or what shells offer for a name; nothing for other options."""
    if name in _PATHS:
        return {"metavar": _PATHS[name]}
    inner = inner_options(field.annotation)
    if inner and inner.shipped:
        return {"metavar": "NAME|FILE.yaml", "type": Suggested(shipped_names(inner.shipped), files=True)}
    names = field.examples or (_choices(field.annotation) if _is_list(field) else ())
    return {"type": Suggested(names, listed=_is_list(field))} if names else {}


def _metavar(annotation: Any) -> str | None:
    """The form of a value that has one; None leaves it to click."""
    names = {getattr(part, "__name__", "") for part in _parts(annotation)}
    return next((form for name, form in _FORMS.items() if name in names), None)


class _Choice(click.Choice[str]):
    """A choice that help and completion show; the options check the value."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value


class _Number(click.ParamType[Any]):
    """A number where the text is one; the options refuse other texts."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind
        self.name = "integer" if kind is int else "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._kind(value)
        except ValueError:
            return value


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _is_of_texts(field: FieldInfo) -> bool:
    """Whether it is a list of texts, which may hold commas."""
    return get_args(field.annotation)[0] is str


def _type(annotation: Any) -> click.ParamType[Any] | None:
    """The click type of a field; texts and sizes are left to the options themselves."""
    parts = _parts(annotation)
    choices = _choices(annotation)
    if choices and int not in parts:  # else a number or a word
        return _Choice([str(choice) for choice in choices])
    if get_origin(annotation) is tuple or any(isinstance(part, BeforeValidator) for part in parts):
        return click.STRING
    for kind in (int, float):
        if kind in parts:
            return _Number(kind)
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
