"""What the design pages claim about imports: three floors, one direction, no cycle, light options."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"
PACKAGE = SOURCES / "tightc"
HEAVY = ("numba", "torch", "onnx", "onnxruntime", "distributed")

PAGE = Path(__file__).parents[1] / "docs" / "design" / "architecture.md"
BASE = {
    "errors",
    "names",
    "config",
    "files",
    "input_file",
    "npz_file",
    "kernel_cache",
    "memory",
    "parallel",
    "progress",
    "deadline",
    "report",
}
WITHIN_BASE = {
    "names": set(),
    "errors": {"names"},
    "config": {"errors", "input_file"},
    "input_file": {"errors", "memory"},
    "memory": {"errors"},
    "report": {"errors", "reporting"},
}

# rooms of large packages, each of which may import those before it; model and permutation have tests of their own
GROUPS = (
    ("simulation", ("engine", "workload", "verify", "simulate", "report")),
    ("finetuning", ("process", "batches", "network", "training", "prepare", "finetune")),
    ("selection", ("top_k", "select", "network")),
)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(file) for file in modules()}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(node: ast.AST, *, deferred: bool) -> Iterator[str]:
    """Modules of tightc imported when the module runs, and in its functions where `deferred` ones count too."""
    for child in ast.iter_child_nodes(node):
        if is_for_types(child) or (
            not deferred and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        ):
            continue
        match child:
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "tightc":
                for alias in names:
                    yield f"{module}.{alias.name}" if f"{module}.{alias.name}" in NAMES else module
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.split(".")[0] == "tightc")
        yield from imports(child, deferred=deferred)


def graph(*, deferred: bool) -> dict[str, set[str]]:
    return {
        name_of(file): set(imports(ast.parse(file.read_text(encoding="utf-8")), deferred=deferred))
        - {name_of(file)}
        for file in modules()
    }


def package(name: str) -> str:
    return [*name.split("."), ""][1]


def table() -> dict[str, set[str]]:
    """package -> packages that it may import besides the base, as the architecture page has it."""
    rows = re.findall(r"^\| `(\w+)` \| ?(.*) ?\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    everything = {name for name, _ in rows}
    found = {}
    for name, text in rows:
        named = set(re.findall(r"`(\w+)`", text))
        found[name] = everything - named if text.startswith("all") else named
    return found


def test_packages_import_what_the_architecture_page_says() -> None:
    may = table()
    assert {package(name) for name in NAMES} - BASE - {"", "__main__", "configs"} == set(may) - BASE
    for module, imported in graph(deferred=True).items():
        own = package(module)
        if own in ("", "__main__"):
            continue
        permitted = WITHIN_BASE.get(own, BASE) if own in BASE else may[own] | BASE
        beyond = {package(other) for other in imported} - permitted - {own, ""}
        assert not beyond, f"{module} imports {', '.join(sorted(beyond))}"


def test_no_module_imports_itself_through_others() -> None:
    edges = graph(deferred=False)
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name in done:
            return
        for other in edges.get(name, ()):
            visit(other, (*path, name))
        done.add(name)

    for name in edges:
        visit(name, ())


@pytest.mark.parametrize(("parent", "groups"), GROUPS)
def test_large_packages_import_in_one_direction(parent: str, groups: tuple[str, ...]) -> None:
    for module, imported in graph(deferred=True).items():
        steps = module.split(".")
        if len(steps) < 3 or steps[1] != parent or steps[2] not in groups:
            continue
        later = groups[groups.index(steps[2]) + 1 :]
        back = [
            other
            for other in imported
            if other.startswith(tuple(f"tightc.{parent}.{room}" for room in later))
        ]
        assert not [other for other in back if other.split(".")[2] in later], f"{module} imports {back}"


def test_kernels_take_arrays_and_scalars_only() -> None:
    kernels = [file for file in modules() if "@njit" in file.read_text(encoding="utf-8")]
    assert len(kernels) > 5
    edges = graph(deferred=True)
    for file in kernels:
        beyond = {package(other) for other in edges[name_of(file)]} & {
            "config",
            "model",
            "data",
            "files",
            "report",
        }
        assert not beyond, f"{name_of(file)} imports {', '.join(sorted(beyond))}"


def test_options_load_no_kernel() -> None:
    found = [name_of(file) for file in modules() if file.stem == "options"]
    assert len(found) > 8
    script = (
        f"import sys, importlib\nfor name in {found!r}: importlib.import_module(name)\nprint(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(HEAVY) & set(loaded)
