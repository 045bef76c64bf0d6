"""Pack: replace every permuted weight by its packed tensors and a function that rebuilds it."""

from __future__ import annotations

from collections.abc import Mapping

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.layer_metrics import packing_metrics, with_stream_bits
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.mac_counts import coverage
from tightc.model.onnx_proto.serialization import serialized_size
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import is_packed, pack_layers
from tightc.model.packings.weight_stream import WeightStream
from tightc.packing.options import PackOptions
from tightc.packing.strip import stripped
from tightc.report import Report, Result
from tightc.tile.packing import Packing

_PLAIN = PackOptions()


def pack(model: Model, options: PackOptions = _PLAIN) -> Result:
    """The packed form of a permuted `model`, which runs in stock onnxruntime and gives the same outputs.

    `options`: whether to strip it. ModelError if the model has no packings, or they do not hold all of its weights.
    """
    network, packings = _permuted(model)
    stream = WeightStream.of(network, packings)
    return _packed(model, options, network, packings, stream)


def pack_with_stream(model: Model, options: PackOptions = _PLAIN) -> tuple[Result, bytes]:
    """(as `pack`, with tiles in the order of the stream; the memory image of the weight stream).

    ModelError also where no layer has tiles but dense ones.
    """
    network, packings = _permuted(model)
    stream = WeightStream.of(network, packings)
    if not stream.layers:
        raise ModelError(
            f"{model.origin}: expected packed layers for a stream, got dense ones only",
            "run tightc permute with another method, or leave the stream out",
        )
    result = _packed(model, options, network, {**packings, **stream.packings}, stream)
    return result, stream.image()


def _permuted(model: Model) -> tuple[Network, dict[str, Packing]]:
    """The network of a permuted `model` with its packings, by weight."""
    if is_packed(model):
        raise ModelError(
            f"{model.origin}: expected a permuted model, got a packed one",
            "use it as it is, or run tightc unpack first",
        )
    network = read_network(model)
    packings = matching_packings(model, network)
    if not packings:
        raise ModelError(
            f"{model.origin}: expected a permuted model, got one without packings", "run tightc permute first"
        )
    return network, dict(packings)


def _packed(
    model: Model,
    options: PackOptions,
    network: Network,
    packings: Mapping[str, Packing],
    stream: WeightStream,
) -> Result:
    """The packed form of `model` with these `packings`, and its report."""
    # a layer of zeros only has no tiles to rebuild it from: it stays as it is
    nonempty = {weight: packing for weight, packing in packings.items() if packing.tiles}
    packed = pack_layers(model, network, nonempty)
    if options.strip:
        packed = stripped(packed)
    packed = stage_result(packed, HistoryEntry("pack", options.model_dump(mode="json")), model)
    totals, layers = with_stream_bits(*packing_metrics(network, packings), stream.bits())
    bytes_before, bytes_after = serialized_size(model.proto), serialized_size(packed.proto)
    notes = model.notes
    if bytes_after > bytes_before:
        notes += ("packing made the file larger: indices and functions take more bytes than the zeros",)
    uncovered, covered = coverage(model, network)
    sizes = {"bytes_in": bytes_before, "bytes_out": bytes_after, "macs_covered": covered}
    return Result(packed, Report("pack", {**totals, **sizes}, layers, uncovered, notes))
