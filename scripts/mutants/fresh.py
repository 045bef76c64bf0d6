"""Runs the tests of one mutant in a new process, on a copy of the sources: for what cannot be changed in place."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutants.coverage_map import CACHE, ROOT, SOURCE
from mutants.operators import mutated
from mutants.server import Trial, Verdict

_STARTING = 60.0  # seconds to import and to compile


def run_fresh(trial: Trial, jit: bool) -> Verdict:
    """The verdict on a mutant, with Numba's compiler on or off; compiled code is never shared with other mutants."""
    copy = CACHE / "src"
    if not copy.exists():
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    source = (SOURCE / trial.mutant.file).read_text(encoding="utf-8")
    target = copy / "tightc" / trial.mutant.file
    target.write_text(ast.unparse(mutated(source, trial.mutant)), encoding="utf-8")
    try:
        return run_copy(copy, trial.tests, jit)
    finally:
        target.write_text(source, encoding="utf-8")


def run_copy(copy: Path, tests: dict[str, float], jit: bool) -> Verdict:
    """The verdict of `tests` on a changed copy of the sources."""
    if not tests:
        return Verdict("no test")
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{copy}:{ROOT / 'scripts'}:{os.environ.get('PYTHONPATH', '')}",
            "NUMBA_DISABLE_JIT": str(int(not jit)),
            "NUMBA_CACHE_DIR": cache,
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_STARTING + 5 * sum(tests.values()),
            )
        except subprocess.TimeoutExpired:
            return Verdict("time", "", round(time.perf_counter() - begin, 2))
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    outcome = "survived" if done.returncode == 0 else "killed"
    return Verdict(outcome, failed[0] if failed else "", round(time.perf_counter() - begin, 2))
