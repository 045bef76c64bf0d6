"""Runs the tests of each mutant in a child of a process that has imported and collected everything."""

from __future__ import annotations

import importlib
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from mutants.coverage_map import CACHE, SOURCE
from mutants.graft import graft
from mutants.operators import Mutant, mutated

_LONGEST = 5.0  # times the undisturbed time that a test may take
_SHORTEST = 10.0  # seconds of processor time that it may take at least
_GRACE = 120.0  # seconds that a child may say nothing, on a machine that is busy with other things, too


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant, and by which test: "killed", "time", "survived", "no test", or "same" as the source."""

    outcome: str
    test: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Trial:
    """A mutant and the tests to run, in this order, with the seconds that each takes undisturbed."""

    mutant: Mutant
    tests: dict[str, float]


class Server:
    """A pytest plugin: instead of running the collected tests, it runs those of each trial in a child."""

    def __init__(self, trials: list[Trial], done: Callable[[Trial, Verdict], None]) -> None:
        self._trials = trials
        self._done = done
        self._sound: dict[str, bool] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Takes the place of the loop over all items."""
        items = {item.nodeid: item for item in session.items}
        folder = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        for trial in self._trials:
            begin = time.perf_counter()
            left = [test for test in trial.tests if test in items and self._sound.get(test, True)]
            while True:
                outcome, test = self._run(session, [items[t] for t in left], trial.tests, trial.mutant)
                if outcome not in ("killed", "time") or test not in items:
                    break
                if self._is_sound(session, items[test], trial.tests[test]):
                    break
                left = left[left.index(test) + 1 :]  # it fails undisturbed, too; those before it have passed
            self._done(trial, Verdict(outcome, test, round(time.perf_counter() - begin, 2)))
            for one in folder.iterdir():
                shutil.rmtree(one, ignore_errors=True)
        return True

    def _is_sound(self, session: pytest.Session, item: pytest.Item, seconds: float) -> bool:
        """Whether a test passes in a child without a mutant."""
        if item.nodeid not in self._sound:
            outcome, _ = self._run(session, [item], {item.nodeid: seconds}, None)
            self._sound[item.nodeid] = outcome == "survived"
        return self._sound[item.nodeid]

    def _run(
        self,
        session: pytest.Session,
        items: list[pytest.Item],
        seconds: dict[str, float],
        mutant: Mutant | None,
    ) -> tuple[str, str]:
        if not items:
            return "no test", ""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                _child(session, items, _Reporter(writing, seconds), mutant)
            finally:
                os._exit(3)
        os.close(writing)
        try:
            return _listen(reading, seconds)
        finally:
            os.close(reading)
            for end in (lambda: os.killpg(child, signal.SIGKILL), lambda: os.kill(child, signal.SIGKILL)):
                with suppress(ProcessLookupError):
                    end()
            os.waitpid(child, 0)


def _listen(reading: int, seconds: dict[str, float]) -> tuple[str, str]:
    """The outcome that a child reports, and the test that it is about."""
    text, test = b"", ""
    while True:
        ready, _, _ = select.select([reading], [], [], _GRACE + 10 * seconds.get(test, 0.0))
        if not ready:
            return "time", test
        part = os.read(reading, 65536)
        if not part and not test:
            raise RuntimeError("the child ended before its first test: this is a fault of the script")
        if not part:
            return "killed", test  # the child ended without a word: it crashed
        text += part
        *lines, text = text.split(b"\n")
        for line in lines:
            word, _, test = line.decode().partition(" ")
            if word != "start":
                return word, test


class _Reporter:
    """The plugin of a child: reports to its parent which test it runs, and ends with the first that fails."""

    def __init__(self, writing: int, seconds: dict[str, float]) -> None:
        self._writing = writing
        self._seconds = seconds
        self._test = ""

    def report(self, word: str, test: str = "") -> None:
        os.write(self._writing, f"{word} {test}\n".encode())

    def end(self, word: str, test: str = "") -> None:
        self.report(word, test)
        os._exit(0)

    def out_of_time(self, _signal: int, _frame: object) -> None:
        self.end("time", self._test)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Limits the time of a test."""
        self._test = item.nodeid
        self.report("start", item.nodeid)
        signal.signal(signal.SIGPROF, self.out_of_time)
        limit = max(_SHORTEST, _LONGEST * self._seconds[item.nodeid])
        signal.setitimer(signal.ITIMER_PROF, limit)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Ends with the first test that fails."""
        if report.failed:
            self.end("killed", report.nodeid)


def _child(
    session: pytest.Session, items: list[pytest.Item], reporter: _Reporter, mutant: Mutant | None
) -> None:
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    plugins = session.config.pluginmanager
    plugins.unregister(name="terminalreporter")
    if mutant is not None and not apply(mutant):
        reporter.end("same")
    plugins.register(reporter)
    session.items = items
    for index, item in enumerate(items):
        following = items[index + 1] if index + 1 < len(items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    reporter.end("survived")


def apply(mutant: Mutant) -> bool:
    """Puts a mutant into this process; False if it changes nothing that can be changed in place."""
    path = SOURCE / mutant.file
    name = "tightc." + mutant.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    module: Any = importlib.import_module(name)
    try:
        return graft(module, mutated(path.read_text(encoding="utf-8"), mutant))
    except Exception:  # noqa: BLE001  the module itself fails: whoever imports it notices
        return False


def serve(trials: list[Trial], done: Callable[[Trial, Verdict], None]) -> None:
    """Runs all trials in one pytest session; `done` gets each as soon as it has ended."""
    files = sorted({test.partition("::")[0] for trial in trials for test in trial.tests})
    temporary = CACHE / f"tmp-{os.getpid()}"
    pytest.main(
        ["-q", "-p", "no:cacheprovider", "--no-header", f"--basetemp={temporary}", *files],
        plugins=[Server(trials, done)],
    )
    shutil.rmtree(temporary, ignore_errors=True)
