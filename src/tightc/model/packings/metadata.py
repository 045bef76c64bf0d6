"""The packings of a permuted model, which are recorded in its metadata."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.errors import ModelError, OptionError
from tightc.model.file import Model
from tightc.model.file_format.digests import has_packing_digest
from tightc.model.file_format.headers import PERMUTE_AGAIN, has_packings, read_headers, write_headers
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import Network
from tightc.model.onnx_proto.graph import constant_tensors
from tightc.model.onnx_proto.metadata import integer_of, integers_of, text_of
from tightc.report import join_names
from tightc.tile.array import ArrayShape
from tightc.tile.packing import Packing
from tightc.tile.store import BitStream, check_sections, from_stream, to_stream
from tightc.tile.validity import packing_error

_SLOTS_OF_ANY_LAYER = 2**22
_SLOTS_PER_WEIGHT = 64


def with_packings(model: Model, packings: Mapping[str, Packing]) -> Model:
    """`model` with `packings`, by weight, recorded in place of those that it had."""
    proto = model.copy_proto()
    headers = {
        name: {**encode_header(packing), "tiles": _encode_stream(to_stream(packing))}
        for name, packing in packings.items()
    }
    write_headers(proto, headers)
    return model.with_proto(proto)


def is_permuted(model: Model) -> bool:
    """Whether `model` has packings, or had some when tightc wrote it."""
    return has_packings(model.proto) or has_packing_digest(model.proto, model.origin)


def read_packings(model: Model) -> dict[str, Packing]:
    """The packings recorded in the metadata of `model`, by weight; empty where it was not permuted."""
    packings = {}
    elements = {name: prod(tensor.dims) for name, tensor in constant_tensors(model.proto)}
    for name, encode_header in read_headers(model.proto, model.origin).items():
        if "tiles" in encode_header:  # in a packed model, most packings are in the packed tensors
            try:
                weights = elements.get(name, sum(elements.values()))
                packings[name] = decode_packing(encode_header, _decode_tiles(encode_header["tiles"], weights))
            except (ValueError, IndexError) as fault:
                raise ModelError(
                    f"{model.origin}: the packing of {name} is damaged ({fault})", PERMUTE_AGAIN
                ) from None
    return packings


def matching_packings(
    model: Model, network: Network, decoded: dict[str, Packing] | None = None
) -> dict[str, Packing]:
    """The packings recorded in the plain `model`, by weight, or those `decoded` from it, checked against its `network`.

    ModelError where they belong to other layers, or where one lacks a weight of its layer.
    """
    packings = read_packings(model) if decoded is None else decoded
    if packings:
        _require_same_layers(model, network, packings)
    for layer in network.owners:
        packing = packings.get(layer.weight)
        if packing is None:
            continue
        if packing.subword_bits is not None:
            network.require_subwords([layer], model.origin)
        wrong = packing_error(packing, layer_matrix(network, layer, packing.subword_bits))
        if wrong:
            raise ModelError(
                f"{model.origin}: the packing of {layer.label} does not fit its weights ({wrong})",
                PERMUTE_AGAIN,
            )
    return packings


def _require_same_layers(model: Model, network: Network, packings: Mapping[str, Packing]) -> None:
    """ModelError where the packings are not for exactly the weights of the layers."""
    names = {layer.weight: layer.label for layer in network.owners}
    missing = [weight for weight in packings if weight not in names]
    added = [name for weight, name in names.items() if weight not in packings]
    if not missing and not added:
        return
    differences = []
    if missing:
        differences.append(f"no layer has the weight {join_names(missing)}")
    if added:
        differences.append(f"{join_names(added)} {'has' if len(added) == 1 else 'have'} no tiles")
    raise ModelError(
        f"{model.origin}: its packings are those of other layers ({'; '.join(differences)}): "
        "weights were renamed, added or removed since tightc permute",
        PERMUTE_AGAIN,
    )


def encode_header(packing: Packing) -> dict[str, Any]:
    """The header of `packing` as JSON: all of it but the tiles."""
    return {
        "method": packing.method,
        "array": str(packing.array),
        "fan_in": packing.fan_in,
        "filters": packing.filters,
        "inputs": packing.inputs,
        "groups": packing.groups,
        **({} if packing.subword_bits is None else {"subword_bits": packing.subword_bits}),
    }


def decode_packing(encode_header: Mapping[str, Any], stream: BitStream) -> Packing:
    """The packing with a `header` of `encode_header` and the tiles of `stream`.

    ValueError or IndexError where they are damaged, or where the stream has more slots than such a layer can need.
    """
    try:
        array = ArrayShape.parse(text_of(encode_header, "array"))
    except OptionError as fault:
        raise ValueError(fault.sentence) from None
    filters, inputs, groups = (integer_of(encode_header, key, 1) for key in ("filters", "inputs", "groups"))
    if filters % groups:
        raise ValueError(f"expected a number of filters in {groups} equal groups, got {filters}")
    check_sections(stream, most_slots(filters * inputs))
    return Packing(
        method=text_of(encode_header, "method"),
        array=array,
        fan_in=integer_of(encode_header, "fan_in"),
        filters=filters,
        inputs=inputs,
        groups=groups,
        tiles=from_stream(stream),
        subword_bits=encode_header.get("subword_bits"),
    )


def most_slots(weights: int) -> int:
    """A bound on the slots of a layer with so many weights, those of all its tiles as large as the largest."""
    return max(_SLOTS_OF_ANY_LAYER, _SLOTS_PER_WEIGHT * weights)


def _encode_stream(stream: BitStream) -> dict[str, Any]:
    data = base64.b64encode(zlib.compress(stream.content.tobytes(), 9)).decode()
    return {"grid": stream.grid, "sections": stream.sections, "zlib": data}


def _decode_tiles(record: Any, weights: int) -> BitStream:
    """The stream of a layer with so many `weights`; ValueError where it is damaged or larger than it says."""
    text = text_of(record, "zlib")
    tiles, lanes, columns = integers_of(record.get("grid"), 3, "grid")
    parts = record.get("sections")
    if not isinstance(parts, list):
        raise ValueError("expected a list of sections, got something else")
    sections = []
    for part in parts:
        start, count, width = integers_of(part, 3, "a section")
        sections.append((start, count, width))
    stream = BitStream(np.empty(0, np.uint8), (tiles, lanes, columns), tuple(sections))
    check_sections(stream, most_slots(weights))
    size = max(start + -(-count * width // 8) for start, count, width in sections)
    if size > sum(4 * count + 1 for _, count, _ in sections):
        raise ValueError("its sections lie apart")
    return replace(stream, content=_decompress(text, size))


def _decompress(text: str, size: int) -> NDArray[np.uint8]:
    """The `size` bytes in `text`, compressed and as base64; ValueError where there are fewer or more."""
    try:
        reader = zlib.decompressobj()
        content = reader.decompress(base64.b64decode(text, validate=True), size + 1)
    except (zlib.error, ValueError):
        raise ValueError("its stream is not what zlib and base64 make") from None
    if len(content) != size or not reader.eof:
        raise ValueError(
            f"expected {size} bytes in its stream, got {'more' if len(content) > size else 'fewer'}"
        )
    return np.frombuffer(content, np.uint8)
