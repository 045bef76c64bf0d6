"""What an input of a network takes."""

from __future__ import annotations

from dataclasses import dataclass

from tightc.config.image_shape import ImageShape

FLOATS = ("float32", "float16")


@dataclass(frozen=True)
class InputSpec:
    """Name, numpy dtype and sizes of an input; a size of None is open, sizes of None leave the rank open too."""

    name: str
    dtype: str
    sizes: tuple[int | None, ...] | None

    def __str__(self) -> str:
        sizes = "any shape" if self.sizes is None else " x ".join(str(size or "any") for size in self.sizes)
        return f"{self.name} ({self.dtype}, {sizes or 'a single number'})"

    @property
    def batch(self) -> int | None:
        """The number of samples in a run where the network fixes it."""
        return self.sizes[0] if self.sizes else None

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether samples of `shape`, the number of samples first, fit."""
        if self.sizes is None:
            return True
        pairs = zip(self.sizes[1:], shape[1:], strict=False)
        return len(shape) == len(self.sizes) and all(size in (None, given) for size, given in pairs)


def image_shape(inputs: tuple[InputSpec, ...]) -> ImageShape | None:
    """The shape of the images that a network with these `inputs` takes; None where it takes something else."""
    if len(inputs) != 1 or inputs[0].dtype not in FLOATS or len(inputs[0].sizes or ()) != 4:
        return None
    assert inputs[0].sizes is not None
    _, channels, height, width = inputs[0].sizes
    return None if channels is None else ImageShape(channels, height, width)
