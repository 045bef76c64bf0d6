"""Options of the data: images and their normalization, or arrays for the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, field_validator

from tightc.config.image_shape import ImageShape
from tightc.config.options import Options
from tightc.data.formats import FORMATS
from tightc.errors import OptionError

if TYPE_CHECKING:
    from tightc.config.input_spec import InputSpec
    from tightc.data.framing import Framing
    from tightc.data.images import Images, Normalization, NormalizedImages, Split
    from tightc.data.samples import Samples


# what a YAML file may give for mean and std
_NUMBER = r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*"
_Text = Annotated[str, Field(pattern=f"^{_NUMBER}(,{_NUMBER})*$")]
_Numbers = float | _Text | list[float | Annotated[str, Field(pattern=f"^{_NUMBER}$")]]


class DataOptions(Options):
    """The source of images and labels, and the normalization of their pixels."""

    data: str = Field(description=FORMATS, min_length=1)
    mean: tuple[float, ...] = Field(
        (0.0,),
        description="mean of pixels scaled to 0..1: a number, or one per channel as 0.49,0.48,0.45",
    )
    std: tuple[float, ...] = Field(
        (1.0,),
        description="standard deviation of pixels scaled to 0..1: a number, or one per channel as 0.25,0.24,0.26",
    )

    resize: int | None = Field(
        None,
        ge=1,
        le=16384,
        description="shorter side of image files after resizing, in pixels, before the center is cut out, such as 256",
    )
    crop: int | None = Field(
        None,
        ge=1,
        le=16384,
        description="side of the center that is cut out of image files, in pixels; "
        "default with resize: the network's input",
    )

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"Data": ("data", "resize", "crop", "mean", "std")}

    @field_validator("mean", "std", mode="before", json_schema_input_type=_Numbers)
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
            if any(isinstance(part, bool) for part in parts):
                raise TypeError
            return tuple(float(part) for part in parts)  # type: ignore[arg-type]
        except (OverflowError, TypeError, ValueError):
            raise ValueError("should be one number or several separated by commas") from None

    @property
    def normalization(self) -> Normalization:
        """Mean and standard deviation, checked."""
        from tightc.data.images import Normalization  # which loads numpy; the help of a command does without

        return Normalization(self.mean, self.std)

    @property
    def framing(self) -> Framing | None:
        """How photos are brought to the network's size; None takes image files of that size only."""
        if self.resize is None and self.crop is None:
            return None
        from tightc.data.framing import Framing

        return Framing(self.resize, self.crop)

    def open(self, split: Split, shape: ImageShape) -> Images:
        """The images of `split`, checked against a network with input `shape`."""
        from tightc.data.source import open_images

        return open_images(self.data, split, shape, framing=self.framing)

    def open_for(
        self, split: Split, inputs: tuple[InputSpec, ...], *, labeled: bool = True
    ) -> NormalizedImages | Samples:
        """The data of `split` for a network with `inputs`; unless they must be `labeled`, images may have no labels.

        OptionError where mean or std are given for samples, which are what the network takes.
        """
        from tightc.data.images import Images, NormalizedImages
        from tightc.data.source import open_data

        found = open_data(self.data, split, inputs, framing=self.framing, labeled=labeled)
        if isinstance(found, Images):
            self.normalization.check(found.pixels.shape[1])
            return NormalizedImages(found, self.normalization)
        for name in ("mean", "std"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise OptionError(
                    f"--{name}: expected images, got arrays for the inputs of the network",
                    f"leave --{name} out, and store what the network takes",
                )
        return found
