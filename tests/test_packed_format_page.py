"""docs/packed-format.md is enough to read a packed file: a reader written from that page alone, without tightc."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import onnx
import pytest
import xxhash
from numpy.typing import NDArray
from onnx import numpy_helper

from helpers.chains import through
from helpers.weight_forms import WEIGHT_FORMS
from tightc.example import RECIPE
from tightc.model.file import Model, load_model
from tightc.packing.options import PackOptions
from tightc.packing.pack import pack
from tightc.packing.unpack import unpack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize

FAST = {"moves_per_weight": 5}
Numbers = NDArray[np.int64]


def permuted(subword_bits: int | None) -> Model:
    model = load_model(RECIPE.parent / "digits.onnx")
    if subword_bits is None:
        pruned, _ = prune(model, PruneOptions(sparsity=0.9))
    else:
        whole, _ = quantize(model, QuantizeOptions())
        pruned, _ = prune(whole, PruneOptions(sparsity=0.9, granularity="subword", subword_bits=subword_bits))
    options = PermuteOptions(array="16x16", fan_in=8, temp_schedule=FAST, subword_bits=subword_bits)  # type: ignore[arg-type]
    return permute(pruned, options)[0]


def properties(proto: onnx.ModelProto) -> dict[str, Any]:
    return {entry.key: json.loads(entry.value) for entry in proto.metadata_props}


def headers(proto: onnx.ModelProto) -> dict[str, dict[str, Any]]:
    record = properties(proto)["tightc.packings"]
    return {weight: {**record["common"], **head} for weight, head in record["weights"].items()}


def tensors_of(proto: onnx.ModelProto, weight: str, head: dict[str, Any]) -> dict[str, NDArray[Any]]:
    stem = head.get("tensors", weight)
    by_name = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    found = {key: by_name.get(f"{stem}.{key}") for key in ("values", "index", "layout", "zeros")}
    return {key: tensor for key, tensor in found.items() if tensor is not None}


def read_section(stream: bytes, start: int, count: int, width: int) -> Numbers:
    number = int.from_bytes(stream[start : start + -(-count * width // 8)], "little")
    return np.array([number >> width * i & (1 << width) - 1 for i in range(count)], np.int64)


def rebuilt(tensors: dict[str, NDArray[Any]], bits: int | None) -> NDArray[Any]:
    layout, stream = tensors["layout"].tolist(), tensors["index"].tobytes()
    filter_stride, input_stride, group_inputs, tiles, lanes, columns = layout[:6]
    names = ["occupied", "select", "lengths", "inputs", "filters"]
    names += [] if bits is None else ["digits", "signs", "places"]
    sections = {name: read_section(stream, *layout[6 + 3 * i : 9 + 3 * i]) for i, name in enumerate(names)}
    shape = layout[6 + 3 * len(names) :]
    flat = np.zeros(np.prod(shape), np.int64) if bits else np.repeat(tensors["values"][:1], np.prod(shape))
    occupied = np.broadcast_to(sections["occupied"].reshape(-1), tiles * lanes * columns) if (
        len(sections["occupied"]) == 1
    ) else sections["occupied"]  # fmt: skip
    if "zeros" in tensors:
        zeros = tensors["zeros"]
        for axis, side in enumerate(shape):
            zeros = np.repeat(zeros, side // zeros.shape[axis], axis)
        flat = zeros.reshape(-1)
    slot = 0
    for place in range(tiles * lanes * columns):
        lane, column = place // columns, place // (lanes * columns) * columns + place % columns
        if not (sections["lengths"][lane] and sections["filters"][column] and occupied[place]):
            continue
        position = sections["lengths"][:lane].sum() + sections["select"][slot]
        target = (sections["filters"][column] - 1) * filter_stride
        group, local = divmod(sections["inputs"][position], group_inputs)
        target += local * input_stride
        if filter_stride == 1:
            target += group * input_stride * (group_inputs - 1)
        if bits is None:
            flat[target] = tensors["values"][slot + 1]
        else:
            value = (1 - 2 * sections["signs"][slot]) * sections["digits"][slot]
            flat[target] += value * 2 ** (bits * sections["places"][slot])
        slot += 1
    assert slot == len(sections["select"])
    return (flat.astype(np.int8) if bits else flat).reshape(shape)


def digest(weight: str, head: dict[str, Any], tensors: list[NDArray[Any]]) -> str:
    tiles = {"tiles": {**head["tiles"], "zlib": ""}} if "tiles" in head else {}
    rest = {**{key: value for key, value in head.items() if key != "xxh3"}, "weight": weight, **tiles}
    found = xxhash.xxh3_64(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())
    found.update(head["tiles"]["zlib"].encode() if "tiles" in head else b"")
    for tensor in tensors:
        found.update(f"{tensor.dtype.name}{tensor.shape}".encode())
        found.update((tensor.astype(np.int8) if "int4" in tensor.dtype.name else tensor).tobytes())
    return str(found.hexdigest())


@pytest.mark.parametrize("subword_bits", [None, 4, 2])
def test_weights_and_digests_are_as_the_page_says(subword_bits: int | None) -> None:
    source = permuted(subword_bits)
    packed, _ = pack(source, PackOptions())
    plain, _ = unpack(packed)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.proto.graph.initializer}
    heads = headers(packed.proto)
    assert heads
    for weight, head in heads.items():
        tensors = tensors_of(packed.proto, weight, head)
        assert head.get("subword_bits") == subword_bits
        assert ("values" in tensors) == (subword_bits is None)
        np.testing.assert_array_equal(rebuilt(tensors, subword_bits), weights[weight])
        assert head["xxh3"] == digest(weight, head, list(tensors.values()))


@pytest.mark.parametrize("form", WEIGHT_FORMS)
def test_weights_of_all_operators_are_as_the_page_says(form: str) -> None:
    chain = through(WEIGHT_FORMS[form](), simulated=False)
    weights = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in chain.unpacked.proto.graph.initializer
    }
    ((weight, head),) = headers(chain.packed.proto).items()
    tensors = tensors_of(chain.packed.proto, weight, head)
    assert ("zeros" in tensors) == head.get("zeros", False) == ("zero points" in form or "shorter" in form)
    values = rebuilt(tensors, None)
    assert values.dtype == weights[weight].dtype
    np.testing.assert_array_equal(values, weights[weight])
    assert head["xxh3"] == digest(weight, head, list(tensors.values()))


def test_a_permuted_model_holds_the_same_stream() -> None:
    source = permuted(None)
    packed, _ = pack(source, PackOptions())
    for weight, head in headers(source.proto).items():
        tiles = head["tiles"]
        stream = zlib.decompress(base64.b64decode(tiles["zlib"]))
        tensors = tensors_of(packed.proto, weight, headers(packed.proto)[weight])
        assert stream == tensors["index"].tobytes()
        assert tiles["grid"] == tensors["layout"][3:6].tolist()
        assert np.ravel(tiles["sections"]).tolist() == tensors["layout"][6:21].tolist()
        assert head["xxh3"] == digest(weight, head, [])


def test_the_functions_and_metadata_are_those_of_the_page() -> None:
    packed, _ = pack(permuted(None), PackOptions())
    assert [function.name for function in packed.proto.functions] == ["Repeat", "Section", "RebuildFloat32"]
    assert {entry.domain: entry.version for entry in packed.proto.opset_import}["tightc"] == 2
    rebuild = packed.proto.graph.node[0]
    assert (rebuild.domain, rebuild.op_type) == ("tightc", "RebuildFloat32")
    assert list(rebuild.input) == [
        f"{weight}.{key}" for weight in rebuild.output for key in ("values", "index", "layout")
    ]
    assert set(rebuild.output) == headers(packed.proto).keys()
    assert packed.proto.ir_version >= 8
    recorded = properties(packed.proto)
    assert set(recorded) == {"tightc.packings", "tightc.history", "tightc.digests"}
    assert {"stage", "version", "options", "seed", "input"} <= set(recorded["tightc.history"][-1])
    assert set(recorded["tightc.digests"]) == {"tensors", "nodes", "functions", "history", "packings"}
