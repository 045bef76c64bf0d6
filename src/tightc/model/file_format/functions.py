"""The model-local functions of the packed form, in standard operators on constants.

One function rebuilds all packed weights of a kind, so that many layers add few nodes: the time in which onnxruntime
loads a model grows with the square of the nodes that it inlines and folds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from string import Template

import onnx
from onnx import TensorProto, parser

from tightc.model.file_format.rebuild import (
    DOMAIN,
    DOMAIN_VERSION,
    LAYOUT_HEAD,
    SUBWORD_SECTIONS,
    SUBWORD_TENSORS,
    TENSORS,
    WeightLayout,
)
from tightc.tile.store import SECTIONS, BitStream
from tightc.tile.subwords import subwords_of

_MAX_INT32 = 2**31 - 1
_INT32_WIDTH = 17  # bits of the widest number that three bytes hold wherever in the first it begins
_INT64_WIDTH = 31
_SPLIT_COUNTS = 18  # opset from which on Split says how many parts it makes

# "owner" of each number, where owner i has counts[i] of them, 1 or more; "first" number of each owner; "number" from 0
_REPEAT = """
Repeat (counts) => (owner, first, number) {
    zero = Constant<value = $int {0}>()
    one = Constant<value = $int {1}>()
    first = CumSum<exclusive = 1>(counts, zero)
    total = ReduceSum<keepdims = 0>(counts)
    number = Range(zero, total, one)
    zeros = Mul(number, zero)
    step = Min(first, one)
    steps = ScatterElements(zeros, first, step)
    owner = CumSum(steps, zero)
}"""

# a section of all streams: of each, "stream" and "start" in bytes, and "width"; "first" and "owner" as of Repeat
_SECTION = """
Section (window, powers, stream, start, width, first, owner, number) => (read) {
    eight = Constant<value = $int {8}>()
    first_byte = Add(stream, start)
    first_bit = Mul(first_byte, eight)
    bits_before = Mul(first, width)
    shift = Sub(first_bit, bits_before)
    own_width = GatherElements(width, owner)
    own_shift = GatherElements(shift, owner)
    bits = Mul(number, own_width)
    bit = Add(bits, own_shift)
    byte = Div(bit, eight)
    rest = Mod(bit, eight)
    from_byte = GatherElements(window, byte)
    divisor = GatherElements(powers, rest)
    from_bit = Div(from_byte, divisor)
    limits = GatherElements(powers, width)
    limit = GatherElements(limits, owner)
    read = Mod(from_bit, limit)
}"""

# the joined streams as "bytes"; those after them have all bits set
_STREAMS = """
    zero = Constant<value = $int {0}>()
    one = Constant<value = $int {1}>()
    seven = Constant<value = $int {7}>()
    eight = Constant<value = $int {8}>()
    two_8 = Constant<value = uint8 {2}>()
    last = Constant<value = int64 {-1}>()
    flat_shape = Constant<value = int64[1] {-1}>()
    head_shape = Constant<value = int64[2] {-1, $head}>()
    powers = Constant<value = $int[$power_count] {$powers}>()
    padding = Constant<value = uint8[8] {255, 255, 255, 255, 255, 255, 255, 255}>()
    bytes = Concat<axis = 0>($index, padding)
    size_64 = Size(bytes)
    size = Cast<to = $type>(size_64)
    bit_count = Mul(size, eight)
    last_bit = Sub(bit_count, one)
"""

# at each byte, the one $i after it
_BYTE = """
    from_$i = Constant<value = int64[1] {$i}>()
    to_$i = Constant<value = int64[1] {$end}>()
    bytes_$i = Slice(bytes, from_$i, to_$i)
    byte_$i = Cast<to = $type>(bytes_$i)
"""

# "$sum": at each byte, the number in it and the $i after it
_MORE_BYTES = """
    unit_of_byte_$i = Constant<value = $int {$unit}>()
    part_of_byte_$i = Mul(byte_$i, unit_of_byte_$i)
    $sum = Add($before, part_of_byte_$i)
"""

# the joined "layout" -> the shape of each weight, and the other numbers by kind, each (weights,)
_LAYOUTS = """
    parts = Constant<value = int64[$part_count] {$parts}>()
    $parts_of_layout = Split(layout, parts)
    heads = Concat<axis = 0>($heads)
    by_weight_64 = Reshape(heads, head_shape)
    by_weight = Cast<to = $type>(by_weight_64)
    by_kind = Transpose(by_weight)
    kinds = Reshape(by_kind, flat_shape)
    $kinds = Split$kind_count(kinds)
    sizes = Constant<value = int64[$size_count] {$sizes}>()
    sizes_int = Cast<to = $type>(sizes)
    first_element = CumSum<exclusive = 1>(sizes_int, zero)
    nowhere = Gather(first_element, last)
    element_count = ReduceSum<keepdims = 1>(sizes)
    end_bits = Mul(${last_section}_count, ${last_section}_width)
    end_bits_7 = Add(end_bits, seven)
    end_bytes = Div(end_bits_7, eight)
    stream_size = Add(${last_section}_start, end_bytes)
    stream = CumSum<exclusive = 1>(stream_size, zero)
"""

# lanes, columns and lane inputs of all tiles of all weights
_TILES = """
    lane_count = Mul(tiles, lanes)
    lane_weight, first_lane, lane = tightc.Repeat(lane_count)
    lane_lengths = tightc.Section(window, powers, stream, lengths_start, lengths_width, first_lane, lane_weight, lane)
    lane_in_use = Cast<to = $bool>(lane_lengths)
    lane_start = CumSum<exclusive = 1>(lane_lengths, zero)
    lane_columns = GatherElements(columns, lane_weight)
    slot_lane, lane_slot, slot = tightc.Repeat(lane_columns)
    column_count = Mul(tiles, columns)
    column_weight, first_column, column = tightc.Repeat(column_count)
    column_filter_1 = tightc.Section(
        window, powers, stream, filters_start, filters_width, first_column, column_weight, column)
    column_in_use = Cast<to = $bool>(column_filter_1)
    column_filter = Sub(column_filter_1, one)
    column_stride = GatherElements(filter_stride, column_weight)
    column_place = Mul(column_filter, column_stride)
    column_first_element = GatherElements(first_element, column_weight)
    column_element = Add(column_place, column_first_element)
    input_weight, first_input, input = tightc.Repeat(inputs_count)
    input_number = tightc.Section(window, powers, stream, inputs_start, inputs_width, first_input, input_weight, input)
    input_group = GatherElements(group_inputs, input_weight)
    input_local = Mod(input_number, input_group)
    input_step = GatherElements(input_stride, input_weight)
    input_in_group = Mul(input_local, input_step)
    input_of_group = Div(input_number, input_group)
    inputs_after_first = Sub(group_inputs, one)
    elements_between = Mul(input_stride, inputs_after_first)
    inputs_first = Equal(filter_stride, one)
    group_stride = Where(inputs_first, elements_between, zero)
    group_step = GatherElements(group_stride, input_weight)
    group_place = Mul(input_of_group, group_step)
    input_place = Add(input_in_group, group_place)
"""

# slots of all tiles: "target", the element that each writes; "count" of those in use up to each. A slot that is not in
# use reads some number of the stream, and writes nowhere; where all are in use, the bits after the streams say so.
_SLOTS = """
    slot_weight = GatherElements(lane_weight, slot_lane)
    own_first_lane = GatherElements(first_lane, lane_weight)
    own_lane = Sub(lane, own_first_lane)
    own_lanes = GatherElements(lanes, lane_weight)
    own_tile = Div(own_lane, own_lanes)
    own_columns = Mul(own_tile, lane_columns)
    own_first_column = GatherElements(first_column, lane_weight)
    tile_column = Add(own_first_column, own_columns)
    to_column = Sub(tile_column, lane_slot)
    slot_to_column = GatherElements(to_column, slot_lane)
    slot_column = Add(slot, slot_to_column)
    first_slot = GatherElements(lane_slot, first_lane)
    occupied_byte = Add(stream, occupied_start)
    occupied_bit = Mul(occupied_byte, eight)
    to_bit = Sub(occupied_bit, first_slot)
    all_in_use = Equal(occupied_count, one)
    to_bit_or_end = Where(all_in_use, bit_count, to_bit)
    slot_to_bit = GatherElements(to_bit_or_end, slot_weight)
    slot_bit = Add(slot, slot_to_bit)
    bit = Min(slot_bit, last_bit)
    byte = Div(bit, eight)
    rest = Mod(bit, eight)
    rest_8 = Cast<to = $uint8>(rest)
    from_byte = GatherElements(bytes, byte)
    from_bit = BitShift<direction = "RIGHT">(from_byte, rest_8)
    odd = Mod(from_bit, two_8)
    occupied = Cast<to = $bool>(odd)
    in_lane = GatherElements(lane_in_use, slot_lane)
    in_column = GatherElements(column_in_use, slot_column)
    in_use = And(in_lane, in_column)
    taken = And(in_use, occupied)
    ones = Cast<to = $type>(taken)
    count = CumSum(ones, zero)
    rank_0 = CumSum<exclusive = 1>(select_count, zero)
    first = Add(rank_0, one)
    select = tightc.Section(window, powers, stream, select_start, select_width, first, slot_weight, count)
    slot_start = GatherElements(lane_start, slot_lane)
    any_position = Add(slot_start, select)
    position = Where(taken, any_position, zero)
    slot_input = GatherElements(input_place, position)
    slot_filter = GatherElements(column_element, slot_column)
    element = Add(slot_filter, slot_input)
    target = Where(taken, element, nowhere)
"""

# each element is written at most once, so no reduction is needed and the weights stay bit-identical
_VALUES = """
    all_values = Concat<axis = 0>($values)
    value_number = Add(count, slot_weight)
    slot_value = GatherElements(all_values, value_number)
    empty = Gather(all_values, zero)
    blank = Expand(empty, element_count)
    elements = ScatterElements(blank, target, slot_value)
"""

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
    """What a function must know of a packed weight: its `layout` and `stream`, and whether its layout is int32."""

    layout: WeightLayout
    stream: BitStream
    int32_layout: bool


@dataclass(frozen=True)
class RebuildGroup:
    """The packed weights that one node rebuilds, by the function of that `name`; those with an int32 layout are last.

    `subword_bits` is None for whole weights.
    """

    name: str
    subword_bits: int | None
    weights: tuple[PackedWeight, ...]


def needs_int64(weights: Iterable[PackedWeight]) -> bool:
    """Whether positions of bits, slots or elements, summed over `weights`, may exceed int32, or a number 17 bits."""
    bits, elements, numbers, width = 64, 0, 0, 0
    for weight in weights:
        counts = [count for _, count, _ in weight.stream.sections]
        bits += 8 * len(weight.stream.content)
        elements += prod(weight.layout.shape)
        numbers += max(prod(weight.stream.grid), *counts)
        width = max(width, *(own for _, _, own in weight.stream.sections))
    return max(bits + numbers, elements, numbers * _INT32_WIDTH) >= _MAX_INT32 or width > _INT32_WIDTH


def packed_functions(groups: Sequence[RebuildGroup], opset: int) -> list[onnx.FunctionProto]:
    """The functions that rebuild the weights of `groups`, in standard operators of `opset`."""
    wide = needs_int64(weight for group in groups for weight in group.weights)
    own = _parse(_REPEAT, opset, wide), _parse(_SECTION, opset, wide)
    return [*own, *(_rebuild_function(group, opset, wide) for group in groups)]


def _rebuild_function(group: RebuildGroup, opset: int, wide: bool) -> onnx.FunctionProto:
    """The function of a group. Inputs: the packed tensors of each weight in turn; outputs: the weights."""
    numbers = range(len(group.weights))
    suffixes = TENSORS if group.subword_bits is None else SUBWORD_TENSORS
    inputs = _join(f"{suffix[0]}{i}" for i in numbers for suffix in suffixes)
    outputs = _join(f"w{i}" for i in numbers)
    body = [
        _STREAMS,
        _window(wide),
        _join_layouts(group.weights),
        _LAYOUTS,
        _TILES,
        _SLOTS,
        _values(group) if group.subword_bits is None else _subwords(group.subword_bits),
        f"{_join(f'f{i}' for i in numbers)}, beyond = Split(elements, sizes)",
        *(f"\nw{i} = Reshape(f{i}, s{i})" for i in numbers),
    ]
    text = f"{group.name} ({inputs}) => ({outputs}) {{{''.join(body)}\n}}"
    return _parse(text, opset, wide, **_replacements(group, opset))


def _replacements(group: RebuildGroup, opset: int) -> dict[str, object]:
    """What the body of a group's function says of its weights."""
    numbers = range(len(group.weights))
    sections = SECTIONS if group.subword_bits is None else (*SECTIONS, *SUBWORD_SECTIONS)
    fields = ("start", "count", "width")
    kinds = [*LAYOUT_HEAD, *(f"{section}_{field}" for section in sections for field in fields)]
    shapes = [weight.layout.shape for weight in group.weights]
    return {
        "index": _join(f"i{i}" for i in numbers),
        "values": _join(f"v{i}" for i in numbers),
        "head": len(kinds),
        "heads": _join(f"h{i}" for i in numbers),
        "part_count": 2 * len(shapes),
        "parts": _join(f"{len(kinds)}, {len(shape)}" for shape in shapes),
        "parts_of_layout": _join(f"h{i}, s{i}" for i in numbers),
        "kinds": _join(kinds),
        "kind_count": f"<num_outputs = {len(kinds)}>" if opset >= _SPLIT_COUNTS else "",
        "size_count": len(shapes) + 1,
        "sizes": _join([*map(prod, shapes), 1]),  # one more, which empty slots write
        "last_section": sections[-1],
    }


def _window(wide: bool) -> str:
    """Nodes that compute "window": at each byte, the number in it and the bytes after it that a number may take."""
    count = 5 if wide else 3
    text = "".join(Template(_BYTE).safe_substitute(i=i, end=i - count) for i in range(count))
    sums = ["byte_0", *(f"window_{i}" for i in range(1, count - 1)), "window"]
    for i in range(1, count):
        text += Template(_MORE_BYTES).safe_substitute(i=i, unit=256**i, before=sums[i - 1], sum=sums[i])
    return text


def _join_layouts(weights: Sequence[PackedWeight]) -> str:
    """Nodes that join the layouts, those of either type first, into "layout"."""
    text, joined = "", []
    for name, wanted in (("uint16", False), ("int32", True)):
        layouts = [f"l{i}" for i, weight in enumerate(weights) if weight.int32_layout is wanted]
        if layouts:
            text += f"    {name} = Concat<axis = 0>({_join(layouts)})\n"
            text += f"    {name}_64 = Cast<to = $int64>({name})\n"
            joined.append(f"{name}_64")
    return f"{text}    layout = Concat<axis = 0>({_join(joined)})"


def _values(group: RebuildGroup) -> str:
    """Nodes that put the values into their elements; onnxruntime has no Expand for bfloat16, but it gathers."""
    blank = "blank = Expand(empty, element_count)"
    gathered = "no_element = Expand(zero, element_count)\n    blank = GatherElements(all_values, no_element)"
    return _VALUES.replace(blank, gathered) if "Bfloat16" in group.name else _VALUES


def _subwords(bits: int) -> str:
    """Nodes that add up the subwords of each weight, as int8 "elements"."""
    places = subwords_of(bits)
    sums = [Template(_PLACE).safe_substitute(i=i, next=i + 1, unit=2 ** (bits * i)) for i in range(places)]
    return f"{_SUBWORDS}{''.join(sums)}    elements = Cast<to = $int8>(sum_{places})\n"


def _parse(text: str, opset: int, wide: bool, **replacements: object) -> onnx.FunctionProto:
    """The function of `text`, with integers of 64 bits if `wide`, else of 32, and numbers for names of inner values."""
    head = f'<domain: "{DOMAIN}", opset_import: ["": {opset}, "{DOMAIN}": {DOMAIN_VERSION}]>'
    width = _INT64_WIDTH if wide else _INT32_WIDTH
    filled = Template(text).substitute(
        replacements,
        int="int64" if wide else "int32",
        type=TensorProto.INT64 if wide else TensorProto.INT32,
        int64=TensorProto.INT64,
        int8=TensorProto.INT8,
        uint8=TensorProto.UINT8,
        bool=TensorProto.BOOL,
        power_count=width + 1,
        powers=_join(2**i for i in range(width + 1)),
    )
    function = parser.parse_function(head + filled)
    _shorten(function)
    return function


def _shorten(function: onnx.FunctionProto) -> None:
    """Number the inner values, and remove empty fields that the parser set, in place: files stay small."""
    own = {name: name for name in (*function.input, *function.output)}
    fixed = len(own)
    for node in function.node:
        node.input[:] = [own[name] for name in node.input]
        node.output[:] = [own.setdefault(name, str(len(own) - fixed)) for name in node.output]
        if not node.domain:
            node.ClearField("domain")
        for attribute in node.attribute:
            if attribute.HasField("t"):
                attribute.t.ClearField("name")


def _join(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
