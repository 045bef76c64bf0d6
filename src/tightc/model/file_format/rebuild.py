"""ONNX functions that rebuild a dense weight from its packed tensors, in standard operators on constants.

The names in their bodies are part of the file format: they stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.tile.store import SECTIONS, BitStream
from tightc.tile.subwords import subwords_of

DOMAIN = "tightc"
REBUILD = "Rebuild"
# a zero and then the weights in slot order; the stream of tightc.tile.store; a `WeightLayout` as numbers
TENSORS = ("values", "index", "layout")
# where slots hold subwords, these are in further sections of the stream
SUBWORD_TENSORS = TENSORS[1:]
SUBWORD_SECTIONS = ("digits", "signs", "places")
_SECTION = "Section"
_SECTION_INPUTS = ["bits", "layout", "at", "end", "powers", "first", "eight"]
_LISTS = (("first", 0), ("one", 1), ("eight", 8), ("last", -1), ("far", 2**31))
_GRID, _FIRST_SECTION = 3, 6


@dataclass(frozen=True)
class WeightLayout:
    """Where the weights of a stream go in the dense weight tensor.

    `filter_stride`, `input_stride`: elements from one filter or input to the next in the flat tensor. `group_inputs`:
    inputs of one group. `shape`: of the tensor.
    """

    filter_stride: int
    input_stride: int
    group_inputs: int
    shape: tuple[int, ...]


def is_packed_form(proto: onnx.ModelProto) -> bool:
    """Whether `proto` has packed nodes, or functions of the packed form, which some tools drop."""
    return any(part.domain == DOMAIN for part in (*proto.functions, *proto.graph.node))


def subword_rebuild_name(bits: int) -> str:
    """Name of the function that rebuilds a weight from subwords of `bits`."""
    return f"Rebuild{bits}BitDigits"


def subword_index_bits(bits: int) -> int:
    """Bits that tell which subword of its weight a subword of `bits` is."""
    return (subwords_of(bits) - 1).bit_length()


def encode_layout(encode_layout: WeightLayout, stream: BitStream) -> NDArray[np.integer]:
    """The tensor by which a function reads `stream`: (numbers,) uint16, or int32 where they need that.

    In order: the strides and the inputs of a group of `layout`; the grid of the stream; start, count and width of each
    section; the shape of the weight.
    """
    sections = [number for part in stream.sections for number in part]
    placement = (encode_layout.filter_stride, encode_layout.input_stride, encode_layout.group_inputs)
    numbers = [*placement, *stream.grid, *sections, *encode_layout.shape]
    return np.array(numbers, np.uint16 if max(numbers) < 2**16 else np.int32)


def decode_layout(
    numbers: NDArray[np.integer], index: NDArray[np.uint8], sections: int
) -> tuple[WeightLayout, BitStream]:
    """The inverse of `encode_layout`, for a stream with content `index` and so many `sections`.

    ValueError where there are too few `numbers`.
    """
    flat = [int(number) for number in numbers]
    end = _FIRST_SECTION + 3 * sections
    if len(flat) < end:
        raise ValueError("the layout is too short")
    parts = tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(_FIRST_SECTION, end, 3))
    encode_layout = WeightLayout(flat[0], flat[1], flat[2], tuple(flat[end:]))
    return encode_layout, BitStream(index, (flat[3], flat[4], flat[5]), parts)


def rebuild_function(opset: int) -> onnx.FunctionProto:
    """The function, in operators of `opset`, that rebuilds a weight: slot -> input of its lane -> element."""
    nodes = [
        *_slots(SECTIONS),
        _node("Gather", ["values", "first"], "zero", axis=0),  # Slice would not be folded in float16
        _node("Gather", ["values", "count"], "slot_values", axis=0),
        _node("Expand", ["zero", "size_1"], "zeros"),
        # each element is written at most once, so no reduction is needed and the weight stays bit-identical
        _node("ScatterElements", ["zeros", "targets", "slot_values"], "flat_1", axis=0),
        _node("Slice", ["flat_1", "first", "size"], "flat"),
        _node("Reshape", ["flat", "shape"], "W"),
    ]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_function(DOMAIN, REBUILD, list(TENSORS), ["W"], nodes, opset_imports=opsets)


def subword_rebuild_function(bits: int, opset: int) -> onnx.FunctionProto:
    """The function, in operators of `opset`, that rebuilds an int8 weight from subwords of `bits`.

    It sums one scatter for each subword position. A weight has one subword at each position, so that each scatter
    writes an element at most once.
    """
    nodes = [
        *_slots((*SECTIONS, *SUBWORD_SECTIONS)),
        *(_node("Gather", [f"{name}_all", "rank"], name, axis=0) for name in SUBWORD_SECTIONS),
        _node("Add", ["signs", "signs"], "sign_2"),
        _node("Sub", ["one", "sign_2"], "factor"),
        _node("Mul", ["digits", "factor"], "signed"),
        _node("Expand", ["first", "size_1"], "zeros"),
    ]
    total = "zeros"
    for place in range(subwords_of(bits)):
        nodes += [
            _constant(f"place_{place}", np.array(place, np.int64)),
            _constant(f"worth_{place}", np.array(2 ** (bits * place), np.int64)),
            _node("Equal", ["places", f"place_{place}"], f"is_{place}"),
            _node("Where", [f"is_{place}", "targets", "size"], f"at_{place}"),
            _node("Mul", ["signed", f"worth_{place}"], f"part_{place}"),
            _node("ScatterElements", ["zeros", f"at_{place}", f"part_{place}"], f"parts_{place}", axis=0),
            _node("Add", [total, f"parts_{place}"], f"sum_{place}"),
        ]
        total = f"sum_{place}"
    nodes += [
        _node("Slice", [total, "first", "size"], "flat"),
        _node("Reshape", ["flat", "shape"], "whole"),
        _cast("whole", "W", onnx.TensorProto.INT8),
    ]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_function(
        DOMAIN, subword_rebuild_name(bits), list(SUBWORD_TENSORS), ["W"], nodes, opset_imports=opsets
    )


def section_function(opset: int) -> onnx.FunctionProto:
    """The function, in operators of `opset`, that reads a section of the stream: (count,) int64.

    The tensor `layout` describes the section between `at` and `end`.
    """
    split = helper.make_node("Split", ["spec"], ["start", "count", "width"], axis=0)
    if opset >= 18:
        split.attribute.append(helper.make_attribute("num_outputs", 3))
    nodes = [
        _node("Slice", ["layout", "at", "end"], "spec"),
        split,
        _node("Mul", ["start", "eight"], "first_bit"),
        _node("Mul", ["count", "width"], "bits_used"),
        _node("Add", ["first_bit", "bits_used"], "last_bit"),
        _node("Slice", ["bits", "first_bit", "last_bit"], "own"),
        _node("Concat", ["count", "width"], "table", axis=0),
        _node("Reshape", ["own", "table"], "apart"),
        _cast("apart", "apart_32", onnx.TensorProto.INT32),
        _node("Slice", ["powers", "first", "width"], "powers_used"),
        _node("MatMul", ["apart_32", "powers_used"], "numbers_32"),
        _cast("numbers_32", "numbers", onnx.TensorProto.INT64),
    ]
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_function(DOMAIN, _SECTION, _SECTION_INPUTS, ["numbers"], nodes, opset_imports=opsets)


def _stream_bits() -> list[onnx.NodeProto]:
    """Nodes that unpack the stream into "bits_all", lowest bit of a byte first, and compute "powers" of two.

    Constants are short int64 tensors: onnxruntime merges equal ones, and so rebuilds a shared weight once.
    """
    return [
        *(_constant(f"number_{i}", np.array(i, np.int64)) for i in (0, 1, 2, 8, 31)),
        *(_constant(name, np.array([i], np.int64)) for name, i in _LISTS),
        _node("Range", ["number_0", "number_8", "number_1"], "shifts_64"),
        _cast("shifts_64", "shifts", onnx.TensorProto.UINT8),
        _cast("number_2", "two", onnx.TensorProto.UINT8),
        _node("Unsqueeze", ["index", "last"], "bytes"),
        _node("BitShift", ["bytes", "shifts"], "shifted", direction="RIGHT"),
        _node("Mod", ["shifted", "two"], "bits_8"),
        _node("Reshape", ["bits_8", "last"], "bits_all"),
        _node("Range", ["number_0", "number_31", "number_1"], "exponents"),
        _node("Pow", ["number_2", "exponents"], "powers_64"),
        _cast("powers_64", "powers", onnx.TensorProto.INT32),
    ]


def _slots(sections: Sequence[str]) -> list[onnx.NodeProto]:
    """Nodes that both rebuild functions share: "count", the number of each slot's value from 1, and "targets".

    "targets" is the element that each slot of the (tiles, lanes, columns) grid writes. Empty slots write to an extra
    element at "size", which is then cut off. (NonZero would be shorter, but onnxruntime does not fold it.)
    """
    return [
        *_stream_bits(),
        _cast("layout", "layout_64", onnx.TensorProto.INT64),
        *_read_sections(sections),
        # lanes, columns and bits -> "taken", the occupied slots (tiles, lanes, columns); slot -> its number among them
        _node("Gather", ["layout_64", "at_bits"], "bits_count", axis=0),
        _node("Equal", ["bits_count", "one"], "full"),
        _node("Where", ["full", "one", "grid"], "bits_grid"),
        _node("Reshape", ["occupied_all", "bits_grid"], "bits"),
        _node("Reshape", ["lengths_all", "lane_grid"], "lengths"),
        _node("Reshape", ["filters_all", "column_grid"], "filters"),
        _node("Mul", ["lengths", "filters"], "used"),
        _node("Mul", ["used", "bits"], "marks"),
        _cast("marks", "taken", onnx.TensorProto.BOOL),
        _cast("taken", "ones", onnx.TensorProto.INT64),
        _node("Reshape", ["ones", "last"], "ones_flat"),
        _node("CumSum", ["ones_flat", "number_0"], "count"),
        _node("Sub", ["count", "number_1"], "rank"),
        # slot -> input: the start of the lane's list of inputs, plus the select
        _node("Gather", ["select_all", "rank"], "slot_select", axis=0),
        _node("Reshape", ["slot_select", "grid"], "select_grid"),
        _node("CumSum", ["lengths_all", "number_0"], "starts_all", exclusive=1),
        _node("Reshape", ["starts_all", "lane_grid"], "starts"),
        _node("Add", ["starts", "select_grid"], "positions_all"),
        _node("Where", ["taken", "positions_all", "number_0"], "positions"),
        _node("Gather", ["inputs_all", "positions"], "slot_inputs", axis=0),
        # (filter, input) -> element of the flat weight; inputs are numbered over all groups, weights within one
        _node("Gather", ["layout_64", "number_0"], "filter_stride", axis=0),
        _node("Gather", ["layout_64", "number_1"], "input_stride", axis=0),
        _node("Gather", ["layout_64", "number_2"], "group_inputs", axis=0),
        _node("Sub", ["filters", "one"], "filters_0"),
        _node("Mul", ["filters_0", "filter_stride"], "filter_places"),
        _node("Mod", ["slot_inputs", "group_inputs"], "local_inputs"),
        _node("Mul", ["local_inputs", "input_stride"], "input_places"),
        _node("Add", ["filter_places", "input_places"], "targets_all"),
        _node("ReduceProd", ["shape"], "size", keepdims=1),
        _node("Where", ["taken", "targets_all", "size"], "targets_taken"),
        _node("Reshape", ["targets_taken", "last"], "targets"),
        _node("Add", ["size", "one"], "size_1"),
    ]


def _read_sections(sections: Sequence[str]) -> list[onnx.NodeProto]:
    """Nodes that read the tensor "layout" ("grid", "lane_grid", "column_grid", "shape") and each section."""
    nodes = [
        _constant(f"section_{i}", np.array([_FIRST_SECTION + 3 * i], np.int64))
        for i in range(len(sections) + 1)
    ]
    for i, name in enumerate(sections):
        inputs = ["bits_all", "layout_64", f"section_{i}", f"section_{i + 1}", "powers", "first", "eight"]
        nodes.append(helper.make_node(_SECTION, inputs, [f"{name}_all"], domain=DOMAIN))
    return [
        *nodes,
        _constant("at_bits", np.array([_FIRST_SECTION + 1], np.int64)),
        _constant("at_grid", np.array([_GRID], np.int64)),
        _constant("at_columns", np.array([_FIRST_SECTION - 1], np.int64)),
        _node("Slice", ["layout_64", "at_grid", "section_0"], "grid"),
        _node("Slice", ["layout_64", "at_grid", "at_columns"], "tiles_and_lanes"),
        _node("Concat", ["tiles_and_lanes", "one"], "lane_grid", axis=0),
        _node("Gather", ["layout_64", "at_grid"], "tiles", axis=0),
        _node("Gather", ["layout_64", "at_columns"], "columns", axis=0),
        _node("Concat", ["tiles", "one", "columns"], "column_grid", axis=0),
        _node("Slice", ["layout_64", f"section_{len(sections)}", "far"], "shape"),
    ]


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [output], **attributes)


def _cast(source: str, output: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [output], to=to)


def _constant(output: str, value: NDArray[Any]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [output], value=numpy_helper.from_array(value))
