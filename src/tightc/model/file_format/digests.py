"""Digests of what tightc writes, so that damage is detected when it is read again.

XXH3 with 64 bits detects damage, such as a flipped bit or a mixed pair of files, but not tampering.
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
from tightc.model.onnx_proto.metadata import DIGESTS, HISTORY, PACKINGS, get_property, read_json, set_property

Tensors = Mapping[str, Array]

_EDITED = {
    "tensors": "the tensors are not those",
    "nodes": "the nodes are not those",
    "functions": "the functions are not those",
    "packings": "the record of packings is not the one",
    "history": "the history is not the one",
}
_VERSIONS_WITHOUT_DIGESTS = ("0.1.", "0.2.")
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
# a packed model computes its weights and layers from these: a change by another tool breaks the packed form
_REQUIRED_IF_PACKED = ("tensors", "functions")


def packing_digest(header: Mapping[str, Any], text: str, tensors: Iterable[Array]) -> str:
    """The digest, 16 hexadecimal digits, of a packing: its `header`, the `text` of its tiles, its packed `tensors`."""
    digest = xxhash.xxh3_64(_CANONICAL.encode(header).encode())
    digest.update(text.encode())
    for tensor in tensors:
        _update(digest, tensor)
    return str(digest.hexdigest())


def write_digests(proto: onnx.ModelProto, packed: set[str]) -> None:
    """Record the digests of the content of `proto` in place, without the tensors named in `packed`."""
    digests = _content_digests(proto, read_graph(proto).tensors, packed)
    set_property(proto, DIGESTS, json.dumps(digests, separators=(",", ":")))


def check_digests(proto: onnx.ModelProto, tensors: Tensors, packed: set[str], origin: str) -> tuple[str, ...]:
    """Notes on what changed since tightc wrote `proto`; empty where nothing did, or where no digests are recorded.

    `tensors` are the model's constants by name, `packed` the names of its packed tensors. ModelError, naming `origin`,
    where a packed model is computed from what changed.
    """
    text = get_property(proto, DIGESTS)
    if text is None:
        return ()
    recorded = _parse(text, origin)
    actual = _content_digests(proto, tensors, packed)
    changed = [part for part in _EDITED if recorded.get(part) != actual.get(part)]
    damaged = [part for part in changed if part in _REQUIRED_IF_PACKED] if is_packed_form(proto) else []
    if damaged:
        raise ModelError(
            f"{origin}: its {damaged[0]} outside of the packed layers are not those that tightc wrote",
            "copy the file again, or run tightc unpack before another tool edits it",
        )
    writer = f"tightc {_last_stage(proto)}".rstrip()
    return tuple(f"{_EDITED[part]} that {writer} wrote" for part in changed)


def has_packing_digest(proto: onnx.ModelProto, origin: str) -> bool:
    """Whether the digests in `proto` include one of packings; ModelError, naming `origin`, where they are not JSON."""
    return "packings" in _parse(get_property(proto, DIGESTS) or "{}", origin)


def _content_digests(proto: onnx.ModelProto, tensors: Tensors, packed: set[str]) -> dict[str, str]:
    """Digests by part: tensors, nodes, functions, history, packings; the last three where the model has them."""
    digest = xxhash.xxh3_64()
    for name in sorted(tensors.keys() - packed):
        digest.update(name.encode())
        _update(digest, tensors[name])
    digests = {
        "tensors": digest.hexdigest(),
        "nodes": _digest_messages(map(_strip_constant, proto.graph.node)),
    }
    if proto.functions:
        digests["functions"] = _digest_messages(proto.functions)
    for part, key in (("history", HISTORY), ("packings", PACKINGS)):
        text = get_property(proto, key)
        if text is not None:
            digests[part] = str(xxhash.xxh3_64_hexdigest(text.encode()))
    return digests


def _digest_messages(messages: Iterable[onnx.NodeProto | onnx.FunctionProto]) -> str:
    digest = xxhash.xxh3_64()
    for message in messages:
        digest.update(message.SerializeToString(deterministic=True))
        digest.update(b"\0")
    return str(digest.hexdigest())


def _strip_constant(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node without its constant, which counts as a tensor and can be stored in several ways."""
    if node.op_type != "Constant" or not any(attribute.HasField("t") for attribute in node.attribute):
        return node
    return onnx.NodeProto(op_type=node.op_type, domain=node.domain, name=node.name, output=node.output)


def _update(digest: xxhash.xxh3_64, tensor: Array) -> None:
    """Add the dtype, shape and values of a tensor to `digest`, however its message stores them."""
    name = _dtype_name(tensor.dtype)
    digest.update(f"{name}{tensor.shape}".encode())
    if tensor.dtype == object:  # strings
        digest.update(repr(tensor.tolist()).encode())
    else:
        # libraries differ in the upper half of a byte that holds four bits
        numbers = tensor.astype(np.int8) if name in ("int4", "uint4") else tensor
        digest.update(np.ascontiguousarray(numbers).reshape(-1).view(np.uint8).data)


@cache
def _dtype_name(dtype: np.dtype[Any]) -> str:
    """The name of a dtype; numpy computes it anew on each access."""
    return dtype.name


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        recorded = read_json(text)
        if not isinstance(recorded, dict):
            raise ValueError("expected an object, got something else")
    except ValueError as fault:
        raise ModelError(
            f"{origin}: its {DIGESTS} is not a JSON object of digests ({fault})", "copy the file again"
        ) from None
    return recorded


def notes_on_missing_digests(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Notes on a model of tightc without digests: it is from an old version, or another tool removed them."""
    stages = _read_stages(proto)
    version = str(stages[-1].get("version", "")) if stages else ""
    if not stages or version.startswith(_VERSIONS_WITHOUT_DIGESTS):
        return (
            "the file was written by tightc 0.2.0 or older, without digests: damage to it is not noticed",
        )
    notes = (
        f"another tool removed the digests that tightc {_last_stage(proto)} wrote: damage is not noticed",
    )
    had_packings = stages[-1].get("stage") in ("permute", "unpack") and get_property(proto, PACKINGS) is None
    return (*notes, "the packings are gone too: run tightc permute again") if had_packings else notes


def _read_stages(proto: onnx.ModelProto) -> list[dict[str, Any]]:
    """The records of the history; empty where it cannot be read."""
    try:
        stages = read_json(get_property(proto, HISTORY) or "[]")
    except ValueError:
        return []
    return [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []


def _last_stage(proto: onnx.ModelProto) -> str:
    """The stage that wrote the model; empty where its history cannot be read."""
    stages = _read_stages(proto)
    return str(stages[-1].get("stage", "")) if stages else ""
