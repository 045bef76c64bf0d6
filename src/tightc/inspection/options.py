"""Options of inspect."""

from __future__ import annotations

from pydantic import Field

from tightc.config.input_sizes import InputSizeOptions
from tightc.config.options import Options

SPARSITIES = (0.5, 0.8, 0.9, 0.95)  # at which each layer is tried


class InspectOptions(InputSizeOptions):
    """How large the inputs are, which decides how many vectors stream through each layer."""


class SensitivityOptions(Options):
    """How closely to look at what each layer's weights are good for."""

    images: int = Field(
        512, ge=1, description="with sensitivity, how many of the images to look at, drawn by the seed"
    )
    seed: int = Field(0, ge=0, description="with sensitivity, the seed that draws them")
