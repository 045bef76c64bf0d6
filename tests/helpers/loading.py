"""Models as the stages read them."""

from __future__ import annotations

import onnx

from tightc.model.file import Model, load_model_bytes


def loaded(proto: onnx.ModelProto, origin: str = "net.onnx") -> Model:
    """The model that `proto` holds, as if it had been read from the file `origin`."""
    return load_model_bytes(proto.SerializeToString(), origin)
