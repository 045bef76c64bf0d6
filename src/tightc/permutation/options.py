"""Options of permute."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tightc.config.options import Options
from tightc.permutation.schedule import Schedule
from tightc.tiles.array import ArrayShape


class PermuteOptions(Options):
    """What to arrange the weights for, and how to search."""

    array: ArrayShape = Field(
        ArrayShape(32, 32), description="size of the array, rows x columns, such as 32x32"
    )
    fan_in: Annotated[int, Field(ge=1, le=32767)] = Field(
        16, description="inputs that a lane can carry, from 1 (an ordinary array) to 32767"
    )
    method: Literal["tight", "structured", "dense"] = Field(
        "tight", description="how to arrange: tight, structured (drop empty filters and inputs) or dense"
    )
    temp_schedule: Schedule = Field(
        Schedule(), description="temperature schedule, a YAML file (in a recipe also its keys)"
    )
    jobs: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="threads to search with, from 1 to 1024, or 0 for one on each core"
    )
