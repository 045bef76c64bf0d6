"""Scenes to detect in: handwritten digits of two scales on photographs, some of them overlapping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 96  # pixels of a scene
CLASSES = 10
MOST_OBJECTS = 6
SCALES = ((14, 22), (30, 48))  # sides of an object in pixels, small and large, both ends included
_CROPS = (20, 32)  # pixels of a photograph that fill a scene
_MOST_OVERLAP = 0.3  # intersection over union of two objects
_LEAST_CONTRAST = 70  # of the brightness of an object from that of what it covers, of 255
_LUMA = np.array([0.299, 0.587, 0.114])

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Scenes:
    """Scenes and the boxes of their objects.

    `images`: (scenes, 3, SIDE, SIDE) uint8. `boxes`: (scenes, MOST_OBJECTS, 5) float32, for each object left, top,
    right and bottom in pixels and its class; class -1 fills a scene with fewer.
    """

    images: Pixels
    boxes: NDArray[np.float32]


def draw_scenes(
    count: int, photographs: Pixels, digits: tuple[Pixels, NDArray[np.int64]], randomness: np.random.Generator
) -> Scenes:
    """`count` scenes, each a part of a photograph with 1 to MOST_OBJECTS digits.

    `photographs`: (photographs, 3, height, width). `digits`: scans, (digits, height, width), and their classes.
    """
    images = np.empty((count, 3, SIDE, SIDE), np.uint8)
    boxes = np.full((count, MOST_OBJECTS, 5), -1, np.float32)
    scans, classes = digits
    for scene in range(count):
        canvas = _background(photographs[randomness.integers(len(photographs))], randomness)
        drawn: list[tuple[int, int, int, int]] = []
        for _ in range(randomness.integers(1, MOST_OBJECTS + 1)):
            place = _free_place(drawn, randomness)
            if place is None:
                continue
            which = randomness.integers(len(scans))
            _draw(canvas, scans[which], place, randomness)
            boxes[scene, len(drawn)] = (*place, classes[which])
            drawn.append(place)
        images[scene] = canvas.transpose(2, 0, 1)
    return Scenes(images, boxes)


def _background(photograph: Pixels, randomness: np.random.Generator) -> Pixels:
    """A part of the photograph, (SIDE, SIDE, 3), mirrored at times."""
    height, width = photograph.shape[1:]
    part = int(randomness.integers(_CROPS[0], min(_CROPS[1], height, width) + 1))
    top, left = (int(randomness.integers(size - part + 1)) for size in (height, width))
    pixels = photograph[:, top : top + part, left : left + part].transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    filled = np.array(image)
    return filled[:, ::-1].copy() if randomness.random() < 0.5 else filled


def _free_place(
    drawn: list[tuple[int, int, int, int]], randomness: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """A box of either scale that overlaps those drawn by little; None after some tries."""
    for _ in range(10):
        side = int(randomness.integers(*SCALES[randomness.integers(len(SCALES))], endpoint=True))
        left, top = (int(place) for place in randomness.integers(SIDE - side + 1, size=2))
        place = (left, top, left + side, top + side)
        if all(overlap(place, other) <= _MOST_OVERLAP for other in drawn):
            return place
    return None


def overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes: left, top, right, bottom."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def _draw(
    canvas: Pixels, scan: Pixels, place: tuple[int, int, int, int], randomness: np.random.Generator
) -> None:
    """Draws the scan into the box `place` of the canvas, in a color that stands out from what it covers."""
    left, top, right, bottom = place
    covered = canvas[top:bottom, left:right]
    glyph = Image.fromarray(scan).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    ink = np.asarray(glyph, np.float64)[:, :, None] / 255
    brightness = float((covered.reshape(-1, 3) @ _LUMA).mean())
    while True:
        color = randomness.integers(0, 256, size=3)
        if abs(float(color @ _LUMA) - brightness) >= _LEAST_CONTRAST:
            break
    covered[:] = np.rint(covered * (1 - ink) + color * ink).astype(np.uint8)
