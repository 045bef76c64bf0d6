"""The course of learning rate and momentum over a training."""

from __future__ import annotations

import math

_FIRST_RATE = 1 / 25
_LAST_RATE = 1e-4
_MOMENTUM_DIP = 0.1


def cosine_rate(step: int, steps: int, peak: float, warm_up: float) -> float:
    """The rate at `step` of `steps`: a linear rise over the share `warm_up` and half a cosine down to 0."""
    rising = max(1, round(steps * warm_up))
    rise = min(1.0, (step + 1) / rising)
    return peak * rise * 0.5 * (1 + math.cos(math.pi * step / steps))


def one_cycle(step: int, steps: int, peak: float, momentum: float, warm_up: float) -> tuple[float, float]:
    """(rate, momentum) at `step` of `steps`: up from a 25th of `peak` to it, down to almost nothing, as cosines.

    Momentum is `momentum` at both ends and 0.1 lower at the peak, but never below 0 (Smith 2018, "A Disciplined
    Approach to Neural Network Hyper-Parameters", section 4).
    """
    rising = max(1, round(steps * warm_up))
    low = max(0.0, momentum - _MOMENTUM_DIP)
    if step < rising:
        share = step / rising
        return _between(peak * _FIRST_RATE, peak, share), _between(momentum, low, share)
    share = (step - rising) / max(1, steps - rising)
    return _between(peak, peak * _LAST_RATE, share), _between(low, momentum, share)


def share_left(kind: str, done: float, start: float, end: float) -> float:
    """The share of weights (or of a cost) that is left when `done`, 0 to 1, of the pruning is: from `start` to `end`.

    `kind`: cubic (Zhu and Gupta 2018, "To Prune, or Not to Prune", section 3), linear or one-shot.
    """
    if kind == "one-shot" or done >= 1:
        return end
    rest = 1 - max(0.0, done)
    return end + (start - end) * (rest**3 if kind == "cubic" else rest)


def regrow_share(step: int, steps: int, most: float) -> float:
    """The share of weights exchanged at `step` of `steps`: from `most` down to 0 as half a cosine."""
    return _between(most, 0.0, step / steps) if step < steps else 0.0


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))
