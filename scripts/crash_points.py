"""Ends a forked process by a signal at a step of writing a file; the tests and scripts/stress.py share it."""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STEPS: tuple[tuple[Any, str], ...] = (
    (os, "fsync"),
    (os, "link"),
    (os, "replace"),
    (os, "unlink"),
    (builtins, "open"),
)

Work = Callable[[], int]
Files = dict[str, bytes]


@dataclass(frozen=True)
class Ending:
    """The signal `number` at the step `step`, counted from 1, and whether the step is done first."""

    step: int
    number: int
    after: bool


def steps_of(work: Work, folder: Path) -> list[str]:
    """The names of the steps that `work` takes in `folder`, where it runs in a forked process; it has to succeed."""
    log = folder.parent / f"{folder.name}.steps"
    pid = os.fork()
    if not pid:
        _run(work, folder, None, log)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    steps = log.read_text(encoding="utf-8").split()
    log.unlink()
    if code:
        raise RuntimeError(f"expected exit code 0 of the undisturbed work, got {code}")
    return steps


def end_at(work: Work, folder: Path, ending: Ending | None) -> int:
    """The exit code of `work` in a forked process in `folder`, negative where a signal ended the process."""
    pid = os.fork()
    if not pid:
        _run(work, folder, ending, None)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def files_in(folder: Path) -> Files:
    """The content of every file in `folder` by name, of a record without the order of its keys."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def torn(found: Files, given: Files, wanted: Files) -> list[str]:
    """The visible files that are neither as `given` nor as `wanted`; a record may still lack its measures."""
    return [
        name
        for name, content in found.items()
        if not Path(name).name.startswith(".")
        and content not in (given.get(name), wanted.get(name))
        and not (name.endswith(".json") and name in wanted and _is_part(content, wanted[name]))
    ]


def _is_part(content: bytes, whole: bytes) -> bool:
    """Whether every entry of the record `content` is in the record `whole`."""
    try:
        part, complete = json.loads(content), json.loads(whole)
    except ValueError:
        return False
    return bool(part) and all(complete.get(key) == value for key, value in part.items())


def _run(work: Work, folder: Path, ending: Ending | None, log: Path | None) -> None:
    """Runs `work` and ends this process, which was forked."""
    code = 99
    try:
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        with open(log or os.devnull, "w", encoding="utf-8") as names:
            _arm(folder, ending, names)
            code = work()
    finally:
        os._exit(code)


def _arm(folder: Path, ending: Ending | None, log: Any) -> None:
    """Makes every step in `folder` log its name, and that of `ending` send the signal."""
    count = 0

    def wrap(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def step(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            if name == "open" and not (len(arguments) > 1 and "x" in str(arguments[1])):
                return real(*arguments, **more)
            if name in ("unlink", "replace", "link") and _elsewhere(arguments[0], folder):
                return real(*arguments, **more)
            count += 1
            here = ending is not None and count == ending.step
            if ending is None:
                log.write(f"{name}\n")
                log.flush()
            elif here and not ending.after:
                os.kill(os.getpid(), ending.number)
            try:
                return real(*arguments, **more)
            finally:  # a file to remove may be missing
                if ending is not None and here and ending.after:
                    os.kill(os.getpid(), ending.number)

        setattr(owner, name, step)

    for owner, name in _STEPS:
        wrap(owner, name)


def _elsewhere(path: Any, folder: Path) -> bool:
    return not Path(os.path.abspath(path)).is_relative_to(folder)
