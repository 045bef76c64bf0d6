"""Compiled kernels, kept on disk where that is possible and compiled in memory where it is not.

Numba's own cache raises where no folder can be written to, or its disk is full. It also numbers its files: after a kill
between two of its writes, an index can refer to code of an older source. Here a file is named after the source and the
types that it was compiled for, is written atomically, and begins with a digest of its content.
"""

from __future__ import annotations

import pickle  # noqa: TID251 - of what this module wrote itself, as in the cache of numba
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numba

from tightc.errors import OutputError
from tightc.files import write_file_atomically

caching: Any = import_module("numba.core.caching")  # it has no types
config: Any = import_module("numba.core.config")
serialize: Any = import_module("numba.core.serialize")

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_DIGEST = sha256().digest_size
_DIGITS = 16

_problems: list[str] = []


def njit(*, cache: bool, **options: Any) -> Callable[[Kernel], Kernel]:
    """As numba.njit with these `options`; with `cache`, compiled code is kept on disk where that is possible."""

    def decorate(function: Kernel) -> Kernel:
        kernel: Any = numba.njit(**options)(function)
        if cache and not config.DISABLE_JIT:
            try:
                kernel._cache = _KernelCache(function)
            except (RuntimeError, OSError):
                _note("no folder for compiled code can be written to")
        return kernel  # type: ignore[no-any-return]

    return decorate


def cache_problem() -> str | None:
    """Why compiled kernels are not kept, with the remedy; None where they are."""
    if not _problems:
        return None
    return f"kernels are compiled in memory: {_problems[0]}; set NUMBA_CACHE_DIR to a folder that can be"


def _note(problem: str) -> None:
    if problem not in _problems:
        _problems.append(problem)


class _UserWideLocator(caching.UserWideCacheLocator):  # type: ignore[misc]
    """The cache folder of the user, where there is one: without a home, numba would make a folder named ~."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        if not Path(cls(py_func, py_file).get_cache_path()).is_absolute():
            return None
        return super().from_function(py_func, py_file)


class _Implementation(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [caching.UserProvidedCacheLocator, caching.InTreeCacheLocator, _UserWideLocator]  # noqa: RUF012


class _KernelCache(caching.FunctionCache):  # type: ignore[misc]
    """The compiled forms of one kernel; RuntimeError where there is no folder for them."""

    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        module = Path(function.__code__.co_filename).stem
        self._cache_file = _Files(
            Path(self.cache_path),
            f"{module}.{function.__qualname__}",
            sha256(repr((numba.__version__, self._impl.locator.get_source_stamp())).encode()).hexdigest(),
        )

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code; where that fails, this process keeps no more of it."""
        try:
            super().save_overload(sig, data)
        except (OSError, OutputError) as fault:
            self.disable()
            _note(f"{self.cache_path} cannot be written to ({getattr(fault, 'strerror', None) or fault})")


class _Files:
    """The files of one kernel in `folder`: each is named after the `source` and a key, and holds the key too."""

    def __init__(self, folder: Path, name: str, source: str) -> None:
        self._folder, self._name, self._source = folder, name, source[:_DIGITS]

    def _path(self, key: Any) -> Path:
        digits = sha256(repr(key).encode()).hexdigest()[:_DIGITS]
        return self._folder / f"{self._name}.{self._source}.{digits}.kernel"

    def load(self, key: Any) -> Any:
        """What was saved under `key`; None where there is nothing, or where the file is broken."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        if sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            return None
        saved_key, data = pickle.loads(content[_DIGEST:])  # noqa: S301
        return data if saved_key == key else None

    def save(self, key: Any, data: Any) -> None:
        """Write `data`, and remove what was compiled from an older source; OutputError where it cannot be written."""
        content = serialize.dumps((key, data))
        path = self._path(key)
        write_file_atomically(path, sha256(content).digest() + content)
        for older in self._folder.glob(f"{self._name}.*.kernel"):
            if not older.name.startswith(f"{self._name}.{self._source}."):
                with suppress(OSError):
                    older.unlink()
