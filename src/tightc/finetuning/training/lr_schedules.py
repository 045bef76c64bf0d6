"""Learning rate schedules, with the momentum that goes with them."""

from __future__ import annotations

import math

_FIRST_LR = 1 / 25
_LAST_LR = 1e-4
_MOMENTUM_DIP = 0.1


def cosine_lr(step: int, steps: int, peak: float, warmup: float) -> float:
    """Learning rate at `step` of `steps`: half a cosine from `peak` to 0, times a linear rise over the warmup.

    `warmup`: fraction of all steps.
    """
    rising = max(1, round(steps * warmup))
    rise = min(1.0, (step + 1) / rising)
    return peak * rise * 0.5 * (1 + math.cos(math.pi * step / steps))


def one_cycle(step: int, steps: int, peak: float, momentum: float, warmup: float) -> tuple[float, float]:
    """Learning rate and momentum at `step` of `steps`: both follow cosines, in opposite directions.

    The learning rate rises from `peak` / 25 to `peak` over `warmup`, a fraction of all steps, and falls to `peak` /
    10000. The momentum is `momentum` at both ends and 0.1 lower at the peak, but never below 0 (Smith 2018, "A
    Disciplined Approach to Neural Network Hyper-Parameters", section 4).
    """
    rising = max(1, round(steps * warmup))
    low = max(0.0, momentum - _MOMENTUM_DIP)
    if step < rising:
        done = step / rising
        return cosine_between(peak * _FIRST_LR, peak, done), cosine_between(momentum, low, done)
    done = (step - rising) / max(1, steps - rising)
    return cosine_between(peak, peak * _LAST_LR, done), cosine_between(low, momentum, done)


def cosine_between(first: float, last: float, done: float) -> float:
    """The value on half a cosine from `first` to `last` at the fraction `done` of the way."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * done))
