"""The functions that rebuild a dense weight from its tiles, in standard operators on constants alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.tiles.subwords import subwords_of

DOMAIN = "tightc"
REBUILD = "Rebuild"
# `values` in slot order, five arrays of tightc.tiles.store, then the weight's layout and shape and a zero of its dtype
TENSORS = ("values", "occupied", "select", "lane_starts", "inputs", "filters", "layout", "shape", "zero")
# the same where slots hold digits: magnitudes, signs and places of these, as bits in bytes, in place of values
DIGIT_TENSORS = ("digits", "signs", "places", *TENSORS[1:])


def rebuild_digits(bits: int) -> str:
    """Name of the function that rebuilds a weight from digits of so many bits."""
    return f"Rebuild{bits}BitDigits"


def place_bits(bits: int) -> int:
    """Bits that say which of a weight's digits one is."""
    return (subwords_of(bits) - 1).bit_length()


def rebuild(opset: int) -> onnx.FunctionProto:
    """The dense weight from the arrays of `tightc.tiles.store`: slot -> lane's list -> input -> place in the weight."""
    nodes = [
        *_slots(),
        _node("Gather", ["values", "rank"], "slot_values", axis=0),
        # each place of the weight is written at most once, so no reduction is needed and the bits stay
        _node("ScatterElements", ["zeros", "places_flat", "slot_values"], "flat_1", axis=0),
        _node("Slice", ["flat_1", "first", "size"], "flat"),
        _node("Reshape", ["flat", "shape"], "W"),
    ]
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_function(DOMAIN, REBUILD, list(TENSORS), ["W"], nodes, opsets)


def rebuild_of_digits(bits: int, opset: int) -> onnx.FunctionProto:
    """The dense int8 weight from digits of so many bits: a scatter for each place that digits have, and their sum.

    Of one place a weight has one digit, so each scatter writes every place of the weight at most once.
    """
    nodes = [
        *_slots(),
        *_unpacked("digits", bits, "digit"),
        *_unpacked("signs", 1, "sign"),
        *_unpacked("places", place_bits(bits), "place"),
        _node("Mul", ["sign", "number_2"], "sign_2"),
        _node("Sub", ["number_1", "sign_2"], "factor"),
        _node("Mul", ["digit", "factor"], "signed"),
        _cast("zeros", "sum", onnx.TensorProto.INT64),
    ]
    total = "sum"
    for place in range(subwords_of(bits)):
        nodes += [
            _constant(f"place_{place}", np.array(place, np.int64)),
            _constant(f"worth_{place}", np.array(2 ** (bits * place), np.int64)),
            _node("Equal", ["place", f"place_{place}"], f"is_{place}"),
            _node("Where", [f"is_{place}", "places_flat", "size"], f"at_{place}"),
            _node("Mul", ["signed", f"worth_{place}"], f"part_{place}"),
            _node("ScatterElements", ["sum", f"at_{place}", f"part_{place}"], f"parts_{place}", axis=0),
            _node("Add", [total, f"parts_{place}"], f"sum_{place}"),
        ]
        total = f"sum_{place}"
    nodes += [
        _node("Slice", [total, "first", "size"], "flat"),
        _node("Reshape", ["flat", "shape"], "whole"),
        _cast("whole", "W", onnx.TensorProto.INT8),
    ]
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_function(DOMAIN, rebuild_digits(bits), list(DIGIT_TENSORS), ["W"], nodes, opsets)


def _slots() -> list[onnx.NodeProto]:
    """How every rebuilding begins: "rank", the number of each slot's value; "places_flat", where in the weight it goes.

    Every slot of the (tiles, lanes, columns) grid is computed; the empty ones write to a place behind the weight,
    "size", which is then cut off. (NonZero would be shorter, but onnxruntime does not fold it.) "zeros": size + 1.
    """
    return [
        *(_constant(f"number_{i}", np.array(i, np.int64)) for i in (0, 1, 2, 3, 8)),
        _constant("first", np.array([0], np.int64)),
        _constant("last", np.array([-1], np.int64)),
        _constant("lane_axis", np.array([1], np.int64)),
        # occupied bits -> "taken" (tiles, lanes, columns)
        _constant("powers", np.array([1, 2, 4, 8, 16, 32, 64, 128], np.int64)),
        _constant("grid", np.array([0, 0, -1], np.int64)),
        _cast("occupied", "bytes", onnx.TensorProto.INT64),
        _node("Unsqueeze", ["bytes", "last"], "bytes_1"),
        _node("Div", ["bytes_1", "powers"], "shifted"),
        _node("Mod", ["shifted", "number_2"], "bits_8"),
        _node("Reshape", ["bits_8", "grid"], "bits"),
        _cast("bits", "taken", onnx.TensorProto.BOOL),
        # slot -> its number among the taken ones: "rank"
        _node("Reshape", ["bits", "last"], "bits_flat"),
        _node("CumSum", ["bits_flat", "number_0"], "count"),
        _node("Sub", ["count", "number_1"], "rank"),
        # slot -> input: the lane's start plus the select
        _node("Shape", ["bits"], "grid_shape"),
        _node("Gather", ["layout", "number_3"], "select_bits", axis=0),
        _node("Div", ["number_8", "select_bits"], "selects"),
        _node("Max", ["selects", "number_1"], "selects_1"),  # of a byte, or of a larger number
        _node("Range", ["number_0", "selects_1", "number_1"], "select_places"),
        _node("Mul", ["select_places", "select_bits"], "select_shifts"),
        _node("Pow", ["number_2", "select_shifts"], "select_powers"),
        _node("Pow", ["number_2", "select_bits"], "select_range"),
        _cast("select", "select_64", onnx.TensorProto.INT64),
        _node("Unsqueeze", ["select_64", "last"], "select_1"),
        _node("Div", ["select_1", "select_powers"], "select_shifted"),
        _node("Mod", ["select_shifted", "select_range"], "select_each"),
        _node("Reshape", ["select_each", "last"], "select_all"),
        _node("Gather", ["select_all", "rank"], "slot_select", axis=0),
        _node("Reshape", ["slot_select", "grid_shape"], "select_grid"),
        _cast("lane_starts", "starts", onnx.TensorProto.INT64),
        _node("Unsqueeze", ["starts", "last"], "starts_1"),
        _node("Add", ["starts_1", "select_grid"], "positions_all"),
        _node("Where", ["taken", "positions_all", "number_0"], "positions"),
        _cast("inputs", "inputs_64", onnx.TensorProto.INT64),
        _node("Gather", ["inputs_64", "positions"], "slot_inputs", axis=0),
        # (filter, input) -> place in the flat weight; inputs are numbered over all groups, weights within one
        _node("Gather", ["layout", "number_0"], "filter_stride", axis=0),
        _node("Gather", ["layout", "number_1"], "input_stride", axis=0),
        _node("Gather", ["layout", "number_2"], "group_inputs", axis=0),
        _cast("filters", "filters_64", onnx.TensorProto.INT64),
        _node("Mul", ["filters_64", "filter_stride"], "filter_places"),
        _node("Unsqueeze", ["filter_places", "lane_axis"], "filter_places_1"),
        _node("Mod", ["slot_inputs", "group_inputs"], "local_inputs"),
        _node("Mul", ["local_inputs", "input_stride"], "input_places"),
        _node("Add", ["filter_places_1", "input_places"], "places_all"),
        _node("ReduceProd", ["shape"], "size", keepdims=1),
        _node("Where", ["taken", "places_all", "size"], "places_taken"),
        _node("Reshape", ["places_taken", "last"], "places_flat"),
        _node("Add", ["size", "number_1"], "size_1"),
        _node("Expand", ["zero", "size_1"], "zeros"),
    ]


def _unpacked(source: str, width: int, output: str) -> list[onnx.NodeProto]:
    """Values of `width` bits out of bytes, lowest first, one for each slot of the grid: (slots,) int64."""
    return [
        _constant(f"{source}_powers", 2 ** np.arange(0, 8, width, dtype=np.int64)),
        _constant(f"{source}_range", np.array(2**width, np.int64)),
        _cast(source, f"{source}_bytes", onnx.TensorProto.INT64),
        _node("Unsqueeze", [f"{source}_bytes", "last"], f"{source}_bytes_1"),
        _node("Div", [f"{source}_bytes_1", f"{source}_powers"], f"{source}_shifted"),
        _node("Mod", [f"{source}_shifted", f"{source}_range"], f"{source}_each"),
        _node("Reshape", [f"{source}_each", "last"], f"all_{source}"),
        _node("Gather", [f"all_{source}", "rank"], output, axis=0),
    ]


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [output], **attributes)


def _cast(source: str, output: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [output], to=to)


def _constant(output: str, value: NDArray[Any]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [output], value=numpy_helper.from_array(value))
