"""The packed tensors of a weight, and the numbers by which its stream is read.

The names and the order of the numbers are part of the file format: they stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from tightc.tile.store import BitStream
from tightc.tile.subwords import subwords_of

DOMAIN = "tightc"
DOMAIN_VERSION = 2  # in 1, each layer had nodes of its own that rebuilt its weight
# a zero and then the weights in slot order; the stream of tightc.tile.store; a `WeightLayout` as numbers
TENSORS = ("values", "index", "layout")
# after these, where the weight has several zero points: see `zero_repeats`
ZEROS = "zeros"
# where slots hold subwords, these are in further sections of the stream
SUBWORD_TENSORS = TENSORS[1:]
SUBWORD_SECTIONS = ("digits", "signs", "places")
SUBWORD_BITS = (2, 4)
# the numbers of a layout; after them start, count and width of each section, and the shape of the weight
LAYOUT_HEAD = ("filter_stride", "input_stride", "group_inputs", "tiles", "lanes", "columns")


@dataclass(frozen=True)
class WeightLayout:
    """Where the weights of a stream go in the dense weight tensor.

    `filter_stride`, `input_stride`: elements from one filter or input to the next in the flat tensor. `group_inputs`:
    inputs of one group. `shape`: of the tensor. A filter stride of 1 means that inputs come before filters: then each
    group has input_stride * (group_inputs - 1) elements between its filters and those of the next.
    """

    filter_stride: int
    input_stride: int
    group_inputs: int
    shape: tuple[int, ...]


def is_packed_form(proto: onnx.ModelProto) -> bool:
    """Whether `proto` has packed nodes, or functions of the packed form, which some tools drop."""
    return any(part.domain == DOMAIN for part in (*proto.functions, *proto.graph.node))


def rebuild_name(dtype: np.dtype[Any], subword_bits: int | None, zero_point: int | None) -> str:
    """Name of the function that rebuilds weights of `dtype`, from subwords unless `subword_bits` is None.

    `zero_point` is None for several.
    """
    if subword_bits is not None:
        return f"Rebuild{subword_bits}BitDigits"
    if zero_point is None:
        return f"Rebuild{dtype.name.title()}Zeros"
    zero = f"Zero{zero_point}".replace("-", "Minus") if zero_point else ""
    return f"Rebuild{dtype.name.title()}{zero}"


def zero_repeats(zeros: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many places each of the `zeros`, of that shape, holds for along each axis of a weight of `shape`.

    ValueError where the sides of the weight are no multiples of those of the zeros.
    """
    if len(zeros) != len(shape) or any(own < 1 or side % own for side, own in zip(shape, zeros, strict=True)):
        raise ValueError(f"zero points of shape {zeros} for a weight of shape {shape}")
    return tuple(side // own for side, own in zip(shape, zeros, strict=True))


def subword_index_bits(bits: int) -> int:
    """Bits that tell which subword of its weight a subword of `bits` is."""
    return (subwords_of(bits) - 1).bit_length()


def encode_layout(layout: WeightLayout, stream: BitStream) -> NDArray[np.integer]:
    """The tensor by which a function reads `stream`: (numbers,) uint16, or int32 where they need that.

    In order: the numbers of LAYOUT_HEAD; start, count and width of each section; the shape of the weight.
    """
    sections = [number for part in stream.sections for number in part]
    strides = (layout.filter_stride, layout.input_stride, layout.group_inputs)
    numbers = [*strides, *stream.grid, *sections, *layout.shape]
    return np.array(numbers, np.uint16 if max(numbers) < 2**16 else np.int32)


def decode_layout(
    numbers: NDArray[np.integer], index: NDArray[np.uint8], sections: int
) -> tuple[WeightLayout, BitStream]:
    """The inverse of `encode_layout`, for a stream with content `index` and so many `sections`.

    ValueError where there are too few `numbers`, or where they or the content are no lists of integers.
    """
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"expected a list of integers as layout, got {numbers.dtype} of shape {numbers.shape}"
        )
    if index.ndim != 1 or index.dtype != np.uint8:
        raise ValueError(f"expected a list of bytes as index, got {index.dtype} of shape {index.shape}")
    flat = [int(number) for number in numbers]
    start = len(LAYOUT_HEAD)
    end = start + 3 * sections
    if len(flat) < end:
        raise ValueError("the layout is too short")
    parts = tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(start, end, 3))
    layout = WeightLayout(flat[0], flat[1], flat[2], tuple(flat[end:]))
    return layout, BitStream(index, (flat[3], flat[4], flat[5]), parts)
