"""Puts a mutated module into a running process, in which everything is imported already."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from functools import _lru_cache_wrapper
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

_SIMPLE = (int, float, str, bytes, bool, type(None), np.generic)


def graft(module: ModuleType, tree: ast.Module) -> bool:
    """Gives all functions, defaults and constants of `module` those of `tree`; False if none of them differs.

    A function keeps its identity and gets other code, so it does not matter who imported it. A constant is set in every
    module that imported it. Cached results are forgotten.
    """
    file = str(module.__file__)
    fresh = ModuleType(module.__name__)
    fresh.__dict__.update(__file__=file, __package__=module.__package__)
    exec(compile(tree, file, "exec", dont_inherit=True), fresh.__dict__)  # our own source, with one change
    changed = _functions(file, tree)
    changed |= _constants(module, fresh)
    forget_results()
    for name, old in list(vars(module).items()):
        new = vars(fresh).get(name)
        if isinstance(old, FunctionType) and isinstance(new, FunctionType):
            changed |= _defaults(old, new)
        if isinstance(old, type) and isinstance(new, type) and old.__module__ == module.__name__:
            changed |= _class(old, new)
    return changed


def _functions(file: str, tree: ast.Module) -> bool:
    codes: dict[tuple[str, int], list[CodeType]] = {}
    for code in _nested(compile(tree, file, "exec", dont_inherit=True)):
        codes.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
    changed = False
    for function in [one for one in gc.get_objects() if type(one) is FunctionType]:
        old = function.__code__
        if old.co_filename != file:
            continue
        for new in codes.get((old.co_qualname, old.co_firstlineno), []):
            if new != old and len(new.co_freevars) == len(old.co_freevars):
                function.__code__ = new
                changed = True
    return changed


def forget_results() -> None:
    """Empties the caches of all functions of tightc: collecting tests, or an earlier test, may have filled them."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "tightc":
            for value in list(vars(module).values()):
                if type(value) is _lru_cache_wrapper:
                    value.cache_clear()


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _constants(module: ModuleType, fresh: ModuleType) -> bool:
    changed = False
    for name, old in list(vars(module).items()):
        if name.startswith("__") or name not in vars(fresh):
            continue
        new = vars(fresh)[name]
        if not (_simple(old) and _simple(new)) or _same(old, new):
            continue
        changed = True
        for other in list(sys.modules.values()):
            if isinstance(other, ModuleType) and vars(other).get(name) is old:
                setattr(other, name, new)
    return changed


def _simple(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_simple(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_simple, value))
    return isinstance(value, _SIMPLE)


def _same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and repr(old) == repr(new)


def _defaults(old: FunctionType, new: FunctionType) -> bool:
    changed = False
    for name in ("__defaults__", "__kwdefaults__"):
        before, after = getattr(old, name), getattr(new, name)
        if before is not None and after is not None and _simple(before) and repr(before) != repr(after):
            setattr(old, name, after)
            changed = True
    return changed


def _class(old: type, new: type) -> bool:
    """Defaults of methods, of fields and of the `__init__` that a dataclass makes of them."""
    changed = False
    for name, value in list(vars(new).items()):
        before = vars(old).get(name)
        if isinstance(before, FunctionType) and isinstance(value, FunctionType):
            changed |= _defaults(before, value)
        elif not name.startswith("__") and _simple(before) and _simple(value) and not _same(before, value):
            type.__setattr__(old, name, value)
            changed = True
    return changed
