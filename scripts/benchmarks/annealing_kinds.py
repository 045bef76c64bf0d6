"""Kinds of annealing that have been compared with the annealer's own, whose temperature falls linearly.

All start at `t_start`, end at `t_end` and try the same number of moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.permutation.annealing import anneal as annealing
from tightc.permutation.annealing.anneal import Annealed, _Chain, _part
from tightc.permutation.annealing.kernel import EXCESS_COST, AnnealingState, _count, _lane_change, _target
from tightc.permutation.annealing.rng import _draw, _next
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.tile.packing import EMPTY

_PARTS = 4  # falls of `reheats`, starts of `restarts`, replicas of `tempering`
_REHEAT = 0.5  # start of each fall, as a fraction of the one before
_ROUNDS = 200  # of tempering, with an exchange after each
_LOOKS = 60  # of adaptive, with a correction after each
_ACCEPTED = (0.3, 0.02)  # fraction of moves that adaptive wants accepted, at first and at last
_SAMPLE = 2000  # moves that the automatic start is estimated from
_WORSE_ACCEPTED = 0.2  # of these, at the automatic start

Kind = Callable[[_Chain, TemperatureSchedule], Annealed]
Temperatures = NDArray[np.float64]


@contextmanager
def annealed_by(kind: Kind | None) -> Iterator[None]:
    """Meanwhile every block is annealed by `kind`; None: by the annealer's own."""
    with patch.object(annealing, "_fall_once", kind or annealing._fall_once):
        yield


def _geometric(chain: _Chain, schedule: TemperatureSchedule) -> Annealed:
    """T_k = T_0 (T_e / T_0)^(k / (n - 1)) (Kirkpatrick, Gelatt, Vecchi, Science 220, 1983)."""
    return _one_fall(chain, schedule, np.geomspace(schedule.t_start, schedule.t_end, schedule.steps))


def _lundy_mees(chain: _Chain, schedule: TemperatureSchedule) -> Annealed:
    """T <- T / (1 + b T), so that 1/T rises evenly (Lundy and Mees, Mathematical Programming 34, 1986)."""
    inverse = np.linspace(1 / schedule.t_start, 1 / schedule.t_end, schedule.steps)
    return _one_fall(chain, schedule, 1 / inverse)


def _automatic_start(chain: _Chain, schedule: TemperatureSchedule) -> Annealed:
    """Linear, from where one worsening move in five is made (Johnson et al., Operations Research 37, 1989)."""
    rise = _mean_rise(chain.state, chain.fan_in, _SAMPLE, chain.rng) / EXCESS_COST
    start = max(schedule.t_end, rise / math.log(1 / _WORSE_ACCEPTED))
    return _one_fall(chain, schedule, np.linspace(start, schedule.t_end, schedule.steps))


def _adaptive(chain: _Chain, schedule: TemperatureSchedule) -> Annealed:
    """T <- T x wanted / accepted, at least 0.7 and at most 1.4 times T, not below T_e; wanted falls geometrically."""
    temperature, moves = schedule.t_start, _moves(chain, schedule)
    first, last = _ACCEPTED
    for look in range(_LOOKS):
        part, before = _part(moves, look, _LOOKS), int(chain.tally[2])
        chain.step(temperature, part, (look + 1) / _LOOKS)
        if chain.ended():
            break
        accepted = max((int(chain.tally[2]) - before) / max(1, part), 1e-6)
        wanted = first * (last / first) ** (look / _LOOKS)
        temperature = max(schedule.t_end, temperature * min(1.4, max(0.7, wanted / accepted)))
    return chain.result()


def _tempering(first: _Chain, schedule: TemperatureSchedule) -> Annealed:
    """Replicas at fixed temperatures exchange states with probability min(1, exp((1/T1 - 1/T2) (E1 - E2))).

    Parallel tempering (Swendsen and Wang, Phys. Rev. Lett. 57, 1986).
    """
    chains, random = [first, *_more_chains(first)], np.random.default_rng(first.seed.spawn(1)[0])
    ladder = np.geomspace(schedule.t_start, schedule.t_end, _PARTS)
    moves, parts = _moves(first, schedule), _ROUNDS * _PARTS
    for exchange in range(_ROUNDS):
        for i, (chain, temperature) in enumerate(zip(chains, ladder, strict=True)):
            number = exchange * _PARTS + i
            chain.step(float(temperature), _part(moves, number, parts), (number + 1) / parts)
        for i in range(_PARTS - 1):
            hot, cold = (int(chain.tally[0]) / EXCESS_COST for chain in chains[i : i + 2])
            if random.random() < math.exp(min(0.0, (1 / ladder[i] - 1 / ladder[i + 1]) * (hot - cold))):
                chains[i], chains[i + 1] = chains[i + 1], chains[i]
        if any(chain.ended() for chain in chains):
            break
    return _best(chains)


def _reheats(chain: _Chain, schedule: TemperatureSchedule) -> Annealed:
    """Several falls, each from the best state and a lower start (after Osman, Ann. Oper. Res. 41, 1993)."""
    for fall in range(_PARTS):
        start = max(schedule.t_start * _REHEAT**fall, schedule.t_end)
        temperatures = np.linspace(start, schedule.t_end, schedule.steps)
        _fall(chain, temperatures, _part(_moves(chain, schedule), fall, _PARTS))
        if chain.ended():
            break
        _back_to_best(chain)
    return chain.result()


def _restarts(first: _Chain, schedule: TemperatureSchedule) -> Annealed:
    """Several falls from the start with other random numbers, of which the best counts."""
    chains = [first, *_more_chains(first)]
    temperatures = schedule.temperatures(schedule.steps)
    for number, chain in enumerate(chains):
        _fall(chain, temperatures, _part(_moves(first, schedule), number, _PARTS))
        if chain.ended():
            break
    return _best(chains)


KINDS: Mapping[str, Kind | None] = {
    "linear": None,
    "geometric": _geometric,
    "Lundy-Mees": _lundy_mees,
    "adaptive": _adaptive,
    "tempering": _tempering,
    "3 reheats": _reheats,
    "3 restarts": _restarts,
    "automatic start": _automatic_start,
}


def _moves(chain: _Chain, schedule: TemperatureSchedule) -> int:
    return chain.block.weights * schedule.moves_per_weight


def _more_chains(first: _Chain) -> list[_Chain]:
    seeds = first.seed.spawn(_PARTS - 1)
    return [_Chain(first.block, first.fan_in, seed, first.deadline, first.reporter) for seed in seeds]


def _back_to_best(chain: _Chain) -> None:
    """Makes the best state the present one."""
    state, best = chain.state, chain.best
    state.lane_of[:], state.column_of[:] = best
    state.slots[:, :] = EMPTY
    state.slots[best[0], best[1]] = np.arange(best.shape[1])
    _count(state)
    chain.tally[0] = chain.tally[1]


def _best(chains: list[_Chain]) -> Annealed:
    return min((chain.result() for chain in chains), key=lambda found: found.cost(chains[0].fan_in))


def _one_fall(chain: _Chain, schedule: TemperatureSchedule, temperatures: Temperatures) -> Annealed:
    _fall(chain, temperatures, _moves(chain, schedule))
    return chain.result()


def _fall(chain: _Chain, temperatures: Temperatures, moves: int) -> None:
    """Tries `moves` moves, the same number at each of the temperatures."""
    steps = len(temperatures)
    for step, temperature in enumerate(temperatures):
        chain.step(float(temperature), _part(moves, step, steps), (step + 1) / steps)
        if chain.ended():
            break


@njit(nogil=True, cache=False)
def _mean_rise(state: AnnealingState, fan_in: int, draws: int, rng: np.uint64) -> float:
    """Mean rise in quarters of the worsening ones among `draws` moves, none of them made."""
    total, worse = 0, 0
    weights = len(state.input_of)
    for _ in range(draws if weights else 0):
        rng = _next(rng)
        weight = (np.int64(_draw(rng) >> np.uint64(32)) * weights) >> 32
        rng = _next(rng)
        to_lane, to_column = _target(state, weight, _draw(rng))
        from_lane, item = state.lane_of[weight], state.input_of[weight]
        other = state.slots[to_lane, to_column]
        back = state.input_of[other] if other != EMPTY else EMPTY
        if from_lane == to_lane or item == back:
            continue
        rise = _lane_change(state.counts[from_lane], item, back, state.carried[from_lane], fan_in)[1]
        rise += _lane_change(state.counts[to_lane], back, item, state.carried[to_lane], fan_in)[1]
        if rise > 0:
            total += rise
            worse += 1
    return max(1.0, total / max(1, worse))
