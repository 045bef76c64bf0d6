"""Options of prune."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tightc.config.options import invalid_combination
from tightc.selection.options import SelectionOptions

_IMAGES = 512


class PruneOptions(SelectionOptions):
    """How many weights go, where from, in which units, and what a weight is worth."""

    criterion: Literal["magnitude", "fisher", "obs"] = Field(
        "magnitude",
        description="what a weight is worth: magnitude (its size), fisher (its square times the mean square of its "
        "gradient; needs torch and images with labels) or obs (what the network's outputs lose without it when the "
        "others make up for it, which they then do; needs images, no labels)",
    )
    images: int | None = Field(
        None,
        ge=1,
        description=f"training images that fisher and obs look at, drawn by the seed; default: {_IMAGES}",
    )

    @model_validator(mode="after")
    def _a_target(self) -> Self:
        if self.share is None:
            raise invalid_combination(
                "missing", "needed: a share of zeros such as 0.9, or --budget with --align", "sparsity"
            )
        return self

    @model_validator(mode="after")
    def _images_where_seen(self) -> Self:
        if self.images is not None and not self.sees_images:
            raise invalid_combination(
                "magnitude looks at no images", "leave it out, or choose a criterion", "images"
            )
        return self

    @property
    def sees_images(self) -> bool:
        """Whether the criterion needs data."""
        return self.criterion != "magnitude"

    @property
    def image_count(self) -> int:
        """How many images it looks at, at most."""
        return self.images or _IMAGES
