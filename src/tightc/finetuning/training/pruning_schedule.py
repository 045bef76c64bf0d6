"""Schedules of gradual pruning: how much is kept, and how much is regrown, at each step."""

from __future__ import annotations

from tightc.finetuning.training.lr_schedules import cosine_between


def kept_at(schedule: str, done: float, start: float, end: float) -> float:
    """The kept fraction of the weights (or of a cost) once the fraction `done` of the pruning is done.

    It falls from `start` to `end`. `schedule`: cubic (Zhu and Gupta 2018, "To Prune, or Not to Prune", section 3),
    linear or one-shot.
    """
    if schedule == "one-shot" or done >= 1:
        return end
    rest = 1 - max(0.0, done)
    return end + (start - end) * (rest**3 if schedule == "cubic" else rest)


def regrow_fraction(step: int, steps: int, initial: float) -> float:
    """The fraction of weights exchanged at `step` of `steps`: half a cosine from `initial` to 0."""
    return cosine_between(initial, 0.0, step / steps) if step < steps else 0.0
