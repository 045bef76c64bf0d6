"""Progress on stderr: a bar on a terminal, lines of text with -v, else nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from tightc.names import message_text
from tightc.progress import Progress, no_progress

_LONGEST_SILENCE = 10.0  # seconds


@contextmanager
def progress_display(*, quiet: bool, verbose: bool) -> Iterator[Progress]:
    """A progress callback that may be called from any thread."""
    if quiet:
        yield no_progress
    elif verbose:
        yield _Lines()
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield bars
    else:
        yield no_progress


class _Lines:
    """A line of stderr when a task begins, for every quarter of it, and after a silence."""

    def __init__(self) -> None:
        self._quarters: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, task: str, done: float, figures: Mapping[str, str], /) -> None:
        with self._lock:
            now = time.monotonic()
            if int(done * 4) <= self._quarters.get(task, -1) and now < self._due[task]:
                return
            self._quarters[task] = max(int(done * 4), self._quarters.get(task, 0))
            self._due[task] = now + _LONGEST_SILENCE
            values = "  ".join(f"{label} {value}" for label, value in figures.items())
            click.echo(message_text(f"{task}: {done:4.0%}  {values}"), err=True)


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=12, table_column=Column(min_width=12)),
        # takes the remaining width: a narrow terminal folds the figures and keeps the name whole
        TextColumn("{task.fields[figures]}", markup=False, table_column=Column(ratio=1)),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True, expand=True) as bars:
        tasks: dict[str, TaskID] = {}
        lock = threading.Lock()

        def progress(task: str, done: float, figures: Mapping[str, str], /) -> None:
            text = "  ".join(f"{label} {value}" for label, value in figures.items())
            with lock:
                if task not in tasks:
                    tasks[task] = bars.add_task(message_text(task), total=1.0, figures=text)
                bars.update(tasks[task], completed=done, figures=text, visible=done < 1.0)

        yield progress
