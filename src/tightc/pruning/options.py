"""Options of prune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from tightc.config.options import invalid_combination
from tightc.selection.options import SelectionOptions

_IMAGES = 512


class PruneOptions(SelectionOptions):
    """How many weights are pruned, in which layers and units, and by which saliency."""

    criterion: Literal["magnitude", "balanced", "fisher", "obs"] = Field(
        "magnitude",
        description="saliency of a weight: magnitude, balanced (between layers), fisher (labeled images, torch) or obs "
        "(images; adapts remaining weights)",
    )
    calibration_images: int | None = Field(
        None, ge=1, description=f"training images for fisher and obs, drawn by the seed; default: {_IMAGES}"
    )

    mask: str | None = Field(
        None,
        min_length=1,
        description="NPZ file with an array of 0 and 1 for each weight to prune, by its name, in place of a target",
    )

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Target": ("sparsity", "budget", "align", "tile_heights", "fill_passes", "scope", "mask"),
        "Selection": ("criterion", "granularity", "skip", "min_density", "subword_bits"),
        "Calibration": ("calibration_images",),
        **SelectionOptions.hardware_groups,
    }
    advanced: ClassVar[frozenset[str]] = SelectionOptions.advanced | {"min_density", "subword_bits"}

    @model_validator(mode="after")
    def _a_target(self) -> Self:
        if self.mask is not None:
            self._require_mask_alone()
        elif self.kept_fraction is None:
            raise invalid_combination(
                "expected a sparsity or a budget, got neither",
                "give a sparsity such as 0.9, or --budget with --align",
                "sparsity",
            )
        return self

    def _require_mask_alone(self) -> None:
        for name in type(self).model_fields:
            if name != "mask" and getattr(self, name) != self._default(name):
                raise invalid_combination(
                    f"expected --mask alone, got {name.replace('_', '-')} too: a mask says which weights go",
                    "leave one of them out",
                    "mask",
                )

    @model_validator(mode="after")
    def _images_where_needed(self) -> Self:
        if self.calibration_images is not None and not self.needs_images:
            raise invalid_combination(
                f"expected criterion fisher or obs, got {self.criterion}, which uses no images",
                "leave it out, or add --criterion obs",
                "calibration_images",
            )
        return self

    @property
    def needs_images(self) -> bool:
        """Whether the criterion needs images."""
        return self.criterion in ("fisher", "obs")

    @property
    def image_count(self) -> int:
        """The largest number of calibration images."""
        return self.calibration_images or _IMAGES
