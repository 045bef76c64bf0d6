"""The image shape that a network's input takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageShape:
    """Channels, height and width of an input image; a height or width of None is left open."""

    channels: int
    height: int | None = None
    width: int | None = None

    def __str__(self) -> str:
        return f"{self.channels} x {self.height or 'any'} x {self.width or 'any'}"

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether an image of `shape` (channels, height, width) fits."""
        wanted = (self.channels, self.height, self.width)
        return len(shape) == 3 and all(w in (None, s) for w, s in zip(wanted, shape, strict=True))
