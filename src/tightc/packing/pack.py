"""Pack: replace every permuted weight by its packed tensors and a function that rebuilds it."""

from __future__ import annotations

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.layer_metrics import packing_metrics
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.mac_counts import coverage
from tightc.model.onnx_proto.serialization import serialized_size
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import is_packed, pack_layers
from tightc.packing.options import PackOptions
from tightc.packing.strip import stripped
from tightc.report import Report, Result

_PLAIN = PackOptions()


def pack(model: Model, options: PackOptions = _PLAIN) -> Result:
    """The packed form of a permuted `model`, which runs in stock onnxruntime and gives the same outputs.

    `options`: whether to strip it. ModelError if the model has no packings, or they do not hold all of its weights.
    """
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
    # a layer of zeros only has no tiles to rebuild it from: it stays as it is
    nonempty = {weight: packing for weight, packing in packings.items() if packing.tiles}
    packed = pack_layers(model, network, nonempty)
    if options.strip:
        packed = stripped(packed)
    packed = stage_result(packed, HistoryEntry("pack", options.model_dump(mode="json")), model)
    totals, layers = packing_metrics(network, packings)
    bytes_before, bytes_after = serialized_size(model.proto), serialized_size(packed.proto)
    notes = model.notes
    if bytes_after > bytes_before:
        notes += ("packing made the file larger: indices and functions take more bytes than the zeros",)
    uncovered, covered = coverage(model, network)
    sizes = {"bytes_in": bytes_before, "bytes_out": bytes_after, "macs_covered": covered}
    return Result(packed, Report("pack", {**totals, **sizes}, layers, uncovered, notes))
