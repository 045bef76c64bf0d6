"""Digests of what tightc writes, so that damage is found when it is read again.

XXH3 with 64 bits: it finds damage, such as a flipped bit or a mixed pair of files, not tampering.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import onnx
import xxhash
from onnx import numpy_helper

from tightc.errors import ModelError
from tightc.model.graph import constant_slots
from tightc.model.metadata import DIGESTS, HISTORY, PACKINGS, get_property, set_property
from tightc.model.rebuild import DOMAIN

_EDITED = {
    "tensors": "the tensors are not those that tightc {stage} wrote",
    "nodes": "the nodes are not those that tightc {stage} wrote",
    "functions": "the functions are not those that tightc {stage} wrote",
    "packings": "the record of packings is not the one that tightc {stage} wrote",
    "history": "the history is not the one that tightc {stage} wrote",
}
# what a packed model computes its weights and layers from: another tool that changes these breaks the packed form
_DAMAGE = ("tensors", "functions")


def digest_of(head: Mapping[str, Any], tensors: Iterable[onnx.TensorProto]) -> str:
    """The digest of a packing: its header and, in the packed form, its tensors; 16 hexadecimal digits."""
    found = xxhash.xxh3_64(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
    for tensor in tensors:
        _add(found, tensor)
    return str(found.hexdigest())


def write_digests(proto: onnx.ModelProto, packed: set[str]) -> None:
    """Records the digests of a model's content, in place; tensors named `packed` have digests of their own."""
    set_property(proto, DIGESTS, json.dumps(_digests(proto, packed), separators=(",", ":")))


def check_digests(proto: onnx.ModelProto, origin: str, packed: set[str]) -> tuple[str, ...]:
    """Notes on what is no longer as tightc wrote it, empty where all is or where nothing is recorded.

    ModelError where it is what a packed model is computed from.
    """
    text = get_property(proto, DIGESTS)
    if text is None:
        return ()
    recorded = _read(text, origin)
    actual = _digests(proto, packed)
    changed = [part for part in _EDITED if recorded.get(part) != actual.get(part)]
    is_packed = any(function.domain == DOMAIN for function in proto.functions)
    damaged = [part for part in changed if part in _DAMAGE] if is_packed else []
    if damaged:
        raise ModelError(
            f"{origin}: its {damaged[0]} outside of the packed layers are not those that tightc wrote",
            "copy the file again, or run tightc unpack before another tool edits it",
        )
    return tuple(_EDITED[part].format(stage=_last_stage(proto)) for part in changed)


def _digests(proto: onnx.ModelProto, packed: set[str]) -> dict[str, str]:
    tensors = dict(entry for entry in constant_slots(proto) if entry[0] not in packed)
    found = xxhash.xxh3_64()
    for name in sorted(tensors):
        _add(found, tensors[name])
    digests = {"tensors": found.hexdigest(), "nodes": _of_messages(proto.graph.node)}
    if proto.functions:
        digests["functions"] = _of_messages(proto.functions)
    for part, key in (("history", HISTORY), ("packings", PACKINGS)):
        text = get_property(proto, key)
        if text is not None:
            digests[part] = xxhash.xxh3_64_hexdigest(text.encode())
    return digests


def _of_messages(messages: Iterable[onnx.NodeProto | onnx.FunctionProto]) -> str:
    found = xxhash.xxh3_64()
    for message in messages:
        found.update(message.SerializeToString(deterministic=True))
        found.update(b"\0")
    return str(found.hexdigest())


def _add(found: xxhash.xxh3_64, tensor: onnx.TensorProto) -> None:
    """Adds a tensor: name, type, shape and values, in whichever field of the message they are."""
    found.update(f"{tensor.name}\0{tensor.data_type}\0{tuple(tensor.dims)}\0".encode())
    if tensor.HasField("raw_data"):
        found.update(tensor.raw_data)
    elif tensor.data_type == onnx.TensorProto.STRING:
        found.update(b"\0".join(tensor.string_data))
    else:
        found.update(numpy_helper.to_array(tensor).tobytes())


def _read(text: str, origin: str) -> dict[str, Any]:
    try:
        recorded = json.loads(text)
        if not isinstance(recorded, dict):
            raise ValueError("not a mapping")
    except ValueError:
        raise ModelError(
            f"{origin}: its {DIGESTS} is not a JSON object of digests", "copy the file again"
        ) from None
    return recorded


def _last_stage(proto: onnx.ModelProto) -> str:
    """The stage that wrote the model, as far as its history can be read."""
    try:
        return str(json.loads(get_property(proto, HISTORY) or "")[-1]["stage"])
    except (ValueError, LookupError, TypeError):
        return "once"
