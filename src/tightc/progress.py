"""Progress: the one protocol by which every stage, training included, says how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """A callback that a stage reports to; the command line draws it, a library user may ignore it."""

    def __call__(self, task: str, done: float, figures: Mapping[str, str], /) -> None:
        """`task` names what is worked on, `done` is the fraction done, `figures` are label to value."""


def no_progress(_task: str, _done: float, _figures: Mapping[str, str], /) -> None:
    """Reports nothing."""
