"""The layer of the wave picture: two tiles of a 3x3 array with a fan-in of 2, and four vectors."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper, parser

from tightc.model.file import Model
from tightc.model.packings.metadata import with_packings
from tightc.tile.array import ArrayShape
from tightc.tile.packing import EMPTY, Packing, tile_of_slots

ARRAY, FAN_IN, VECTORS = ArrayShape(3, 3), 2, 4

# the input that each slot multiplies, (tiles, lanes, columns); column c has filter c
SLOTS = np.array([[[0, 1, 1], [3, 2, 3], [4, 4, 5]], [[6, 6, 7], [8, 9, EMPTY], [11, 10, 11]]], np.int32)
# the weight in each slot; 0 for an empty one
WEIGHTS = np.array([[[2, -1, 3], [1, 3, -2], [-3, 2, 1]], [[3, 1, -2], [-1, 2, 0], [2, -3, 1]]], np.int8)
# the int8 activations, (vectors, inputs)
ACTIVATIONS = np.array(
    [
        [1, 4, 2, 0, 5, 3, 7, 1, 2, 6, 0, 4],
        [3, 0, 6, 2, 1, 8, 2, 5, 4, 1, 3, 0],
        [5, 2, 1, 7, 3, 0, 4, 6, 1, 3, 5, 2],
        [0, 6, 3, 4, 2, 1, 5, 0, 8, 2, 1, 7],
    ],
    np.int8,
)

_NETWORK = """<ir_version: 9, opset_import: ["" : 17]>
tiles (float[4, 12] x) => (float[4, 3] y) {
    q = QuantizeLinear(x, one, zero)
    d = DequantizeLinear(q, one, zero)
    v = DequantizeLinear<axis = 0>(w, ones, zeros)
    [layer] a = Gemm<transB = 1>(d, v)
    p = QuantizeLinear(a, one, zero)
    y = DequantizeLinear(p, one, zero)
}"""


def example() -> Model:
    """The layer with its tiles."""
    filters, inputs = ARRAY.columns, ACTIVATIONS.shape[1]
    matrix = np.zeros((filters, inputs), np.int8)
    used = SLOTS != EMPTY
    matrix[np.nonzero(used)[2], SLOTS[used]] = WEIGHTS[used]
    tensors = {
        "w": matrix,
        "one": np.float32(1),
        "zero": np.int8(0),
        "ones": np.ones(filters, np.float32),
        "zeros": np.zeros(filters, np.int8),
    }
    proto = parser.parse_model(_NETWORK)
    for name, tensor in tensors.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(tensor), name))
    onnx.checker.check_model(proto, full_check=True)
    numbers = np.arange(filters, dtype=np.int32)
    tiles = tuple(tile_of_slots(numbers, slots) for slots in SLOTS)
    packing = Packing("picture", ARRAY, FAN_IN, filters, inputs, 1, tiles)
    return with_packings(Model(proto, "example"), {"w": packing})
