"""Runs the tests of one mutant in a new process, on a copy of the sources: for what cannot be changed in place."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from mutants.coverage_map import CACHE, ROOT, SOURCE
from mutants.operators import mutated
from mutants.server import Trial, Verdict

_STARTING = 300.0  # seconds to import and to compile, on a machine that is busy with other things, too
_FAILED = 1  # exit status of pytest where tests fail


def run_fresh(trial: Trial, jit: bool) -> Verdict:
    """The verdict on a mutant, with Numba's compiler on or off; compiled code is never shared with other mutants."""
    source = (SOURCE / trial.mutant.file).read_text(encoding="utf-8")
    changed = ast.unparse(mutated(source, trial.mutant))
    target = _copied_sources() / "tightc" / trial.mutant.file
    begin, tests = time.perf_counter(), dict(trial.tests)
    while True:
        target.write_text(changed, encoding="utf-8")
        try:
            outcome, test = _run(tests, jit)
        finally:
            target.write_text(source, encoding="utf-8")
        if outcome != "killed" or _run({test: tests[test]} if test else tests, jit)[0] == "survived":
            return Verdict(outcome, test, round(time.perf_counter() - begin, 2))
        if not test:
            raise RuntimeError(f"{trial.mutant.name}: its tests cannot be run without it either")
        del tests[test]  # it fails on the sources as they are, too


@cache
def _copied_sources() -> Path:
    """A copy of the sources of today."""
    copy = CACHE / "src"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _run(tests: dict[str, float], jit: bool) -> tuple[str, str]:
    """The outcome of `tests` on the copy, and the test that failed first; no name where none could be run."""
    if not tests:
        return "no test", ""
    with tempfile.TemporaryDirectory() as compiled:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{_copied_sources()}:{ROOT / 'scripts'}:{os.environ.get('PYTHONPATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1",  # a file changed twice in a second would not be read again
            "NUMBA_DISABLE_JIT": str(int(not jit)),
            "NUMBA_CACHE_DIR": compiled,
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
            return "time", ""
    if done.returncode == 0:
        return "survived", ""
    lines = done.stdout.splitlines() if done.returncode == _FAILED else []
    failed = [
        test for test in tests for line in lines if line.startswith((f"FAILED {test}", f"ERROR {test}"))
    ]
    return "killed", max(failed, key=len, default="")
