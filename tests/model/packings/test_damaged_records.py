"""Records of packings that were damaged: what decoding them must refuse by itself, digests aside."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np
import pytest
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.model.file_format.headers import read_headers
from tightc.model.packings.metadata import _decode_stream, _encode_stream, decode_packing, encode_header
from tightc.model.packings.packed_form import _decode_tensors
from tightc.packing.pack import pack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.tile.array import ArrayShape
from tightc.tile.packing import Packing, Tile
from tightc.tile.store import to_stream

TILE = Tile(
    np.array([0, 1], np.int32),
    np.array([0, 2, 3], np.int32),
    np.array([0, 1, 2], np.int32),
    np.array([[0, 1], [-1, 0]], np.int16),
)
PACKING = Packing("tight", ArrayShape(2, 2), 2, 2, 3, 1, (TILE,))


def test_a_record_comes_back() -> None:
    record = _encode_stream(to_stream(PACKING))
    found = decode_packing(encode_header(PACKING), _decode_stream(record))
    assert encode_header(found) == encode_header(PACKING)
    assert [tile.select.tolist() for tile in found.tiles] == [[[0, 1], [-1, 0]]]
    assert zlib.decompress(base64.b64decode(record["zlib"])) == to_stream(PACKING).content.tobytes()


@pytest.mark.parametrize("letter", ["!", "\n", " ", "é"])
def test_a_letter_that_is_none_of_base64_is_not_skipped(letter: str) -> None:
    record = _encode_stream(to_stream(PACKING))
    text = record["zlib"]
    with pytest.raises((binascii.Error, ValueError)):
        _decode_stream({**record, "zlib": text[:8] + letter + text[8:]})


@pytest.mark.parametrize("count", [-1, 1])
def test_values_are_as_many_as_occupied_slots(count: int) -> None:
    options = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, method="first-fit", jobs=1)
    proto = pack(permute(loaded(models.cnn()), options)[0])[0].proto
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    weight, header = next(iter(read_headers(proto, "m").items()))
    (name,) = (one for one in constants if one.startswith(weight) and one.endswith("values"))
    values = numpy_helper.to_array(constants[name])
    changed = values[:-1] if count < 0 else np.append(values, values[-1:])
    damaged = constants | {name: numpy_helper.from_array(changed, name)}
    _decode_tensors(header, weight, constants)
    expected = len(values) - 1  # the first is that of the empty slots
    with pytest.raises(ValueError, match=f"expected {expected} values .* got {expected + count}"):
        _decode_tensors(header, weight, damaged)
