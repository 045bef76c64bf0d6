"""Pruned weights put back, to see whether any output of the network depends on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from helpers import models


def assert_idle(before: onnx.ModelProto, after: onnx.ModelProto, weights: Mapping[str, np.ndarray]) -> None:
    """No output of the pruned network changes if these of its weights, bool by name, have their values again.

    One layer at a time: together, a filter and what reads it would count.
    """
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in before.graph.initializer}
    feed = models.feeds(after, seed=1)
    plain = _outputs(after, feed)
    for name, chosen in weights.items():
        if chosen.any():
            again = onnx.ModelProto()
            again.CopyFrom(after)
            for tensor in again.graph.initializer:
                if tensor.name == name:
                    restored = np.where(chosen, values[name], numpy_helper.to_array(tensor))
                    tensor.CopyFrom(numpy_helper.from_array(restored, name))
            for found, wanted in zip(_outputs(again, feed), plain, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def larger_than_kept(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The pruned weights that are larger than one that is kept of the same filter, all (filters, inputs)."""
    kept = np.where(after != 0, np.abs(before), np.inf).min(axis=1, keepdims=True)
    return (after == 0) & (np.abs(before) > kept)


def _outputs(proto: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feed)))
