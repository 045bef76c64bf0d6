"""Options of verify."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from tightc.config.input_sizes import InputSizeOptions

TOLERANCE = 1e-4
HALF_TOLERANCE = 1e-2  # of outputs with 16 bits


class VerifyOptions(InputSizeOptions):
    """What both models are run on, and how far their outputs may differ."""

    groups: ClassVar = {
        "Verification": ("inputs", "tolerance"),
        "Model inputs": ("batch", "input_shape"),
    }

    inputs: str | None = Field(
        None,
        description="NumPy .npz file with an array for each model input; default: random values",
    )
    tolerance: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="largest difference of an output, as a fraction of its largest value; "
        f"default: {TOLERANCE:g}, {HALF_TOLERANCE:g} for 16-bit floats",
    )
