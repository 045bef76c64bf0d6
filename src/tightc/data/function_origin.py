"""Where a function that is to return data comes from: a recipe may name any, also one that removes files."""

from __future__ import annotations

import functools
import inspect
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tightc.errors import DataError

_INSTALLED = frozenset(("site-packages", "dist-packages"))


def check_importable(source: str, file: Path | None) -> None:
    """DataError where `source`, package.module:function, names a module of Python's standard library, in `file`."""
    if _is_standard(source.partition(":")[0], file):
        raise _of_standard_library(source)


def check_callable(
    source: str, function: Callable[..., Any], file: Path | None, *, with_argument: bool
) -> None:
    """DataError where `function` was not written to return data, so that calling it may do anything.

    That is one of Python's standard library, and one of an installed package that would be called `with_argument`, the
    split, and has no parameter named split. `file` is that of the module that `source` names.
    """
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None) or ""
    own = getattr(sys.modules.get(module), "__file__", None)
    if _is_standard(module, Path(own) if own else None):
        raise _of_standard_library(source)
    installed = file is not None and not _INSTALLED.isdisjoint(file.parts)
    if installed and with_argument and "split" not in inspect.signature(function).parameters:
        raise DataError(
            f"{source}: expected a function with a parameter named split, got one of an installed package without it",
            "name a function of your own that calls it",
        )


def _is_standard(module: str, file: Path | None) -> bool:
    """Whether `module` is of the standard library; a user's file of the same name is not."""
    if module.partition(".")[0] not in sys.stdlib_module_names:
        return False
    folders = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    return file is None or not folders.isdisjoint(file.parents)


def _of_standard_library(source: str) -> DataError:
    return DataError(
        f"{source}: expected a function that returns data, got one of Python's standard library",
        "name a function of your own",
    )
