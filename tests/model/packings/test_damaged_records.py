"""Records of packings that were damaged: what decoding them must refuse by itself, digests aside."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from helpers.products import chain_of
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.file_format.headers import read_headers
from tightc.model.onnx_proto.metadata import DIGESTS, PACKINGS
from tightc.model.onnx_proto.stored_tensors import tensor_values
from tightc.model.packings.metadata import is_permuted, read_packings
from tightc.model.packings.packed_form import _decode_tensors
from tightc.packing.pack import pack
from tightc.packing.unpack import unpack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.tile.array import ArrayShape

OPTIONS = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, method="first-fit", jobs=1)


def with_stream(change: Callable[[str], str], left: int = 0) -> Model:
    """A permuted model with one stream of tiles changed, and without digests but for the last `left` packings.

    Files of tightc 0.2.0 had none.
    """
    model = permute(loaded(models.cnn()), OPTIONS)[0]
    proto = model.copy_proto()
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    del properties[DIGESTS]
    record = json.loads(properties[PACKINGS])
    weights = [header for header in record["weights"].values() if "tiles" in header]
    for header in weights[: len(weights) - left]:
        del header["xxh3"]
    weights[0]["tiles"]["zlib"] = change(weights[0]["tiles"]["zlib"])
    properties[PACKINGS] = json.dumps(record)
    onnx.helper.set_model_props(proto, properties)
    return model.with_proto(proto)


def test_a_stream_comes_back_also_without_digests() -> None:
    model = with_stream(lambda text: text)
    assert len(read_packings(model)) == 3
    assert is_permuted(model) and not is_permuted(loaded(models.cnn()))


def test_a_packing_whose_digest_alone_is_missing_is_refused() -> None:
    with pytest.raises(ModelError, match=r"damaged packing of first .*: it has no digest; copy the file"):
        read_packings(with_stream(lambda text: text, left=2))


@pytest.mark.parametrize("letter", ["!", "\n", " ", "é"])
def test_a_letter_that_is_none_of_base64_is_not_skipped(letter: str) -> None:
    with pytest.raises(ModelError, match=r"the packing of .* is damaged"):
        read_packings(with_stream(lambda text: text[:8] + letter + text[8:]))


@pytest.mark.parametrize("count", [-1, 1])
def test_values_are_as_many_as_occupied_slots(count: int) -> None:
    proto = pack(permute(loaded(models.cnn()), OPTIONS)[0])[0].proto
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


def test_a_layout_without_a_shape_is_refused() -> None:
    """A product over its sides would make a single weight of it."""
    proto = pack(permute(loaded(chain_of([np.full((1, 1), 3, np.float32)])), OPTIONS)[0])[0].proto
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    header = read_headers(proto, "m")["w0"]
    assert _decode_tensors(header, "w0", constants)[1].tolist() == [[3]]
    layout = numpy_helper.to_array(constants["w0.layout"])[:-2]
    damaged = constants | {"w0.layout": numpy_helper.from_array(layout, "w0.layout")}
    with pytest.raises(ValueError, match=r"expected a shape of 1x1 weights, got \(\)"):
        _decode_tensors(header, "w0", damaged)


def test_a_single_weight_in_a_million_comes_back() -> None:
    """A stream of a few bytes for so many zeros is believed."""
    weight = np.zeros((1024, 1024), np.float32)
    weight[1000, 3] = 2
    packed = pack(permute(loaded(chain_of([weight])), OPTIONS)[0])[0]
    (stored,) = (tensor for tensor in unpack(packed)[0].proto.graph.initializer if tensor.name == "w0")
    np.testing.assert_array_equal(tensor_values(stored), weight)


def test_a_record_of_little_but_wide_numbers_is_read() -> None:
    """All slots are in use, and an input number has more than 17 bits."""
    weight = np.zeros((140_000, 8), np.float32)
    inputs = np.arange(5, 140_000, 437)[:320].reshape(8, 40)
    weight[inputs, np.arange(8)[:, None]] = 1
    options = OPTIONS.model_copy(update={"array": ArrayShape(10, 8), "fan_in": 8})
    (packing,) = read_packings(permute(loaded(chain_of([weight])), options)[0]).values()
    assert len(packing.tiles) == 4, "no slot is empty"
    assert sorted(packing.slots()[1].tolist()) == inputs.ravel().tolist()
