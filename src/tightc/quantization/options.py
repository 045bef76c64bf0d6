"""Options of quantize."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tightc.config.options import Options


class QuantizeOptions(Options):
    """Which layers become whole numbers, and how the ranges of what streams through them are found."""

    keep: tuple[str, ...] = Field(
        (),
        description="a layer to leave alone, by name or pattern such as 'layer1.*'; may be given several times",
        strict=False,
    )
    calibration: Literal["min-max", "percentile", "entropy"] = Field(
        "percentile",
        description="with images, what of a layer's inputs int8 spans: min-max (all), percentile (but the largest) or "
        "entropy (what keeps their distribution best)",
    )
    percentile: float = Field(
        99.99,
        gt=50,
        le=100,
        description="share of the inputs' magnitudes that percentile spans: above 50, to 100",
    )
    images: int = Field(
        512, ge=1, description="training images that are looked at, drawn by the seed: from 1"
    )
