"""Imports within the model package run one way, and none lead to data or to a stage."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tightc.model

ROOT = Path(tightc.model.__file__).parent
# what each part may import of the others, besides itself
PARTS: dict[str, set[str]] = {
    "onnx_proto": set(),
    "runtime": {"onnx_proto"},
    "file_format": {"onnx_proto"},
    "reading": {"onnx_proto", "runtime"},
    "file": {"onnx_proto", "file_format", "reading"},
    "validity": {"onnx_proto", "runtime", "file_format", "file"},
    "history": {"onnx_proto", "file_format", "file", "validity"},
    "intermediate_values": {"onnx_proto", "runtime", "file"},
    "layer_view": {"onnx_proto", "runtime", "file"},
    "packings": {"onnx_proto", "file_format", "file", "layer_view"},
}
OTHERS = {
    *("config", "errors", "files", "input_file", "memory", "names", "npz_file", "parallel", "report"),
    *("stream", "tile"),
}


def imported(part: str) -> set[tuple[str, ...]]:
    """The modules of tightc that a part imports, as their names below the package."""
    files = (ROOT / part).rglob("*.py") if (ROOT / part).is_dir() else [ROOT / f"{part}.py"]
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {tuple(name.split(".")[1:]) for name in modules if name.split(".")[0] == "tightc"}
    return found


def test_every_part_is_listed() -> None:
    found = {path.stem for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert found - {"__init__", "__pycache__"} == set(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_what_is_below_it(part: str) -> None:
    within = {names[1] for names in imported(part) if names[0] == "model"}
    assert within - {part} <= PARTS[part]
    assert {names[0] for names in imported(part)} - {"model"} <= OTHERS
