"""The memories of the accelerator and its testbench: every word of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.rtl.image import LayerImage, map_after

RECORD_WORDS, LINK_WORDS = 24, 16
_POOLS = {"none": 1, "max": 1, "mean": 2}  # without a pool, the largest of one


def words(images: Sequence[LayerImage], fan_in: int) -> Mapping[str, tuple[NDArray[Any], int]]:
    """The contents of each memory of the network by the name of its file, each with its digits per word.

    `fan_in`: inputs of the multiplexers.
    """
    select_bits = (fan_in - 1).bit_length() + 1
    fixed = [image.requantization for image in images]
    return {
        "layers.hex": (_records(images), 8),
        "links.hex": (_links(images), 8),
        "slots.hex": (np.concatenate([image.tiles.slots.ravel() for image in images]), 2),
        "selects.hex": (
            np.concatenate([image.tiles.selects.ravel() for image in images]),
            -(-select_bits // 4),
        ),
        "lanes.hex": (np.concatenate([image.tiles.lanes.ravel() for image in images]), 16),
        "columns.hex": (np.concatenate([image.tiles.columns.ravel() for image in images]), 8),
        "multipliers.hex": (np.concatenate([form.multiplier for form in fixed]), 8),
        "offsets.hex": (np.concatenate([form.offset for form in fixed]), 16),
        "shifts.hex": (np.concatenate([form.shift for form in fixed]), 2),
        "activations.hex": (np.concatenate([image.window.bytes.ravel() for image in images]), 2),
        "sums.hex": (np.concatenate([image.sums.ravel() for image in images]), 8),
        "bytes.hex": (np.concatenate([_bytes_or_zeros(image).ravel() for image in images]), 2),
        "starts.hex": (np.concatenate([image.starts for image in images]), 8),
    }


def _bytes_or_zeros(image: LayerImage) -> NDArray[np.int8]:
    return np.zeros(image.sums.shape, np.int8) if image.bytes is None else image.bytes


def _records(images: Sequence[LayerImage]) -> NDArray[np.int64]:
    """(layers, RECORD_WORDS): what the controller and the step counter read of each layer."""
    records = np.zeros((len(images), RECORD_WORDS), np.int64)
    first_tile = first_filter = first_output = first_activation = 0
    for record, image in zip(records, images, strict=True):
        window, form = image.window, image.requantization
        geometry, (rise, run), (top, left) = window.geometry, window.strides, window.pads
        height, width = window.outputs
        jump = rise * geometry.width - (width - 1) * run
        back = (height - 1) * rise * geometry.width + (width - 1) * run
        vectors, filters = image.sums.shape
        record[:23] = (
            len(image.tiles.slots),
            first_tile,
            vectors,
            filters,
            first_filter,
            first_output,
            first_activation - top * geometry.width - left,
            -top,
            -left,
            rise,
            run,
            jump,
            geometry.channels * geometry.height * geometry.width - back,
            height,
            width,
            geometry.height,
            geometry.width,
            image.zero_point,
            form.low,
            form.high,
            image.bytes is not None,
            first_activation,
            image.cycles,
        )
        first_tile += len(image.tiles.slots)
        first_filter += filters
        first_output += image.sums.size
        first_activation += window.bytes.size
    return records


def _links(images: Sequence[LayerImage]) -> NDArray[np.int64]:
    """(layers, LINK_WORDS): from which layer, and through which pool, each layer reads."""
    links = np.zeros((len(images), LINK_WORDS), np.int64)
    for link, image in zip(links, images, strict=True):
        if image.source is None:
            continue
        before, pool = images[image.source], image.pool
        sides = before.window.outputs
        channels, height, width = map_after(before, pool)
        link[:14] = (
            image.source + 1,
            _POOLS[pool.kind],
            before.window.images,
            channels,
            *sides,
            *(pool.kernel or sides),
            *pool.strides,
            *pool.pads,
            height,
            width,
        )
    return links
