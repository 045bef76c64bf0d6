"""The benchmarks run: a small part of those that take seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "bench.py"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def written() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (ROOT / "docs").rglob("*") if "benchmarks" in str(path)}


def test_quick_prints_tables_with_the_command_that_prints_them_and_writes_nothing() -> None:
    before = written()
    done = bench("--quick", "curve", "layers", "simulation", "loading", "sensitivity")
    assert done.returncode == 0, done.stderr
    for section in ("curve", "layers", "simulation", "loading", "sensitivity"):
        assert f".venv/bin/python scripts/bench.py {section}\n" in done.stdout
    assert "\n| tight  | 30             | " in done.stdout
    assert "\n| 64x147 | " in done.stdout
    assert "\n| idle_pe | " in done.stdout and "\n| pe of fan-in 8, wires | " in done.stdout
    assert "\n| 10x10, 64 to 64 |           | 5,688       | 5,688        |" in done.stdout
    assert written() == before


def test_a_section_that_there_is_not() -> None:
    done = bench("speeds")
    assert done.returncode == 2
    assert "no section 'speeds'; there are resnet20, " in done.stderr
