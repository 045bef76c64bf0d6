"""The packings of a model: as metadata in a permuted one, partly as packed tensors in a packed one."""

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
from tightc.report import first_few
from tightc.tile.array import ArrayShape
from tightc.tile.packing import Packing
from tightc.tile.store import BitStream, from_stream, to_stream
from tightc.tile.validity import packing_error


def with_packings(model: Model, packings: Mapping[str, Packing]) -> Model:
    """`model` with the packing of each weight named, in place of all that it had."""
    proto = model.editable()
    heads = {
        name: {**encode_header(packing), "tiles": _encode(to_stream(packing))}
        for name, packing in packings.items()
    }
    write_headers(proto, heads)
    return model.changed(proto)


def is_permuted(model: Model) -> bool:
    """Whether a model has packings, or had them when tightc wrote it."""
    return has_packings(model.proto) or has_packing_digest(model.proto, model.origin)


def read_packings(model: Model) -> dict[str, Packing]:
    """The packings recorded whole in a model, by weight; empty where it was not permuted."""
    found = {}
    for name, head in read_headers(model.proto, model.origin).items():
        if "tiles" in head:  # in a packed model most packings are in the packed tensors
            try:
                found[name] = decode_packing(head, _decode(head["tiles"]))
            except (KeyError, TypeError, ValueError, IndexError, zlib.error) as packing_error:
                raise ModelError(
                    f"{model.origin}: the packing of {name} is damaged ({packing_error})", PERMUTE_AGAIN
                ) from None
    return found


def matching_packings(model: Model, network: Network) -> dict[str, Packing]:
    """As `read_packings`, for `network`, the layers of the plain `model`.

    ModelError where the packings are not those of its layers, or one does not hold all weights of its layer.
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
    """ModelError where layers and packings do not go by the same weights: renamed, added or removed since permute."""
    names = {layer.weight: layer.name for layer in network.owners}
    gone = [weight for weight in packings if weight not in names]
    new = [name for weight, name in names.items() if weight not in packings]
    if gone or new:
        wrong = [f"no layer has the weight {first_few(gone)}"] if gone else []
        wrong += (
            [f"{first_few(new)} has no tiles" if len(new) == 1 else f"{first_few(new)} have no tiles"]
            if new
            else []
        )
        raise ModelError(
            f"{model.origin}: its arrangement is of other layers ({'; '.join(wrong)}): "
            "weights were renamed, added or removed since tightc permute",
            PERMUTE_AGAIN,
        )


def encode_header(packing: Packing) -> dict[str, Any]:
    """What a packing is besides its tiles, as JSON."""
    return {
        "method": packing.method,
        "array": str(packing.array),
        "fan_in": packing.fan_in,
        "filters": packing.filters,
        "inputs": packing.inputs,
        "groups": packing.groups,
        **({} if packing.subword_bits is None else {"subword_bits": packing.subword_bits}),
    }


def decode_packing(head: Mapping[str, Any], stream: BitStream) -> Packing:
    """The inverse of `header` and `to_stream`."""
    return Packing(
        method=str(head["method"]),
        array=ArrayShape.parse(head["array"]),
        fan_in=int(head["fan_in"]),
        filters=int(head["filters"]),
        inputs=int(head["inputs"]),
        groups=int(head["groups"]),
        tiles=from_stream(stream),
        subword_bits=head.get("subword_bits"),
    )


def _encode(stream: BitStream) -> dict[str, Any]:
    data = base64.b64encode(zlib.compress(stream.content.tobytes(), 9)).decode()
    return {"grid": stream.grid, "sections": stream.sections, "zlib": data}


def _decode(record: Mapping[str, Any]) -> BitStream:
    content = np.frombuffer(zlib.decompress(base64.b64decode(record["zlib"], validate=True)), np.uint8)
    (tiles, lanes, columns), sections = record["grid"], record["sections"]
    return BitStream(
        content, (tiles, lanes, columns), tuple((start, count, width) for start, count, width in sections)
    )
