"""Which images, and how they are normalized."""

from __future__ import annotations

from pydantic import Field, field_validator

from tightc.config.image_shape import ImageShape
from tightc.config.options import Options
from tightc.data.images import Images, Normalization, Split
from tightc.data.source import FORMS, open_images


class DataOptions(Options):
    """Where images and labels come from."""

    data: str = Field(description=FORMS, min_length=1)
    mean: tuple[float, ...] = Field(
        (0.0,),
        description="what to subtract from pixels / 255: one number, or one a channel, as 0.49,0.48,0.45",
    )
    std: tuple[float, ...] = Field(
        (1.0,), description="what to divide by then: one number, or one a channel, as 0.25,0.24,0.26"
    )

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> tuple[float, ...]:
        parts = (
            value.split(",")
            if isinstance(value, str)
            else value
            if isinstance(value, (list, tuple))
            else [value]
        )
        try:
            return tuple(float(part) for part in parts)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ValueError("should be numbers with commas between them") from None

    @property
    def normalization(self) -> Normalization:
        """Mean and standard deviation, checked."""
        return Normalization(self.mean, self.std)

    def open(self, split: Split, shape: ImageShape) -> Images:
        """The images of `split`, as a network with input `shape` wants them."""
        return open_images(self.data, split, shape)
