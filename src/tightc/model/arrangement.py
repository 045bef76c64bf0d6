"""Where a model keeps its packings: metadata property `tightc.packings`, JSON with a header for each weight.

In a permuted model the property holds everything; in a packed one the stream is one of the packed tensors.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from tightc.errors import ModelError
from tightc.model.figures import layer_matrix
from tightc.model.file import Model
from tightc.model.history import get_property, set_property
from tightc.model.layers import Network
from tightc.tiles.array import ArrayShape
from tightc.tiles.packing import Packing
from tightc.tiles.store import Stream, from_stream, to_stream
from tightc.tiles.verify import fault

_KEY = "tightc.packings"
_PERMUTE_AGAIN = "run tightc permute again"


def with_packings(model: Model, packings: Mapping[str, Packing]) -> Model:
    """`model` with the packing of each weight named, in place of all that it had."""
    proto = model.editable()
    heads = {
        name: {**header(packing), "tiles": _encode(to_stream(packing))} for name, packing in packings.items()
    }
    write_headers(proto, heads)
    return model.changed(proto)


def is_arranged(model: Model) -> bool:
    """Whether a model has packings."""
    return get_property(model.proto, _KEY) is not None or bool(_older(model.proto))


def read_packings(model: Model) -> dict[str, Packing]:
    """The packings recorded whole in a model, by weight; empty where it was not permuted."""
    found = {}
    for name, head in read_headers(model).items():
        if "tiles" in head:  # in a packed model most packings are in the packed tensors
            try:
                found[name] = packing_of(head, _decode(head["tiles"]))
            except (KeyError, TypeError, ValueError, IndexError, zlib.error) as fault:
                raise ModelError(
                    f"{model.origin}: the packing of {name} is damaged ({fault})", _PERMUTE_AGAIN
                ) from None
    return found


def fitting_packings(model: Model, network: Network) -> dict[str, Packing]:
    """As `read_packings`; ModelError where a packing does not hold all weights of its layer in `network`."""
    packings = read_packings(model)
    for layer in network.owners:
        packing = packings.get(layer.weight)
        if packing is None:
            continue
        if packing.subword_bits is not None:
            network.demand_digits([layer], model.origin)
        wrong = fault(packing, layer_matrix(network, layer, packing.subword_bits))
        if wrong:
            raise ModelError(
                f"{model.origin}: the packing of {layer.name} does not fit its weights ({wrong})",
                _PERMUTE_AGAIN,
            )
    return packings


def header(packing: Packing) -> dict[str, Any]:
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


def packing_of(head: Mapping[str, Any], stream: Stream) -> Packing:
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


def write_headers(proto: onnx.ModelProto, heads: Mapping[str, Mapping[str, Any]]) -> None:
    """Records the headers of all packings, by weight, in place; what is the same in all is written once."""
    first, *others = [*heads.values()] or [{}]
    common = {key: value for key, value in first.items() if all(head.get(key) == value for head in others)}
    weights = {
        name: {key: value for key, value in head.items() if key not in common} for name, head in heads.items()
    }
    record = {"common": common, "weights": weights}
    for key in _older(proto):
        set_property(proto, key, None)
    set_property(proto, _KEY, json.dumps(record, separators=(",", ":")) if heads else None)


def read_headers(model: Model) -> dict[str, dict[str, Any]]:
    """What `write_headers` recorded; ModelError where it cannot be read."""
    text = get_property(model.proto, _KEY)
    if _older(model.proto):
        raise ModelError(f"{model.origin}: its packings were recorded by an older tightc", _PERMUTE_AGAIN)
    if text is None:
        return {}
    try:
        record = json.loads(text)
        return {name: {**record["common"], **head} for name, head in record["weights"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ModelError(f"{model.origin}: its {_KEY} is not JSON of packings", _PERMUTE_AGAIN) from None


def _older(proto: onnx.ModelProto) -> list[str]:
    """Properties in which versions before 0.2 kept a packing each."""
    return [entry.key for entry in proto.metadata_props if entry.key.startswith("tightc.packing:")]


def _encode(stream: Stream) -> dict[str, Any]:
    data = base64.b64encode(zlib.compress(stream.content.tobytes(), 9)).decode()
    return {"grid": stream.grid, "sections": stream.sections, "zlib": data}


def _decode(record: Mapping[str, Any]) -> Stream:
    content = np.frombuffer(zlib.decompress(base64.b64decode(record["zlib"], validate=True)), np.uint8)
    (tiles, lanes, columns), sections = record["grid"], record["sections"]
    return Stream(
        content, (tiles, lanes, columns), tuple((start, count, width) for start, count, width in sections)
    )
