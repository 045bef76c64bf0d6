"""Imports within permutation run one way: permute, scheduler, methods, executors, annealing, problem and options."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tightc.permutation

ROOM = Path(tightc.permutation.__file__).parent
PREFIX = "tightc.permutation."
LEAVES = (
    "problem",
    "packing_costs",
    "lane_placement",
    "options",
    "registry",
    "objective",
    "pattern",
    "annealing.temperature_schedule",
)
LAYERS = (
    "permute",
    "network_progress",
    "fan_in_choice",
    "layer_costs",
    "combining_budget",
    "layer_scheduler",
    "methods",
    "ranking",
    "search_context",
    "executors",
    "annealing",
)


def floor(module: str) -> int:
    """0 for permute; the last floor for problem, options and what they are made of."""
    if module in LEAVES:
        return len(LAYERS)
    return LAYERS.index(module.partition(".")[0])


def modules() -> list[str]:
    paths = (path.relative_to(ROOM).with_suffix("") for path in ROOM.rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths if path.name != "__init__")


def imported(module: str) -> set[str]:
    """The modules of permutation that one imports."""
    tree = ast.parse((ROOM / (module.replace(".", "/") + ".py")).read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
            source = str(node.module).removeprefix(PREFIX)
            found |= {
                f"{source}.{name.name}" for name in node.names if (ROOM / source.replace(".", "/")).is_dir()
            }
            found |= set() if (ROOM / source.replace(".", "/")).is_dir() else {source}
    return found


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_no_floor_above_its_own(module: str) -> None:
    above = {other for other in imported(module) if floor(other) < floor(module)}
    assert above == set()
