"""Headers of a model's packings: metadata property `tightc.packings`, JSON with an entry for each weight.

In a permuted model an entry holds the whole packing; in a packed one, the stream is one of the packed tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import onnx

from tightc.errors import ModelError
from tightc.model.file_format.digests import Tensors, has_packing_digest, packing_digest
from tightc.model.file_format.rebuild import SUBWORD_BITS, SUBWORD_TENSORS, TENSORS, ZEROS, is_packed_form
from tightc.model.onnx_proto.metadata import (
    ANNEALING,
    DIGESTS,
    PACKINGS,
    get_property,
    read_json,
    set_property,
    text_of,
)
from tightc.model.onnx_proto.stored_tensors import Tensors as ProtoTensors

Header = dict[str, Any]

PERMUTE_AGAIN = "run tightc permute again"
PACK_AGAIN = "run tightc pack again from the permuted model"
_REMAKE = "run tightc permute and pack again, from the model before permute"
_DIGEST = "xxh3"
_OLD_PREFIX = "tightc.packing:"  # versions before 0.2 had a property for each packing


def has_packings(proto: onnx.ModelProto) -> bool:
    """Whether `proto` records packings."""
    return get_property(proto, PACKINGS) is not None or bool(_old_properties(proto))


def lack_digests(proto: onnx.ModelProto) -> bool:
    """Whether `proto` records packings without digests."""
    text = get_property(proto, PACKINGS)
    return text is not None and f'"{_DIGEST}":' not in text


def tensor_suffixes(header: Mapping[str, Any]) -> tuple[str, ...]:
    """The suffixes of the packed tensors of a weight with that `header`."""
    if header.get("subword_bits") is not None:
        return SUBWORD_TENSORS
    return (*TENSORS, ZEROS) if header.get(ZEROS) else TENSORS


def tensor_names(weight: str, header: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the packed tensors of `weight`; empty where its `header` holds the whole packing."""
    if "tiles" in header:
        return ()
    prefix = header.get("tensors", weight)
    return tuple(f"{prefix}.{suffix}" for suffix in tensor_suffixes(header))


def packed_tensor_names(proto: onnx.ModelProto, origin: str, tensors: Tensors | None = None) -> set[str]:
    """The names of all packed tensors; `proto`, `origin`, `tensors` and ModelError as for `read_headers`."""
    return names_of_tensors(read_headers(proto, origin, tensors))


def names_of_tensors(headers: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The names of the packed tensors of all `headers`, by weight."""
    return {name for weight, header in headers.items() for name in tensor_names(weight, header)}


def write_headers(proto: onnx.ModelProto, headers: Mapping[str, Mapping[str, Any]]) -> None:
    """Record the `headers` of all packings, by weight, in `proto`, each with the digest of its packing.

    The packed tensors of the headers must be in the model. Keys with the same value in all headers are stored once.
    """
    tensors = _packed_arrays(proto, headers)
    headers = {
        weight: {**header, _DIGEST: _digest(weight, header, tensors)} for weight, header in headers.items()
    }
    first, *others = [*headers.values()] or [{}]
    common = {
        key: value for key, value in first.items() if all(header.get(key) == value for header in others)
    }
    weights = {
        name: {key: value for key, value in header.items() if key not in common}
        for name, header in headers.items()
    }
    record = {"common": common, "weights": weights}
    for key in _old_properties(proto):
        set_property(proto, key, None)
    set_property(proto, PACKINGS, json.dumps(record, separators=(",", ":")) if headers else None)
    for key in (DIGESTS, ANNEALING):  # those of the previous packings
        set_property(proto, key, None)


def read_headers(proto: onnx.ModelProto, origin: str, tensors: Tensors | None = None) -> dict[str, Header]:
    """What `write_headers` recorded in `proto`, by weight.

    `tensors`: the model's constants by name, where the caller has them already. ModelError, naming `origin`, where the
    record cannot be read or a digest does not match.
    """
    text = get_property(proto, PACKINGS)
    if _old_properties(proto):
        raise ModelError(
            f"{origin}: its packings were recorded by an older tightc",
            _REMAKE if is_packed_form(proto) else PERMUTE_AGAIN,
        )
    if text is None:
        if has_packing_digest(proto, origin):
            raise ModelError(
                f"{origin}: its {PACKINGS} is missing: removed or renamed since tightc wrote it",
                PACK_AGAIN if is_packed_form(proto) else PERMUTE_AGAIN,
            )
        return {}
    try:
        headers = _parse(text)
    except ValueError as fault:
        raise ModelError(
            f"{origin}: its {PACKINGS} is not JSON of packings ({fault})", PERMUTE_AGAIN
        ) from None
    tensors = _packed_arrays(proto, headers) if tensors is None else tensors
    digests = {weight: header.pop(_DIGEST, None) for weight, header in headers.items()}
    # files of tightc 0.2.0 have no digests at all
    if any(digests.values()) or get_property(proto, DIGESTS) is not None:
        for weight, header in headers.items():
            _check_packing(proto, origin, weight, header, recorded=digests[weight], tensors=tensors)
    return headers


def _parse(text: str) -> dict[str, Header]:
    """The headers in the `text` of the property, by weight; ValueError where it is something else."""
    record = read_json(text)
    common, weights = (record.get(key) if isinstance(record, dict) else None for key in ("common", "weights"))
    if not isinstance(common, dict) or not isinstance(weights, dict):
        raise ValueError("expected an object with common and weights, got something else")
    if not all(isinstance(header, dict) for header in weights.values()):
        raise ValueError("expected an object for each weight, got something else")
    headers = {name: {**common, **header} for name, header in weights.items()}
    for header in headers.values():
        if "tensors" in header:
            text_of(header, "tensors")
        bits = header.get("subword_bits")
        if bits is not None and (type(bits) is not int or bits not in SUBWORD_BITS):
            raise ValueError(f"expected one of {SUBWORD_BITS} as subword_bits, got something else")
    return headers


def _check_packing(
    proto: onnx.ModelProto, origin: str, weight: str, header: Header, *, recorded: Any, tensors: Tensors
) -> None:
    """ModelError where the digest of the packing of `weight` is not the `recorded` one."""
    names = tensor_names(weight, header)
    missing = [name for name in names if name not in tensors]
    if missing:
        raise ModelError(
            f"{origin}: the packed tensor {missing[0]} of weight {weight} is missing: "
            "removed or renamed since tightc pack",
            PACK_AGAIN,
        )
    actual = _digest(weight, header, tensors)
    if recorded == actual:
        return
    wrong = f"expected digest {recorded}, got {actual}" if recorded else "it has no digest"
    what, again = ("packed tensors", PACK_AGAIN) if names else ("packing", PERMUTE_AGAIN)
    layer = _reading_layer(proto, {weight, *names})
    raise ModelError(
        f"{origin}: damaged {what} of {layer} (weight {weight}): {wrong}", f"copy the file again, or {again}"
    )


def _digest(weight: str, header: Mapping[str, Any], tensors: Tensors) -> str:
    """The digest of the packing of `weight`, from its header and packed tensors."""
    tiles = header.get("tiles")
    text = str(tiles.get("zlib")) if isinstance(tiles, dict) else ""
    rest = {**header, "tiles": {**tiles, "zlib": ""}} if isinstance(tiles, dict) else header
    arrays = [tensors[name] for name in tensor_names(weight, header)]
    return packing_digest({**rest, "weight": weight}, text, arrays)


def _packed_arrays(proto: onnx.ModelProto, headers: Mapping[str, Mapping[str, Any]]) -> Tensors:
    """The packed tensors of `headers` that are in the model, by name."""
    wanted = {name for weight, header in headers.items() for name in tensor_names(weight, header)}
    return ProtoTensors(tensor for tensor in proto.graph.initializer if tensor.name in wanted)


def _reading_layer(proto: onnx.ModelProto, names: set[str]) -> str:
    """The label of the layer that reads one of `names`, a weight and its tensors, or a weight dequantized of it."""
    for node in proto.graph.node:
        if names.intersection(node.input) and not node.op_type.startswith("Rebuild"):
            if node.op_type in ("DequantizeLinear", "Identity"):
                names = names | set(node.output)
            else:
                return str(node.name or node.output[0])
    return min(names)


def _old_properties(proto: onnx.ModelProto) -> list[str]:
    """Keys of the properties in which versions before 0.2 recorded packings."""
    return [entry.key for entry in proto.metadata_props if entry.key.startswith(_OLD_PREFIX)]
