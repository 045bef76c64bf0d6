"""Temperature schedules of the annealer, as read from a YAML file."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PlainValidator, model_validator

from tightc.config.duration import Duration
from tightc.config.options import Options, invalid_combination


def _start(value: Any) -> float | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise ValueError("should be a number above 0 or auto")
    return float(value)


Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# one validator, not one for each member of the union, so that a fault names the key alone
Start = Annotated[float | Literal["auto"], PlainValidator(_start)]
Fraction = Annotated[float, Field(gt=0, le=1)]


class TemperatureSchedule(Options):
    """The temperatures and moves for one block of tiles: what `--temp-schedule` reads."""

    kind: Literal["geometric", "linear", "lundy-mees", "adaptive", "tempering"] = Field(
        "geometric",
        description="fall of the temperature: geometric, linear, lundy-mees (T / (1 + bT)), adaptive (by accepted "
        "moves) or tempering (replicas exchange states)",
    )
    t_start: Start = Field(
        0.3,
        description="first temperature, above 0, in cost units (1 per excess input), or auto: one worsening move in "
        "five accepted",
    )
    t_end: Temperature = Field(
        0.03, description="last temperature, above 0 and not above t_start, in cost units"
    )
    steps: Annotated[int, Field(ge=1, le=100_000)] = Field(
        30, description="number of temperatures, from 1 to 100000"
    )
    moves_per_weight: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        500, description="moves per non-zero weight, from 0 (no annealing) to 10000000"
    )
    accept_start: Fraction = Field(
        0.3, description="fraction of moves accepted at first, for adaptive: above 0, to 1"
    )
    accept_end: Fraction = Field(
        0.02, description="fraction of moves accepted at last, for adaptive: above 0, to 1"
    )
    reheats: Annotated[int, Field(ge=0, le=1000)] = Field(
        0,
        description="reheats of the best state within the moves, from 0 to 1000",
    )
    reheat: Fraction = Field(
        0.5, description="start of each reheat, as a fraction of the one before, above 0 up to 1"
    )
    replicas: Annotated[int, Field(ge=2, le=64)] = Field(
        4, description="number of replicas, for tempering: from 2 to 64"
    )
    restarts: Annotated[int, Field(ge=0, le=1000)] = Field(
        0,
        description="restarts of a block with other random numbers, from 0 to 1000; the best is kept",
    )
    time_limit: Duration | None = Field(
        None,
        description="time for the whole search, such as 30s or 5m; the best packing by then is kept",
    )
    seed: Annotated[int, Field(ge=0)] | None = Field(
        None, description="random seed of the search, from 0; default: that of the stage"
    )

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.t_start != "auto" and self.t_end > self.t_start:
            raise invalid_combination(
                f"t_end {self.t_end} is above t_start {self.t_start}, but temperature must fall",
                "lower t_end or raise t_start",
                "t_end",
            )
        if self.accept_end > self.accept_start:
            raise invalid_combination(
                f"accept_end {self.accept_end} is above accept_start {self.accept_start}, but acceptance must fall",
                "lower accept_end or raise accept_start",
                "accept_end",
            )
        return self

    def temperatures(self, t_start: float, steps: int) -> NDArray[np.float64]:
        """The temperatures of one fall from `t_start`: (steps,) float64, cost units.

        For `adaptive` only the first one counts: `adapted` gives the others.
        """
        t_end = min(self.t_end, t_start)
        if self.kind == "linear":
            return np.linspace(t_start, t_end, steps)
        if self.kind == "lundy-mees":
            # Lundy and Mees, Mathematical Programming 34, 1986: T <- T / (1 + b T), so 1/T rises in even steps
            ratio = max(t_end / t_start, 1e-300)  # 1/T itself could be infinite
            return t_start * ratio / (ratio + (1 - ratio) * np.linspace(0, 1, steps))
        return np.geomspace(t_start, t_end, steps)

    def adapted(self, temperature: float, accepted: float, done: float) -> float:
        """The temperature after `temperature`, at which the fraction `accepted` of the moves was accepted.

        The target falls geometrically from `accept_start` to `accept_end`; `done` is the fraction of the fall that is
        done.
        """
        target: float = self.accept_start * (self.accept_end / self.accept_start) ** done
        factor = min(1.4, max(0.7, target / max(accepted, 1e-6)))
        return max(temperature * factor, self.t_end)
