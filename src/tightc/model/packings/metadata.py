"""The packings of a permuted model, which are recorded in its metadata."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.file_format.digests import has_packing_digest
from tightc.model.file_format.headers import PERMUTE_AGAIN, has_packings, read_headers, write_headers
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import Network
from tightc.report import join_names
from tightc.tile.array import ArrayShape
from tightc.tile.packing import Packing
from tightc.tile.store import BitStream, from_stream, to_stream
from tightc.tile.validity import packing_error


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
    for name, encode_header in read_headers(model.proto, model.origin).items():
        if "tiles" in encode_header:  # in a packed model, most packings are in the packed tensors
            try:
                packings[name] = decode_packing(encode_header, _decode_stream(encode_header["tiles"]))
            except (KeyError, TypeError, ValueError, IndexError, zlib.error) as fault:
                raise ModelError(
                    f"{model.origin}: the packing of {name} is damaged ({fault})", PERMUTE_AGAIN
                ) from None
    return packings


def matching_packings(model: Model, network: Network) -> dict[str, Packing]:
    """The packings recorded in the plain `model`, by weight, checked against its `network`.

    ModelError where they belong to other layers, or where one lacks a weight of its layer.
    """
    packings = read_packings(model)
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
                f"{model.origin}: the packing of {layer.name} does not fit its weights ({wrong})",
                PERMUTE_AGAIN,
            )
    return packings


def _require_same_layers(model: Model, network: Network, packings: Mapping[str, Packing]) -> None:
    """ModelError where the packings are not for exactly the weights of the layers."""
    names = {layer.weight: layer.name for layer in network.owners}
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
    """The packing with a `header` of `encode_header` and the tiles of `stream`."""
    return Packing(
        method=str(encode_header["method"]),
        array=ArrayShape.parse(encode_header["array"]),
        fan_in=int(encode_header["fan_in"]),
        filters=int(encode_header["filters"]),
        inputs=int(encode_header["inputs"]),
        groups=int(encode_header["groups"]),
        tiles=from_stream(stream),
        subword_bits=encode_header.get("subword_bits"),
    )


def _encode_stream(stream: BitStream) -> dict[str, Any]:
    data = base64.b64encode(zlib.compress(stream.content.tobytes(), 9)).decode()
    return {"grid": stream.grid, "sections": stream.sections, "zlib": data}


def _decode_stream(record: Mapping[str, Any]) -> BitStream:
    content = np.frombuffer(zlib.decompress(base64.b64decode(record["zlib"], validate=True)), np.uint8)
    (tiles, lanes, columns), sections = record["grid"], record["sections"]
    return BitStream(
        content, (tiles, lanes, columns), tuple((start, count, width) for start, count, width in sections)
    )
