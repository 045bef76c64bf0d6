"""Unpack: restore the plain model from its packed form."""

from __future__ import annotations

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.layer_metrics import packing_metrics, with_stream_bits
from tightc.model.layer_view.layers import read_network
from tightc.model.onnx_proto.serialization import serialized_size
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import is_packed, unpack_layers
from tightc.model.packings.weight_stream import WeightStream
from tightc.report import Report, Result


def unpack(model: Model, stream: bytes | None = None, origin: str = "stream") -> Result:
    """The plain model of a packed `model`, with the same weights to the bit (zeros lose their sign) and its packings.

    `stream`: the memory image of a weight stream, named `origin`, that is to hold the same tiles and weights.
    ModelError if the model is not packed; StreamError if the stream is damaged or another one.
    """
    if not is_packed(model):
        raise ModelError(
            f"{model.origin}: expected a packed model, got a plain one", "give a model that tightc pack wrote"
        )
    plain = stage_result(unpack_layers(model), HistoryEntry("unpack"), model)
    network = read_network(plain)
    packings = matching_packings(plain, network)
    held = WeightStream.of(network, packings)
    if stream is not None:
        held.require_equal(stream, origin)
    totals, layers = with_stream_bits(*packing_metrics(network, packings), held.bits())
    sizes = {"bytes_in": serialized_size(model.proto), "bytes_out": serialized_size(plain.proto)}
    return Result(plain, Report("unpack", {**totals, **sizes}, layers, notes=model.notes))
