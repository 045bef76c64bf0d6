"""Recorded packings that claim more than there is end in one sentence, before anything is allocated."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from helpers import models
from helpers.chains import packed_model
from helpers.loading import loaded
from helpers.products import chain_of
from tightc.errors import ModelError
from tightc.model.packings.metadata import read_packings
from tightc.packing.unpack import unpack

BITS = np.ones(1_000_000 // 8, np.uint8) * 255


def encoded(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def recorded(**changes: Any) -> onnx.ModelProto:
    """A network of which one weight has a packing of one slot, with `changes` of its header and its tiles."""
    tiles = {"grid": [1, 1, 1], "sections": [[i, 1, 1] for i in range(5)], "zlib": encoded(b"\1\0\1\1\1")}
    header = {"method": "tight", "array": "8x8", "fan_in": 4, "filters": 8, "inputs": 27, "groups": 1}
    header["tiles"] = tiles | {key: value for key, value in changes.items() if key in tiles}
    header |= {key: value for key, value in changes.items() if key not in tiles}
    proto = models.cnn()
    record = {"common": {}, "weights": {"first_w": header}}
    proto.metadata_props.append(onnx.StringStringEntryProto(key="tightc.packings", value=json.dumps(record)))
    return proto


def reading_fails(proto: onnx.ModelProto, sentence: str) -> None:
    model = loaded(proto)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=sentence):
            read_packings(model)
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()


def test_the_packing_that_is_changed_below_is_read() -> None:
    (packing,) = read_packings(loaded(recorded())).values()
    assert packing.tiles[0].select.shape == (1, 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fan_in": float("inf")}, "expected a finite number of at most 40 digits, got Infinity"),
        ({"fan_in": float("nan")}, "got NaN"),
        ({"fan_in": 10**50}, "got 1000000"),
        ({"fan_in": -1}, "expected an integer from 0 to 2147483647 as fan_in, got -1"),
        ({"fan_in": True}, "as fan_in, got true"),
        ({"fan_in": "4"}, "as fan_in, got 4"),
        ({"fan_in": 4.0}, "as fan_in, got 4.0"),
        ({"filters": 0}, "expected an integer from 1 to 2147483647 as filters, got 0"),
        ({"groups": 3}, "expected a number of filters in 3 equal groups, got 8"),
        ({"method": ["tight"]}, "expected text as method"),
        ({"array": "9" * 5000 + "x9"}, "expected an array as ROWSxCOLUMNS"),
        ({"array": 8}, "expected text as array, got 8"),
        ({"subword_bits": 3}, r"expected one of \(2, 4\) as subword_bits"),
        ({"subword_bits": True}, r"expected one of \(2, 4\) as subword_bits"),
        ({"tensors": 3}, "expected text as tensors, got 3"),
        ({"tiles": []}, "expected an object with zlib"),
        ({"grid": [1, 1]}, "expected 3 integers from 0 as grid"),
        ({"grid": None}, "expected 3 integers from 0 as grid, got null"),
        ({"sections": {}}, "expected a list of sections"),
        ({"sections": [[0, 1]] * 5}, "expected 3 integers from 0 as a section"),
        ({"sections": [[0, 1, 1]] * 4}, "expected 5 sections, got 4"),
        ({"sections": [[0, 2**40, 1], *[[0, 1, 1]] * 4]}, "the sections are not those of 1 tiles of 1x1"),
        ({"sections": [[2**40, 1, 1], *[[0, 1, 1]] * 4]}, "its sections lie apart"),
        (
            {"sections": [[i, 1, 32] for i in range(5)]},
            "bytes in its stream, got fewer|a section without sense",
        ),
        ({"grid": [1, 10**6, 10**6]}, "expected at most 4194304 slots, got 1 tiles of 1000000x1000000"),
        ({"grid": [2**40, 0, 0]}, "the sections are not those of"),
        ({"zlib": "%"}, "its stream is not what zlib and base64 make"),
        ({"zlib": base64.b64encode(b"x" * 9).decode()}, "its stream is not what zlib and base64 make"),
        ({"zlib": encoded(bytes(2**28))}, "expected 5 bytes in its stream, got more"),
        ({"zlib": encoded(b"\1" * 4)}, "expected 5 bytes in its stream, got fewer"),
        ({"zlib": encoded(b"\1" * 6)}, "expected 5 bytes in its stream, got more"),
        ({"zlib": encoded(b"\1" * 5)[:12]}, "its stream is not what|got fewer"),
    ],
)
def test_what_is_claimed_is_checked(changes: dict[str, Any], sentence: str) -> None:
    reading_fails(recorded(**changes), sentence)


def test_a_large_layer_may_claim_64_slots_for_each_of_its_weights() -> None:
    header = {"method": "tight", "array": "8x8", "fan_in": 4, "filters": 1, "inputs": 70_000, "groups": 1}
    header["tiles"] = {"grid": [1, 10**6, 10**6], "sections": [[i, 1, 1] for i in range(5)], "zlib": ""}
    proto = chain_of([np.ones((70_000, 1), np.float32)])
    proto.metadata_props.add(
        key="tightc.packings", value=json.dumps({"common": {}, "weights": {"w0": header}})
    )
    reading_fails(proto, f"expected at most {64 * 70_000} slots, got 1 tiles of 1000000x1000000")


def test_lanes_and_columns_that_are_stored_for_a_terabyte_of_slots() -> None:
    n = 1_000_000
    content = b"\1\1" + BITS.tobytes() * 3
    starts = [0, 1, 2, 2 + n // 8, 2 + 2 * (n // 8)]
    sections = [[starts[0], 1, 1], [starts[1], 1, 1], *([start, n, 1] for start in starts[2:])]
    proto = recorded(
        grid=[1, n, n], sections=sections, zlib=encoded(content), filters=2**31 - 1, inputs=2**31 - 1
    )
    reading_fails(proto, "expected at most 4194304 slots, got 1 tiles of 1000000x1000000")


@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, '{"common": ' * 50_000, "\ud800", '{"common": 1e999}']
)
def test_records_that_are_no_records(text: str) -> None:
    proto = models.cnn()
    proto.metadata_props.add(key="tightc.packings").value = "x"
    proto.metadata_props[-1].value = text.encode(errors="replace").decode()
    with pytest.raises(
        ModelError, match=r"its tightc\.packings is not JSON of packings \(expected .*; run tightc per"
    ):
        read_packings(loaded(proto))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("method", "array", "fan_in", "filters", "inputs", "groups", "subword_bits", "tensors", "zeros")


@given(st.sampled_from([*KEYS, "tiles", "grid", "sections", "zlib"]), JSON)
def test_any_value_of_any_key_is_a_packing_or_a_sentence(key: str, value: Any) -> None:
    try:
        read_packings(loaded(recorded(**{key: value})))
    except ModelError as fault:
        assert str(fault).isprintable()


def packed() -> onnx.ModelProto:
    return packed_model(models.cnn()).copy_proto()


@pytest.mark.parametrize("change", ["values", "index", "layout", "missing", "shape"])
def test_packed_tensors_that_contradict_each_other(change: str) -> None:
    """Without digests, so that the tensors themselves are looked at."""
    proto = packed()
    for entry in proto.metadata_props:
        if entry.key == "tightc.packings":
            record = json.loads(entry.value)
            for header in record["weights"].values():
                header.pop("xxh3", None)
            entry.value = json.dumps(record)
    kept = [entry for entry in proto.metadata_props if entry.key not in ("tightc.digests", "tightc.history")]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    (tensor,) = (
        t for t in proto.graph.initializer if t.name == f"first_w.{change if change in TENSORS else 'layout'}"
    )
    array = numpy_helper.to_array(tensor).copy()
    if change == "layout":
        array[3:6] = 60_000  # tiles, lanes and columns
    elif change == "shape":
        array[-1] = 60_000
    else:
        array = array[: len(array) // 2]
    if change == "missing":
        proto.graph.initializer.remove(tensor)
        proto.graph.node[0].input[:] = [
            name for name in proto.graph.node[0].input if name != "first_w.layout"
        ]
    else:
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    with pytest.raises(ModelError) as caught:
        unpack(loaded(proto))
    assert str(caught.value).isprintable() and "reshape" not in str(caught.value)


TENSORS = ("values", "index", "layout")
