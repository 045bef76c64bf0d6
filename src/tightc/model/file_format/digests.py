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
from tightc.model.file_format.rebuild import is_packed_form
from tightc.model.onnx_proto.graph import Array, read_graph
from tightc.model.onnx_proto.metadata import DIGESTS, HISTORY, PACKINGS, get_property, set_property

Tensors = Mapping[str, Array]

_EDITED = {
    "tensors": "the tensors are not those",
    "nodes": "the nodes are not those",
    "functions": "the functions are not those",
    "packings": "the record of packings is not the one",
    "history": "the history is not the one",
}
# versions that wrote no digests
_WITHOUT = ("0.1.", "0.2.")
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
# what a packed model computes its weights and layers from: another tool that changes these breaks the packed form
_DAMAGE = ("tensors", "functions")


def packing_digest(head: Mapping[str, Any], text: str, tensors: Iterable[Array]) -> str:
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
    writer = f"tightc {_last_stage(proto)}".rstrip()
    return tuple(f"{_EDITED[part]} that {writer} wrote" for part in changed)


def has_packing_digest(proto: onnx.ModelProto, origin: str) -> bool:
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


def notes_on_missing_digests(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Notes on a model of tightc that has no digests: an old one, or one that lost them to another tool."""
    stages = _stages(proto)
    version = str(stages[-1].get("version", "")) if stages else ""
    if not stages or version.startswith(_WITHOUT):
        return (
            "the file was written by tightc 0.2.0 or older, without digests: damage to it is not noticed",
        )
    notes = (
        f"another tool removed the digests that tightc {_last_stage(proto)} wrote: damage is not noticed",
    )
    arranged = stages[-1].get("stage") in ("permute", "unpack") and get_property(proto, PACKINGS) is None
    return (*notes, "the arrangement is gone too: run tightc permute again") if arranged else notes


def _stages(proto: onnx.ModelProto) -> list[dict[str, Any]]:
    """The history, as far as it can be read."""
    try:
        stages = json.loads(get_property(proto, HISTORY) or "[]")
    except ValueError:
        return []
    return [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []


def _last_stage(proto: onnx.ModelProto) -> str:
    """The stage that wrote the model; empty where its history cannot be read."""
    stages = _stages(proto)
    return str(stages[-1].get("stage", "")) if stages else ""
