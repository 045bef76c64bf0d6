"""Digests of what tightc writes, so that damage is found when it is read again.

XXH3 with 64 bits: it finds damage, such as a flipped bit or a mixed pair of files, not tampering.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import xxhash

from tightc.errors import ModelError
from tightc.model.graph import Array, read_graph
from tightc.model.metadata import DIGESTS, HISTORY, PACKINGS, get_property, set_property
from tightc.model.rebuild import is_packed_form

Tensors = Mapping[str, Array]

_EDITED = {
    "tensors": "the tensors are not those that tightc {stage} wrote",
    "nodes": "the nodes are not those that tightc {stage} wrote",
    "functions": "the functions are not those that tightc {stage} wrote",
    "packings": "the record of packings is not the one that tightc {stage} wrote",
    "history": "the history is not the one that tightc {stage} wrote",
}
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
# what a packed model computes its weights and layers from: another tool that changes these breaks the packed form
_DAMAGE = ("tensors", "functions")


def digest_of(head: Mapping[str, Any], text: str, tensors: Iterable[Array]) -> str:
    """The digest of a packing: its header, the `text` of its tiles, its packed tensors; 16 hexadecimal digits."""
    found = xxhash.xxh3_64(_CANONICAL.encode(head).encode())
    found.update(text.encode())
    for tensor in tensors:
        _add(found, tensor)
    return str(found.hexdigest())


def write_digests(proto: onnx.ModelProto, packed: set[str]) -> None:
    """Records the digests of a model's content, in place; tensors named `packed` have digests of their own."""
    digests = _digests(proto, read_graph(proto).tensors, packed)
    set_property(proto, DIGESTS, json.dumps(digests, separators=(",", ":")))


def check_digests(proto: onnx.ModelProto, tensors: Tensors, packed: set[str], origin: str) -> tuple[str, ...]:
    """Notes on what is no longer as tightc wrote it, empty where all is or where nothing is recorded.

    `tensors` are the model's constants by name. ModelError where it is what a packed model is computed from.
    """
    text = get_property(proto, DIGESTS)
    if text is None:
        return ()
    recorded = _read(text, origin)
    actual = _digests(proto, tensors, packed)
    changed = [part for part in _EDITED if recorded.get(part) != actual.get(part)]
    damaged = [part for part in changed if part in _DAMAGE] if is_packed_form(proto) else []
    if damaged:
        raise ModelError(
            f"{origin}: its {damaged[0]} outside of the packed layers are not those that tightc wrote",
            "copy the file again, or run tightc unpack before another tool edits it",
        )
    return tuple(_EDITED[part].format(stage=_last_stage(proto)) for part in changed)


def records_packings(proto: onnx.ModelProto, origin: str) -> bool:
    """Whether the digests of a model speak of packings."""
    return "packings" in _read(get_property(proto, DIGESTS) or "{}", origin)


def _digests(proto: onnx.ModelProto, tensors: Tensors, packed: set[str]) -> dict[str, str]:
    found = xxhash.xxh3_64()
    for name in sorted(tensors.keys() - packed):
        found.update(name.encode())
        _add(found, tensors[name])
    digests = {"tensors": found.hexdigest(), "nodes": _of_messages(map(_without_tensor, proto.graph.node))}
    if proto.functions:
        digests["functions"] = _of_messages(proto.functions)
    for part, key in (("history", HISTORY), ("packings", PACKINGS)):
        text = get_property(proto, key)
        if text is not None:
            digests[part] = _of_text(text)
    return digests


def _of_text(text: str) -> str:
    return str(xxhash.xxh3_64_hexdigest(text.encode()))


def _of_messages(messages: Iterable[onnx.NodeProto | onnx.FunctionProto]) -> str:
    found = xxhash.xxh3_64()
    for message in messages:
        found.update(message.SerializeToString(deterministic=True))
        found.update(b"\0")
    return str(found.hexdigest())


def _without_tensor(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node without its constant, which is among the tensors, and may be stored in several ways."""
    if node.op_type != "Constant" or not any(attribute.HasField("t") for attribute in node.attribute):
        return node
    return onnx.NodeProto(op_type=node.op_type, domain=node.domain, name=node.name, output=node.output)


def _add(found: xxhash.xxh3_64, tensor: Array) -> None:
    """Adds the type, the shape and the values of a tensor, in whichever field of its message they were."""
    found.update(f"{_name(tensor.dtype)}{tensor.shape}".encode())
    if tensor.dtype == object:  # texts
        found.update(repr(tensor.tolist()).encode())
    else:
        found.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)


@cache
def _name(dtype: np.dtype[Any]) -> str:
    return dtype.name


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
