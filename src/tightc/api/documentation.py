"""Signatures and numpydoc docstrings of the public verbs, made from the descriptions of their options."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from tightc.api.arguments import python_errors
from tightc.api.python_types import python_type
from tightc.config.options import Options
from tightc.config.renamed import in_python

Verb = TypeVar("Verb", bound=Callable[..., Any])
_WIDTH = 100
_INDENT = "    "

# the parameters that are not options: type and meaning
COMMON = {
    "model": ("Model", "The model, as `tightc.load` returns it; it is not changed."),
    "models": (
        "Model or sequence of Model",
        "The models, as `tightc.load` returns them; they are not changed.",
    ),
    "sources": (
        "Model, str, PathLike, or sequence",
        "One or two models, as `tightc.load` returns them, or folders that `run_recipe` wrote.",
    ),
    "path": ("str or PathLike", "The file to write; a file that is there is replaced."),
    "images": (
        "NormalizedImages or Samples",
        "Images, or an array for each input, as `tightc.load_images` returns them; or a mapping of input names to "
        "arrays.",
    ),
    "model_path": ("str or PathLike", "The ONNX file of the model."),
    "output": ("str or PathLike, optional", "Folder for all results, default tightc-compress/NAME."),
    "teacher": ("Model, optional", "A model whose outputs are matched too, such as the dense one."),
    "mask": (
        "str, PathLike or mapping of arrays, optional",
        "Arrays of 0 and 1, or bool, in the shape of the weight, by its name, or an NPZ file of such: exactly the "
        "weights under a 0 become zero. In place of a sparsity or budget.",
    ),
    "against": ("Model, optional", "The model to compare with, such as the dense one."),
    "other": ("Model", "The model to compare with."),
    "store": (
        "str or PathLike, optional",
        "SQLite file that keeps the points, made if missing; default: memory, which ends with the call.",
    ),
    "folder": ("str or PathLike", "Folder for the files, made if missing."),
    "stream": (
        "str or PathLike, optional",
        "File of the packed layers as an entropy-coded memory image: `pack` writes it, `unpack` checks that it holds "
        "the same tiles and weights.",
    ),
    "seed": ("int, default 0", "Seed of all randomness, from 0."),
    "progress": (
        "callable, optional",
        "Called as `progress(task, done, figures)`: the name of a task, the fraction done, label to value.",
    ),
}


def public_verb(*kinds: type[Options]) -> Callable[[Verb], Verb]:
    """Documents a verb that takes options of `kinds` as keywords, and gives its errors the words of Python."""

    def decorate(verb: Verb) -> Verb:
        documented: Any = python_errors(verb)
        own = inspect.signature(verb).parameters
        fields = {
            name: field for kind in kinds for name, field in kind.model_fields.items() if name not in own
        }
        documented.__signature__ = _signature(verb, fields)
        documented.__doc__ = _docstring(verb, kinds, fields)
        return documented  # type: ignore[no-any-return]

    return decorate


def document_options(kind: type[Options]) -> None:
    """Adds a section of parameters to the docstring of an options class, once."""
    summary = inspect.cleandoc(kind.__doc__ or "")
    if "Parameters\n----------" not in summary:
        lines = [line for name, field in kind.model_fields.items() for line in _entry(name, field)]
        kind.__doc__ = "\n".join([summary, "", "Parameters", "----------", *lines])


def _signature(verb: Callable[..., Any], fields: dict[str, FieldInfo]) -> inspect.Signature:
    """The verb's own parameters, then a keyword for each option."""
    signature = inspect.signature(verb)
    own = [
        entry.replace(default=_readable(entry.default))
        for entry in signature.parameters.values()
        if entry.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    keywords = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_readable(field.get_default(call_default_factory=True)),
            annotation=python_type(name, field),
        )
        for name, field in fields.items()
    ]
    return signature.replace(parameters=[*own, *keywords])


class _Shown:
    """A default that is shown by its name, not by a long or changing repr."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _readable(default: Any) -> Any:
    """`default`, or something with a short repr for functions and for options within options."""
    if isinstance(default, Options):
        return _Shown(str(getattr(default, "name", None) or f"{type(default).__name__}()"))
    return _Shown(default.__name__) if inspect.isfunction(default) else default


def _docstring(
    verb: Callable[..., Any], kinds: tuple[type[Options], ...], fields: dict[str, FieldInfo]
) -> str:
    """The verb's own docstring with the section of parameters before the section of returns."""
    head, returns, tail = inspect.cleandoc(verb.__doc__ or "").partition("Returns\n-------")
    lines: list[str] = []
    for name, parameter in inspect.signature(verb).parameters.items():
        if name == "options":
            lines += [f"options : {kinds[0].__name__}, optional"]
            lines += _wrapped("All options at once; keywords replace single ones.")
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            kind, meaning = COMMON[name]
            optional = ", optional" if parameter.default is None and "optional" not in kind else ""
            lines += [f"{name} : {kind}{optional}", *_wrapped(meaning)]
    for name, field in fields.items():
        lines += _entry(name, field)
    return "\n".join([head + "Parameters", "----------", *lines, "", returns + tail])


def _entry(name: str, field: FieldInfo) -> Iterator[str]:
    default = (
        "" if field.is_required() else f", default {_shown(field.get_default(call_default_factory=True))}"
    )
    yield f"{name} : {python_type(name, field)}{default}"
    text = in_python((field.description or "").rstrip("."))
    yield from _wrapped(f"{text[:1].upper()}{text[1:]}.")


def _shown(default: Any) -> str:
    if isinstance(default, Options):
        named = getattr(default, "name", None)
        return f"{type(default).__name__} {named}" if named else f"{type(default).__name__}()"
    if isinstance(default, tuple) and hasattr(default, "_fields"):
        return str(default)
    if isinstance(default, tuple):
        return f"({', '.join(map(_shown, default))})"
    return repr(default)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
