"""Progress: the one protocol by which every stage, search and training included, reports its progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """A callback for the progress of a stage; may be called from any thread."""

    def __call__(self, task: str, done: float, figures: Mapping[str, str], /) -> None:
        """`task`: name of the work, such as a layer. `done`: fraction done. `figures`: label to value."""


def no_progress(_task: str, _done: float, _figures: Mapping[str, str], /) -> None:
    """Reports nothing."""
