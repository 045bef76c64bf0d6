"""The parts of the functions of the packed form that turn the values or subwords of slots into weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Template

from onnx import TensorProto

from tightc.model.file_format.rebuild import ZEROS, WeightLayout, zero_repeats
from tightc.tile.store import BitStream
from tightc.tile.subwords import subwords_of

# each element is written at most once, so no reduction is needed and the weights stay bit-identical
_VALUES = """
    all_values = Concat<axis = 0>($values)
    value_number = Add(count, slot_weight)
    slot_value = GatherElements(all_values, value_number)
    empty = Gather(all_values, zero)
    $blank
    elements = ScatterElements(blank, target, slot_value)
"""

# as Expand, which onnxruntime does not have for bfloat16
_GATHERED = """
    no_element = Expand(zero, element_count)
    blank = GatherElements(all_values, no_element)
"""

# onnxruntime computes with bytes, not with nibbles: "$to" holds the same numbers as "$nibbles"
_BYTES = """
    $to = Cast<to = $byte>($nibbles)
"""

# of weight i: its zero points, each repeated along all axes
_ZEROS = """
    apart_shape_$i = Constant<value = int64[$count] {$apart}>()
    apart_$i = Reshape($zeros, apart_shape_$i)
    repeated_shape_$i = Constant<value = int64[$count] {$repeated}>()
    repeated_$i = Expand(apart_$i, repeated_shape_$i)
    blank_$i = Reshape(repeated_$i, flat_shape)
"""
_NOWHERE = """
    nowhere_shape = Constant<value = int64[1] {1}>()
    blank_nowhere = Reshape(empty, nowhere_shape)
    blank = Concat<axis = 0>($blanks, blank_nowhere)
"""
_NIBBLES = {"int4": (TensorProto.INT4, TensorProto.INT8), "uint4": (TensorProto.UINT4, TensorProto.UINT8)}

_SUBWORDS = """
    digit = tightc.Section(window, powers, stream, digits_start, digits_width, first, slot_weight, count)
    sign = tightc.Section(window, powers, stream, signs_start, signs_width, first, slot_weight, count)
    place = tightc.Section(window, powers, stream, places_start, places_width, first, slot_weight, count)
    sign_2 = Add(sign, sign)
    factor = Sub(one, sign_2)
    signed = Mul(digit, factor)
    sum_0 = Expand(zero, element_count)
"""

# a weight has one subword at each place, so that each of these writes an element at most once
_PLACE = """
    place_$i = Constant<value = $int {$i}>()
    unit_$i = Constant<value = $int {$unit}>()
    at_place_$i = Equal(place, place_$i)
    target_$i = Where(at_place_$i, target, nowhere)
    part_$i = Mul(signed, unit_$i)
    parts_$i = ScatterElements(sum_0, target_$i, part_$i)
    sum_$next = Add(sum_$i, parts_$i)
"""


@dataclass(frozen=True)
class PackedWeight:
    """What a function must know of a packed weight: its `layout` and `stream`, and whether its layout is int32.

    `zeros` is the shape of its zero points where it has several.
    """

    layout: WeightLayout
    stream: BitStream
    int32_layout: bool
    zeros: tuple[int, ...] = ()


@dataclass(frozen=True)
class WeightKind:
    """Weights of which one function rebuilds all: of one `dtype`.

    `subword_bits` is None for whole weights. `several_zero_points`: as packed tensors of their own.
    """

    dtype: str
    subword_bits: int | None = None
    several_zero_points: bool = False


def value_nodes(weights: Sequence[PackedWeight], kind: WeightKind) -> str:
    """Nodes that write the values of whole weights over what weights without a slot are."""
    numbers, text = range(len(weights)), ""
    names = {suffix: [f"{suffix[0]}{i}" for i in numbers] for suffix in ("values", ZEROS)}
    if kind.dtype in _NIBBLES:
        byte = _NIBBLES[kind.dtype][1]
        for suffix, own in names.items():
            if suffix != ZEROS or kind.several_zero_points:
                names[suffix] = [f"byte_{name}" for name in own]
                pairs = zip(own, names[suffix], strict=True)
                text += "".join(
                    Template(_BYTES).substitute(to=to, nibbles=name, byte=byte) for name, to in pairs
                )
    blank = _GATHERED if kind.dtype == "bfloat16" else "blank = Expand(empty, element_count)"
    if kind.several_zero_points:
        blanks = (_repeated_zeros(i, weights[i], names[ZEROS][i]) for i in numbers)
        joined = Template(_NOWHERE).substitute(blanks=_join(f"blank_{i}" for i in numbers))
        blank = "".join((*blanks, joined))
    return text + Template(_VALUES).substitute(values=_join(names["values"]), blank=blank)


def _repeated_zeros(number: int, weight: PackedWeight, zeros: str) -> str:
    """Nodes that repeat the zero points of a weight, which are called `zeros`, to its size."""
    repeats = zero_repeats(weight.zeros, weight.layout.shape)
    pairs = list(zip(weight.zeros, repeats, strict=True))
    return Template(_ZEROS).substitute(
        i=number,
        zeros=zeros,
        count=2 * len(pairs),
        apart=_join(f"{side}, 1" for side, _ in pairs),
        repeated=_join(f"{side}, {times}" for side, times in pairs),
    )


def output_nodes(number: int, kind: WeightKind) -> str:
    """Nodes that make the elements of a weight the weight."""
    if kind.subword_bits is not None or kind.dtype not in _NIBBLES:
        return f"\nw{number} = Reshape(f{number}, s{number})"
    nibbles = _NIBBLES[kind.dtype][0]
    return f"\nb{number} = Reshape(f{number}, s{number})\nw{number} = Cast<to = {nibbles}>(b{number})"


def subword_nodes(bits: int) -> str:
    """Nodes that add up the subwords of each weight, as int8 "elements"."""
    places = subwords_of(bits)
    sums = [Template(_PLACE).safe_substitute(i=i, next=i + 1, unit=2 ** (bits * i)) for i in range(places)]
    return f"{_SUBWORDS}{''.join(sums)}    elements = Cast<to = $int8>(sum_{places})\n"


def _join(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
