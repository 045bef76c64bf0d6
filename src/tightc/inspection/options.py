"""Options of inspect."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tightc.config.options import Options


class InspectOptions(Options):
    """What to count for."""

    batch: Annotated[int, Field(ge=1)] | None = Field(
        None, description="images at a time, at least 1; default: the model's own batch, else 1"
    )
