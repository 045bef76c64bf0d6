"""Options of quantize."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from tightc.config.options import Options


class QuantizeOptions(Options):
    """Which layers are quantized to int8, and how the ranges of their activations are calibrated."""

    skip: tuple[str, ...] = Field(
        (),
        description="layer to skip, by its name, node or weight, or a pattern such as 'layer1.*'; repeatable",
        strict=False,
    )
    calibration: Literal["min-max", "percentile", "entropy"] = Field(
        "percentile", description="range of int8 activations: min-max, percentile or entropy; needs images"
    )
    percentile: float = Field(
        99.99,
        gt=50,
        le=100,
        description="percentile of activation magnitudes that int8 covers: above 50, to 100",
    )
    calibration_images: int = Field(
        512, ge=1, description="training images for calibration, drawn by the seed: at least 1"
    )

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Weights": ("skip",),
        "Activations": ("calibration", "percentile", "calibration_images"),
    }
    advanced: ClassVar[frozenset[str]] = frozenset({"percentile"})
