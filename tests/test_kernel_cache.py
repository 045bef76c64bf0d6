"""Compiled kernels on disk: used again, never those of another source, and no reason to fail."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numba.core import config

from helpers import models
from tightc import kernel_cache
from tightc.cli.main import run
from tightc.errors import OutputError

SOURCE = "from tightc.kernel_cache import njit\n\n@njit(nogil=True, cache=True)\ndef add(a, b):\n    return a + {}\n"
IN_MEMORY = "kernels are compiled in memory: "
REMEDY = "; set NUMBA_CACHE_DIR to a folder that can be"

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled without JIT")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for compiled code."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_cache, "_problems", [])
    yield tmp_path / "cache"


def kernel(folder: Path, term: str = "b") -> Any:
    """The kernel of a module that is read again, as another process would."""
    path = folder / "module.py"
    path.write_text(SOURCE.format(term))
    spec = importlib.util.spec_from_file_location("module", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.add


def hits(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


def compiled(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.kernel"))


def test_a_compiled_form_is_found_again_for_its_types_alone(tmp_path: Path, cache: Path) -> None:
    assert (kernel(tmp_path)(1, 2), kernel(tmp_path)(1.5, 2.0)) == (3, 3.5)
    assert len(compiled(cache)) == 2 == len(list(cache.rglob("*.*")))
    again = kernel(tmp_path)
    assert (again(3, 4), again(0.5, 4.0), hits(again)) == (7, 4.5, 2)
    assert kernel_cache.cache_problem() is None


def test_a_form_of_an_older_source_is_neither_used_nor_kept(tmp_path: Path, cache: Path) -> None:
    assert kernel(tmp_path)(1, 2) == 3
    (older,) = compiled(cache)
    newer = kernel(tmp_path, "2 * b")  # on the same line
    assert (newer(1, 2), hits(newer)) == (5, 0)
    (found,) = compiled(cache)
    assert found.name != older.name
    assert hits(kernel(tmp_path)) == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_a_damaged_file_is_compiled_again(tmp_path: Path, cache: Path, damage: str) -> None:
    kernel(tmp_path)(1, 2)
    (path,) = compiled(cache)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"flip": bytes(content), "cut": path.read_bytes()[:-9], "empty": b""}
    if damage == "other":  # as if two keys had the same digest
        kernel(tmp_path)(1.5, 2.0)
        (other,) = set(compiled(cache)) - {path}
        path.write_bytes(other.read_bytes())
    else:
        path.write_bytes(damaged[damage])
    again = kernel(tmp_path)
    assert (again(1, 2), hits(again)) == (3, 0)
    assert hits_after(tmp_path) == 1  # it was written again


def hits_after(folder: Path) -> int:
    function = kernel(folder)
    function(1, 2)
    return hits(function)


def test_without_a_folder_kernels_are_compiled_in_memory(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(kernel_cache.caching._CacheLocator, "ensure_cache_path", refuse)
    assert kernel(tmp_path)(1, 2) == 3
    assert not cache.exists()
    assert kernel_cache.cache_problem() == f"{IN_MEMORY}no folder for compiled code can be written to{REMEDY}"


@pytest.mark.parametrize(
    "fault",
    [OutputError("x: cannot be written (No space left on device)", "free some space"), OSError(28, "full")],
)
def test_a_full_disk_is_no_error(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def full(*_: object) -> None:
        raise fault

    monkeypatch.setattr(kernel_cache, "write_file_atomically", full)
    function = kernel(tmp_path)
    assert (function(1, 2), function(1.5, 2.0)) == (3, 3.5)
    assert compiled(cache) == []
    problem = kernel_cache.cache_problem()
    assert problem is not None and "cannot be written to" in problem and problem.endswith(REMEDY)


def test_without_a_home_no_folder_is_made_in_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(kernel_cache.caching.InTreeCacheLocator, "from_function", lambda *_: None)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without an entry
    assert kernel(tmp_path)(1, 2) == 3
    assert not Path("~").exists()
    assert kernel_cache.cache_problem() is not None


@pytest.mark.parametrize("verbose", [True, False])
def test_the_command_says_so_where_it_is_verbose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    kernel_cache._note("no folder for compiled code can be written to")
    path = models.save(models.cnn(), tmp_path / "net.onnx")
    assert run(["inspect", str(path), *(["-v"] if verbose else [])]) == 0
    note = f"note: {IN_MEMORY}no folder for compiled code can be written to{REMEDY}\n"
    assert capsys.readouterr().err.count(note) == verbose
