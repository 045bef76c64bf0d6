"""Options of prune."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tightc.config.options import Options


class PruneOptions(Options):
    """How many weights go, and where from."""

    sparsity: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of the weights to be zero afterwards, at least 0 and below 1, such as 0.9"
    )
    scope: Literal["global", "layer"] = Field(
        "global",
        description="what the share is taken of: global (the smallest weights of the network) or layer (of each layer)",
    )
    keep: tuple[str, ...] = Field(
        (),
        description="a layer to leave alone, by name or pattern such as 'layer1.*'; may be given several times",
        strict=False,
    )
