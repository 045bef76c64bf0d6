"""Options of inspect."""

from __future__ import annotations

from pydantic import Field

from tightc.config.input_sizes import InputSizeOptions
from tightc.config.options import Options

SPARSITIES = (0.5, 0.8, 0.9, 0.95)  # of each layer in turn


class InspectOptions(InputSizeOptions):
    """Input sizes, which decide how many input vectors each layer gets."""


class SensitivityOptions(Options):
    """The images of the sensitivity analysis."""

    images: int = Field(512, ge=1, description="images for the sensitivity analysis, drawn by the seed")
    seed: int = Field(0, ge=0, description="seed that draws the images of the sensitivity analysis")
