"""The headers of a model's packings: metadata property `tightc.packings`, JSON with an entry for each weight.

In a permuted model an entry holds the whole packing; in a packed one the stream is one of the packed tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import onnx
from onnx import numpy_helper

from tightc.errors import ModelError
from tightc.model.file_format.digests import Tensors, digest_of, records_packings
from tightc.model.file_format.rebuild import DIGIT_TENSORS, TENSORS, is_packed_form
from tightc.model.onnx_proto.metadata import DIGESTS, PACKINGS, get_property, set_property

Head = dict[str, Any]

PERMUTE_AGAIN = "run tightc permute again"
PACK_AGAIN = "run tightc pack again from the permuted model"
_MAKE_AGAIN = "run tightc permute and pack again, from the model before permute"
_DIGEST = "xxh3"
_OLDER = "tightc.packing:"  # properties in which versions before 0.2 kept a packing each


def has_packings(proto: onnx.ModelProto) -> bool:
    """Whether a model records packings."""
    return get_property(proto, PACKINGS) is not None or bool(_older(proto))


def packed_keys(subword_bits: int | None) -> tuple[str, ...]:
    """What the packed tensors of a weight are called after their stem."""
    return TENSORS if subword_bits is None else DIGIT_TENSORS


def packed_names(weight: str, head: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a weight's packed tensors; empty where its header holds the whole packing."""
    if "tiles" in head:
        return ()
    stem = head.get("tensors", weight)
    return tuple(f"{stem}.{key}" for key in packed_keys(head.get("subword_bits")))


def packed_tensors(proto: onnx.ModelProto, origin: str, tensors: Tensors | None = None) -> set[str]:
    """The names of all packed tensors; arguments and ModelError as with `read_headers`."""
    heads = read_headers(proto, origin, tensors)
    return {name for weight, head in heads.items() for name in packed_names(weight, head)}


def write_headers(proto: onnx.ModelProto, heads: Mapping[str, Mapping[str, Any]]) -> None:
    """Records the headers of all packings, by weight, in place, each with the digest of its packing.

    The packed tensors that a header speaks of have to be in the model. What is the same in all is written once.
    """
    tensors = _packed_arrays(proto, heads)
    heads = {weight: {**head, _DIGEST: _digest(weight, head, tensors)} for weight, head in heads.items()}
    first, *others = [*heads.values()] or [{}]
    common = {key: value for key, value in first.items() if all(head.get(key) == value for head in others)}
    weights = {
        name: {key: value for key, value in head.items() if key not in common} for name, head in heads.items()
    }
    record = {"common": common, "weights": weights}
    for key in _older(proto):
        set_property(proto, key, None)
    set_property(proto, PACKINGS, json.dumps(record, separators=(",", ":")) if heads else None)
    set_property(proto, DIGESTS, None)  # they were of other packings


def read_headers(proto: onnx.ModelProto, origin: str, tensors: Tensors | None = None) -> dict[str, Head]:
    """What `write_headers` recorded, by weight; ModelError where it cannot be read or a digest does not fit.

    `tensors`: the model's constants by name, for those who have them at hand.
    """
    text = get_property(proto, PACKINGS)
    if _older(proto):
        raise ModelError(
            f"{origin}: its packings were recorded by an older tightc",
            _MAKE_AGAIN if is_packed_form(proto) else PERMUTE_AGAIN,
        )
    if text is None:
        if records_packings(proto, origin):
            raise ModelError(
                f"{origin}: its {PACKINGS} is missing: removed or renamed since tightc wrote it",
                PACK_AGAIN if is_packed_form(proto) else PERMUTE_AGAIN,
            )
        return {}
    try:
        record = json.loads(text)
        heads = {name: {**record["common"], **head} for name, head in record["weights"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ModelError(f"{origin}: its {PACKINGS} is not JSON of packings", PERMUTE_AGAIN) from None
    tensors = _packed_arrays(proto, heads) if tensors is None else tensors
    digests = {weight: head.pop(_DIGEST, None) for weight, head in heads.items()}
    # files of tightc 0.2.0 have no digests at all
    if any(digests.values()) or get_property(proto, DIGESTS) is not None:
        for weight, head in heads.items():
            _check(weight, head, digests[weight], tensors, proto, origin)
    return heads


def _check(
    weight: str, head: Head, recorded: Any, tensors: Tensors, proto: onnx.ModelProto, origin: str
) -> None:
    """ModelError where the packing of a weight is not the one whose digest is recorded."""
    names = packed_names(weight, head)
    missing = [name for name in names if name not in tensors]
    if missing:
        raise ModelError(
            f"{origin}: the packed tensor {missing[0]} of weight {weight} is missing: "
            "removed or renamed since tightc pack",
            PACK_AGAIN,
        )
    actual = _digest(weight, head, tensors)
    if recorded == actual:
        return
    wrong = f"expected digest {recorded}, got {actual}" if recorded else "it has no digest"
    what, again = ("packed tensors", PACK_AGAIN) if names else ("arrangement", PERMUTE_AGAIN)
    layer = _reader(proto, {weight, *names})
    raise ModelError(
        f"{origin}: damaged {what} of {layer} (weight {weight}): {wrong}", f"copy the file again, or {again}"
    )


def _digest(weight: str, head: Mapping[str, Any], tensors: Tensors) -> str:
    tiles = head.get("tiles")
    text = str(tiles.get("zlib")) if isinstance(tiles, dict) else ""
    rest = {**head, "tiles": {**tiles, "zlib": ""}} if isinstance(tiles, dict) else head
    arrays = [tensors[name] for name in packed_names(weight, head)]
    return digest_of({**rest, "weight": weight}, text, arrays)


def _packed_arrays(proto: onnx.ModelProto, heads: Mapping[str, Mapping[str, Any]]) -> Tensors:
    """The packed tensors by name, as far as they are there."""
    wanted = {name for weight, head in heads.items() for name in packed_names(weight, head)}
    tensors = (tensor for tensor in proto.graph.initializer if tensor.name in wanted)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}


def _reader(proto: onnx.ModelProto, names: set[str]) -> str:
    """The label of the layer that reads one of `names`, through nodes that rebuild or dequantize a weight."""
    for node in proto.graph.node:
        if names.intersection(node.input):
            if node.op_type.startswith("Rebuild") or node.op_type in ("DequantizeLinear", "Identity"):
                names = names | set(node.output)
            else:
                return str(node.name or node.output[0])
    return min(names)


def _older(proto: onnx.ModelProto) -> list[str]:
    return [entry.key for entry in proto.metadata_props if entry.key.startswith(_OLDER)]
