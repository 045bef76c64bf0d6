"""How a photo of any size becomes an image of the network's size: the shorter side resized, the center cut out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tightc.config.image_shape import ImageShape
from tightc.errors import DataError, OptionError

_MOST_PIXELS = 2**27  # of a resized photo before its center is cut out


@dataclass(frozen=True)
class Framing:
    """`resize`: the shorter side after resizing, None: as it is. `crop`: the side of the center, None: the network's.

    The longer side becomes int(resize x longer / shorter). Pixels are weighted by a triangle as wide as the scale, so
    that all of the photo counts (bilinear with antialiasing). The center begins at round((side - crop) / 2). As Resize
    and CenterCrop of torchvision on Pillow images.
    """

    resize: int | None = None
    crop: int | None = None

    def shape(self, wanted: ImageShape) -> ImageShape:
        """The shape of the images for a network that takes `wanted`; OptionError where they cannot have it."""
        height, width = self.crop or wanted.height, self.crop or wanted.width
        if height is None or width is None:
            raise OptionError(
                f"--resize: expected --crop too for a network that takes images of any size ({wanted}), got none",
                "add --crop 224",
            )
        if not wanted.admits((wanted.channels, height, width)):
            raise OptionError(
                f"--crop: expected {wanted} (channels x height x width), which the network takes, got {self.crop}",
                "leave --crop out, and the input of the network is cut out",
            )
        if self.resize is not None and self.resize < max(height, width):
            raise OptionError(
                f"--resize: expected at least {max(height, width)}, the longer side of the crop, got {self.resize}",
                f"give --resize {max(height, width)} or more",
            )
        return ImageShape(wanted.channels, height, width)

    def applied(self, image: Any, shape: ImageShape, name: str) -> Any:
        """The Pillow `image` in the height and width of `shape`; DataError, with its `name`, where it is too small."""
        from PIL import Image

        if self.resize is not None:
            size = _resized(image.width, image.height, self.resize)
            if size[0] * size[1] > _MOST_PIXELS:
                raise DataError(
                    f"{name}: expected at most {_MOST_PIXELS:,} pixels when resized, got {size[0]:,} x {size[1]:,} "
                    f"from {image.width:,} x {image.height:,}",
                    "remove it, or cut it",
                )
            image = image.resize(size, Image.Resampling.BILINEAR)
        height, width = shape.height or image.height, shape.width or image.width
        if image.width < width or image.height < height:
            raise DataError(
                f"{name}: expected at least {width}x{height} pixels (width x height) to cut out, "
                f"got {image.width}x{image.height}",
                f"add --resize {max(width, height)} or more",
            )
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return image.crop((left, top, left + width, top + height))


def _resized(width: int, height: int, shorter: int) -> tuple[int, int]:
    """(width, height) with the shorter side as given, the longer one in proportion and cut to a whole number."""
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter
