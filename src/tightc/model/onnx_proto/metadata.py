"""Metadata properties of a model, and the keys that tightc uses."""

from __future__ import annotations

import onnx

PACKINGS = "tightc.packings"
HISTORY = "tightc.history"
DIGESTS = "tightc.digests"


def get_property(proto: onnx.ModelProto, key: str) -> str | None:
    """The metadata property `key` of `proto`, None where it has none."""
    return next((entry.value for entry in proto.metadata_props if entry.key == key), None)


def set_property(proto: onnx.ModelProto, key: str, value: str | None) -> None:
    """Set the metadata property `key` of `proto` to `value` in place; None removes it."""
    kept = [entry for entry in proto.metadata_props if entry.key != key]
    if value is not None:
        kept.append(onnx.StringStringEntryProto(key=key, value=value))
    copies = [onnx.StringStringEntryProto(key=entry.key, value=entry.value) for entry in kept]
    del proto.metadata_props[:]
    proto.metadata_props.extend(copies)
