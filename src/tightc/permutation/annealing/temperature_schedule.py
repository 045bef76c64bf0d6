"""The temperature schedule of the annealer, as read from a YAML file."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tightc.config.duration import Duration
from tightc.config.options import Options, invalid_combination

Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_MORE_MOVES = "leave it out, and raise moves_per_weight to search longer"
_ACCEPTED = "leave it out, and give the temperatures t_start and t_end"


class TemperatureSchedule(Options):
    """The temperatures and moves for one block of tiles: what `--temp-schedule` reads."""

    shipped: ClassVar = "schedules"
    removed: ClassVar = {
        "kind": "leave it out, since the temperature always falls linearly",
        "accept_start": _ACCEPTED,
        "accept_end": _ACCEPTED,
        "reheats": _MORE_MOVES,
        "reheat": _MORE_MOVES,
        "replicas": _MORE_MOVES,
        "restarts": _MORE_MOVES,
    }

    t_start: Temperature = Field(
        0.3, description="first temperature, above 0, in cost units (1 per excess input)"
    )
    t_end: Temperature = Field(
        0.005, description="last temperature, above 0 and not above t_start, in cost units"
    )
    steps: Annotated[int, Field(ge=1, le=100_000)] = Field(
        30, description="number of temperatures, from 1 to 100000"
    )
    moves_per_weight: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        500, description="moves per non-zero weight, from 0 (no annealing) to 10000000"
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
        if self.t_end > self.t_start:
            raise invalid_combination(
                f"t_end {self.t_end} is above t_start {self.t_start}, but temperature must fall",
                "lower t_end or raise t_start",
                "t_end",
            )
        return self

    def temperatures(self, steps: int) -> NDArray[np.float64]:
        """`steps` temperatures that fall linearly from `t_start` to `t_end`: (steps,) float64, cost units."""
        return np.linspace(self.t_start, self.t_end, steps)
