"""Runs the tests and measures which lines and branches of tightc they run; below 95 % it fails.

    python scripts/coverage_report.py [--fail-under 95] [PYTEST ARGUMENT ...]

Kernels count with Numba's compiler off, as their tests then run once more. Processes that tests start are not measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "build" / "coverage"


def main() -> None:
    """Runs the tests twice and reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fail-under", default="95", help="percent")
    arguments, chosen = parser.parse_known_args()
    DATA.mkdir(parents=True, exist_ok=True)
    runs = {"compiled": ("0", chosen), "kernels": ("1", [*chosen, "-m", "kernel"])}
    for name, (disabled, options) in runs.items():
        _coverage(
            "run", "--branch", "--source=src/tightc", "-m", "pytest", "-p", "no:cacheprovider", *options,
            environment={"NUMBA_DISABLE_JIT": disabled, "COVERAGE_FILE": str(DATA / f".coverage.{name}")},
        )  # fmt: skip
    file = {"COVERAGE_FILE": str(DATA / ".coverage")}
    _coverage("combine", "--keep", str(DATA), environment=file)
    report = (
        "report",
        "--skip-covered",
        "--show-missing",
        "--sort=cover",
        f"--fail-under={arguments.fail_under}",
    )
    _coverage(*report, environment=file)


def _coverage(*arguments: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coverage", *arguments], cwd=ROOT, env={**os.environ, **environment}
    )
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
