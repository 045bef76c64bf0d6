"""The types that the public verbs take for an option, as text."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from tightc.config.listed import Listed
from tightc.config.options import Options

_PATH = ["str", "PathLike[str]"]
_READERS = (BeforeValidator, Listed)  # of values that are given in another form
_PATH_OPTIONS = {"checkpoint", "inputs", "mask"}


def python_type(name: str, field: FieldInfo) -> str:
    """What a Python caller may give for the option of that name."""
    found = _alternatives(field.annotation)
    is_list = get_origin(field.annotation) is tuple
    if is_list and any(isinstance(part, _READERS) for part in field.metadata):
        found += [*_alternatives(get_args(field.annotation)[0]), "str"]  # one item, or text such as 4,8,16
    if name in _PATH_OPTIONS:
        found = [*_PATH, *found]
    return " | ".join(sorted(dict.fromkeys(found), key=lambda kind: kind == "None"))


def _alternatives(annotation: Any) -> list[str]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        is_read = any(isinstance(part, _READERS) for part in inner[1:])  # from text, such as 30s
        return _alternatives(inner[0]) + (["str"] if is_read else [])
    if origin in (Union, UnionType):
        return [name for part in inner for name in _alternatives(part)]
    if origin is Literal:
        return [f"Literal[{', '.join(map(repr, inner))}]"]
    if origin is tuple:
        return [f"Sequence[{' | '.join(_alternatives(inner[0]))}]"]
    if annotation is NoneType:
        return ["None"]
    if issubclass(annotation, Options):
        return [annotation.__name__, "Mapping[str, Any]", *_PATH]
    if issubclass(annotation, tuple):
        items = (_item(kind) for kind in annotation.__annotations__.values())
        return [annotation.__name__, f"tuple[{', '.join(items)}]", "str"]
    return [str(annotation.__name__)]


def _item(kind: Any) -> str:
    """The type of an item of a named tuple; its annotation may be text."""
    text = (
        kind if isinstance(kind, str) else getattr(kind, "__forward_arg__", getattr(kind, "__name__", "str"))
    )
    return text if text in ("int", "float") else "str"
