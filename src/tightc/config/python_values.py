"""Values as Python callers give them: paths, mappings, lists and numpy scalars where the shell gives text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from tightc.config.yaml import options_in, read_options

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from tightc.config.options import Options


def from_python(kind: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """The `values` for the options of `kind` in the forms that their strict validation takes."""
    return {
        name: _converted(kind.model_fields[name], value) if name in kind.model_fields else value
        for name, value in values.items()
    }


def _converted(field: FieldInfo, value: Any) -> Any:
    from tightc.config.options import inner_options

    inner = inner_options(field.annotation)
    if inner is not None and isinstance(value, os.PathLike):
        return read_options(Path(value), inner)
    if inner is not None and isinstance(value, str):
        return options_in(value, inner)
    if inner is not None and isinstance(value, Mapping):
        return from_python(inner, value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    if isinstance(value, str) and _is_list_of_texts(field.annotation):
        return (value,)
    return value


def _is_list_of_texts(annotation: Any) -> bool:
    return get_origin(annotation) is tuple and get_args(annotation)[0] is str
