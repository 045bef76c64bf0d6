"""Which tests run which line, and how long each takes: measured once for each test file, and kept.

A file is measured again if it, or a source file that its tests run, has changed since.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mutants.graft import forget_results

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "tightc"
CACHE = ROOT / "build" / "mutation"
_LEFT_OUT = ("test_dask.py",)  # its workers are processes of their own, without the mutant
LIMIT = 10.0  # seconds; a test that takes longer is left out


class OutOfTime(BaseException):
    """A test ran longer than it may; no subclass of Exception, so that no test takes it for a result."""


@dataclass(frozen=True)
class CoverageMap:
    """`seconds` of each test without and `shared` of its fixtures for several tests; the tests that run a line."""

    seconds: dict[str, float]
    shared: dict[str, float]
    lines: dict[str, dict[int, set[str]]]

    def of_lines(self, file: str, first: int, last: int) -> set[str]:
        """The tests that run one of these lines."""
        found = self.lines.get(file, {})
        return {test for line in range(first, last + 1) for test in found.get(line, ())}

    def of_file(self, file: str) -> set[str]:
        """The tests that run any line of a file, but for the lines that run when it is imported."""
        return {test for tests in self.lines.get(file, {}).values() for test in tests}


class Measurement:
    """A pytest plugin that notes the lines, the duration and the outcome of every test."""

    def __init__(self) -> None:
        import coverage  # not needed by those who only read what was measured

        self.seconds: dict[str, float] = {}
        self.left_out: dict[str, str] = {}
        self.shared: dict[str, float] = {}
        self._began = 0.0
        self._fixtures: dict[tuple[str, str], float] = {}  # seconds of each shared fixture, by its file
        self._coverage = coverage.Coverage(data_file=None, config_file=False, source=[str(SOURCE)])

    def pytest_sessionstart(self) -> None:
        """Begins before tightc is imported."""
        self._coverage.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Measures a test, and ends it at the limit."""
        forget_results()  # or only the first test to need a cached one would run its lines
        self._coverage.switch_context(item.nodeid)
        self._began = time.perf_counter()
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            self.seconds[item.nodeid] = time.perf_counter() - self._began
            file, names = item.nodeid.partition("::")[0], getattr(item, "fixturenames", ())
            self.shared[item.nodeid] = sum(self._fixtures.get((file, name), 0.0) for name in names)
            self._coverage.switch_context("")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[Any]:
        """Lines that a shared fixture runs count for every test of its file."""
        if fixturedef.scope == "function":
            return (yield)
        test = request._pyfuncitem.nodeid
        file = test.partition("::")[0]
        self._coverage.switch_context(file)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        begin = time.perf_counter()
        try:
            return (yield)
        finally:
            taken = time.perf_counter() - begin
            self._fixtures[file, fixturedef.argname] = taken
            self._began += taken
            signal.setitimer(signal.ITIMER_REAL, LIMIT)
            self._coverage.switch_context(test)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Leaves out what does not pass."""
        if not report.passed:
            self.left_out[report.nodeid] = report.outcome

    def lines(self) -> dict[str, dict[int, list[str]]]:
        """The contexts of every line that ran."""
        self._coverage.stop()
        data = self._coverage.get_data()
        return {
            Path(file).relative_to(SOURCE).as_posix(): {
                line: [name for name in names if name]
                for line, names in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }


def load_map(folders: list[str], jit: bool, marker: str = "") -> CoverageMap:
    """The map of all test files in `folders`; what is not known yet is measured, in a process of its own."""
    files = sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("test_*.py")
        if path.name not in _LEFT_OUT
    )
    stale = [path for path in files if not _is_fresh(path, jit)]
    if stale:
        path = os.pathsep.join(filter(None, [str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]))
        flags = {"NUMBA_DISABLE_JIT": str(int(not jit)), "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **flags, "PYTHONPATH": path}
        arguments = [str(path.relative_to(ROOT)) for path in stale]
        command = [sys.executable, "-m", "mutants.coverage_map", str(int(jit)), marker, *arguments]
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
    seconds: dict[str, float] = {}
    shared: dict[str, float] = {}
    lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in files:
        record = json.loads(_record(path, jit).read_text(encoding="utf-8"))
        names = list(record["seconds"])
        seconds.update(record["seconds"])
        shared.update(record["shared"])
        for file, found in record["lines"].items():
            for line, numbers in found.items():
                lines[file][int(line)].update(names[number] for number in numbers)
    return CoverageMap(seconds, shared, lines)


def digest(path: Path) -> str:
    """A short digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else ""


def _record(path: Path, jit: bool) -> Path:
    name = path.relative_to(ROOT).as_posix().replace("/", "-")
    return CACHE / ("map-jit" if jit else "map-no-jit") / f"{name}.json"


def _is_fresh(path: Path, jit: bool) -> bool:
    try:
        record = json.loads(_record(path, jit).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return record["digest"] == digest(path) and all(
        was == digest(SOURCE / file) for file, was in record["sources"].items()
    )


def measure(files: list[str], jit: bool, marker: str) -> None:
    """Runs the tests of `files` once and writes a record for each file."""
    measurement = Measurement()
    options = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", *(["-m", marker] if marker else [])]
    pytest.main([*options, *files], plugins=[measurement])
    _write_records(files, jit, measurement)


def _write_records(files: list[str], jit: bool, measured: Measurement) -> None:
    """One record for each test file: its tests, what they take, and the numbers of those that run a line."""
    lines, left_out = measured.lines(), measured.left_out
    for file in files:
        mine = [test for test in measured.seconds if test.partition("::")[0] == file]
        passed = {test: measured.seconds[test] for test in mine if test not in left_out}
        numbers = {test: number for number, test in enumerate(passed)}
        table = {}
        for source, found in lines.items():
            runs = {
                line: sorted({n for name in names for n in _numbers(name, file, numbers)})
                for line, names in found.items()
            }
            table[source] = {line: tests for line, tests in runs.items() if tests}
        target = _record(ROOT / file, jit)
        target.parent.mkdir(parents=True, exist_ok=True)
        touched = {source: digest(SOURCE / source) for source, found in table.items() if found}
        record = {
            "digest": digest(ROOT / file),
            "sources": touched,
            "seconds": passed,
            "shared": {test: measured.shared[test] for test in passed},
            "left_out": {test: left_out[test] for test in mine if test in left_out},
            "lines": table,
        }
        target.write_text(json.dumps(record), encoding="utf-8")


def _numbers(context: str, file: str, numbers: dict[str, int]) -> list[int]:
    """The tests that a context stands for: one, or all of its file."""
    if context == file:
        return list(numbers.values())
    return [numbers[context]] if context in numbers else []


def _out_of_time(_signal: int, _frame: object) -> None:
    raise OutOfTime


if __name__ == "__main__":
    measure(sys.argv[3:], sys.argv[1] == "1", sys.argv[2])
