"""Prune: set the least salient weights to zero, one by one or in units that fill an array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tightc.calibration.calibration import Calibration, calibration_of
from tightc.data.images import NormalizedImages
from tightc.data.samples import Samples
from tightc.errors import ModelError, OptionError
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import Rows, density_metrics
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.mac_counts import coverage
from tightc.model.onnx_proto.stored_tensors import Array, LazyArrays
from tightc.model.packings.metadata import is_permuted, with_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.model.runtime.float32_copy import bfloat16_notes
from tightc.progress import Progress, no_progress
from tightc.pruning.fisher import fisher_saliency, require_torch
from tightc.pruning.live_selection import idle_in, select_live
from tightc.pruning.masks import Masks, masked, masks_sha256, read_masks
from tightc.pruning.options import PruneOptions
from tightc.pruning.zero_channels import with_zero_channels
from tightc.report import Report, Result, join_names
from tightc.selection.aligned import ROUNDING
from tightc.selection.balance import layer_balanced
from tightc.selection.network.budget_costs import budget_notes
from tightc.selection.network.prunable import Prunable, prunable
from tightc.selection.select import Candidates
from tightc.selection.subwords import subword_saliency, with_subwords
from tightc.selection.top_k import AnySaliency, Saliency, SaliencyBlocks
from tightc.tile.matrix import scaled
from tightc.tile.subwords import subwords_of


def prune(
    model: Model,
    options: PruneOptions,
    images: NormalizedImages | Samples | None = None,
    *,
    masks: Masks | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Result:
    """`model` with weights set to zero in all layers that are not skipped, until the target of `options` is met.

    Every layer keeps at least one weight. Weights on which no output depends any more go first. The remaining weights
    and their biases stay; only criterion obs adapts both.
    A removed filter outputs zeros: its bias and the shift of its norm go with it.
    With a mask in `options`, exactly the weights under its zeros go; `masks` are its arrays where it was not read from
    a file. Packings of the model are dropped, since they hold for other zeros. Criteria other than magnitude need
    `images`, drawn by `seed`; on one machine the result does not depend on the number of threads. `progress` is called
    while criteria run. OptionError if --skip matches no layer, images are missing, a mask does not fit, or a layer is
    too large for the criterion; ModelError or DataError if model and images do not fit.
    """
    plain = unpack_layers(model)
    network = read_network(plain)
    layers = [] if options.mask is not None else prunable(plain, network, options)
    added: tuple[str, ...] = ()
    recorded = options.model_dump(mode="json", exclude={"mask", *options.unrecorded()})
    if options.mask is not None:
        kept = read_masks(network, options.mask, masks)
        pruned, added = masked(plain, network, kept)
        recorded["mask"] = masks_sha256(kept)  # a path would say nothing, and differ between folders
    else:
        pruned = _pruned_model(plain, network, layers, options, _ImageSource(images, seed, progress))
    pruned = with_packings(pruned, {})
    drawn_by = seed if options.needs_images else None
    pruned = stage_result(pruned, HistoryEntry("prune", recorded, drawn_by), model)
    totals, rows = density_metrics(read_network(pruned))
    uncovered, covered = coverage(plain, network, options)
    ran = bfloat16_notes(plain.proto) if options.needs_images else ()
    notes = (*model.notes, *ran, *budget_notes(plain, options), *_notes(plain, rows, options), *added)
    notes += tuple(_filter_notes(layers, pruned, rows, options)) if layers else ()
    return Result(pruned, Report("prune", {**totals, "macs_covered": covered}, rows, uncovered, notes))


@dataclass(frozen=True)
class _ImageSource:
    """Where calibration images come from, and who is told of the progress with them."""

    images: NormalizedImages | Samples | None
    seed: int
    progress: Progress

    def calibration(self, model: Model, options: PruneOptions) -> Calibration:
        """As many images for `model` as `options` ask for; OptionError without images."""
        if self.images is None:
            raise OptionError(
                f"--criterion {options.criterion}: expected images, got none", "add --data PATH"
            )
        return calibration_of(model, self.images, options.image_count, self.seed)


def _pruned_model(
    model: Model, network: Network, layers: list[Prunable], options: PruneOptions, source: _ImageSource
) -> Model:
    """The plain `model` with fewer weights."""
    fraction = options.kept_fraction
    assert fraction is not None, "the options were checked"
    if network.quantized and options.needs_images:
        kinds = sorted({network.stored[name].name for name in network.quantized})
        raise ModelError(
            f"{model.origin}: --criterion {options.criterion}: expected float weights, got {', '.join(kinds)}",
            "prune before tightc quantize, or by magnitude",
        )
    if options.criterion == "obs":
        from tightc.pruning.obs.obs import ObsPruner  # imports numba, which magnitude does not need

        calibration = source.calibration(model, options)
        pruner = ObsPruner(model, network, layers, calibration, progress=source.progress)
        return network.store(model, pruner.prune(options, fraction))
    if options.granularity == "subword":
        return network.store(model, _subwords_pruned(model, network, layers, options, fraction))
    saliencies: Sequence[AnySaliency]
    if options.criterion == "fisher":
        require_torch()
        calibration = source.calibration(model, options)
        saliencies = fisher_saliency(model, network, layers, calibration, source.progress)
    else:
        saliencies = [squared_weights(network, entry.layer) for entry in layers]
    if options.criterion == "balanced":
        saliencies = [layer_balanced(np.asarray(saliency)) for saliency in saliencies]
    candidates = [
        Candidates(saliency, entry.layer.groups, entry.costs, entry.channels)
        for saliency, entry in zip(saliencies, layers, strict=True)
    ]
    find_idle = idle_in(model, network, [entry.layer for entry in layers])
    masks = select_live(candidates, options, fraction, find_idle)

    def pruned(index: int) -> Array:
        layer = layers[index].layer
        matrix = network.matrix(layer)
        values = np.where(masks[index], matrix, matrix.dtype.type(0))
        del matrix  # a large layer is in memory as few times as possible
        return layer.tensor(values, network.shapes[layer.weight])

    makers = {entry.layer.weight: partial(pruned, index) for index, entry in enumerate(layers)}
    graph, result = layers[0].channels, network.store(model, LazyArrays(makers))
    return result if graph is None else with_zero_channels(result, graph, masks)


def squared_weights(network: Network, layer: Layer) -> SaliencyBlocks:
    """The saliency of each weight of `layer` by magnitude: its square, dequantized."""

    def load() -> Callable[[int, int], Saliency]:
        matrix, scale = network.matrix(layer), network.scales.get(layer.weight)

        def rows(first: int, last: int) -> Saliency:
            own = scale if scale is None or len(scale) == 1 else scale[first:last]
            squared: Saliency = np.square(scaled(matrix[first:last].astype(np.float64), own))
            return squared

        return rows

    return SaliencyBlocks((layer.filters, layer.inputs), load)


def _subwords_pruned(
    model: Model, network: Network, layers: list[Prunable], options: PruneOptions, fraction: float
) -> dict[str, np.ndarray]:
    """The int8 weights of `layers` with a `fraction` of their subwords."""
    network.require_subwords([entry.layer for entry in layers], model.origin)
    bits = options.bits_per_subword
    saliencies = [
        subword_saliency(network.dequantized_matrix(entry.layer), network.scales[entry.layer.weight], bits)
        for entry in layers
    ]
    if options.criterion == "balanced":
        saliencies = [layer_balanced(saliency) for saliency in saliencies]
    candidates = [
        Candidates(saliency, entry.layer.groups, entry.costs)
        for saliency, entry in zip(saliencies, layers, strict=True)
    ]
    pruned = {}
    find_idle = idle_in(model, network, [entry.layer for entry in layers], units=subwords_of(bits))
    masks = select_live(candidates, options, fraction, find_idle)
    for entry, kept in zip(layers, masks, strict=True):
        matrix = network.matrix(entry.layer)
        shape = network.shapes[entry.layer.weight]
        pruned[entry.layer.weight] = entry.layer.tensor(with_subwords(matrix, kept, bits), shape)
    return pruned


def _notes(before: Model, rows: Rows, options: PruneOptions) -> tuple[str, ...]:
    notes = []
    single = (
        []
        if options.mask is not None
        else [row["label"] for row in rows if row["nonzeros"] == 1 and row["weights"] > 1]
    )
    if single:
        notes.append(
            f"{join_names(single)}: only one weight is left; --min-density, --skip or --scope layer keeps more"
        )
    if is_permuted(before):
        notes.append("the packings held for other zeros and were dropped: run tightc permute again")
    if options.budget is not None and options.budget.kind in ("speedup", "energy"):
        notes.append(
            f"{options.budget} is met by an estimate of the tiles: tightc simulate on the permuted model has what is "
            "reached"
        )
    return tuple(notes)


def _filter_notes(layers: list[Prunable], pruned: Model, rows: Rows, options: PruneOptions) -> Iterator[str]:
    """Which operators keep all filters of layers, and whether the target was missed."""
    graph, fraction = layers[0].channels, options.kept_fraction
    if graph is None or fraction is None:
        return
    network = read_network(pruned)
    obstacles = [(layers[index].layer, operator) for index, operator in graph.obstacles]
    stuck = [pair for pair in obstacles if network.matrix(pair[0]).any(axis=1).all()]
    for operator in dict.fromkeys(operator for _, operator in stuck):
        kept = [layer.label for layer, other in stuck if other == operator]
        yield f"{join_names(kept)}: filters stay, since their channels cannot be followed through {operator}"
    names = {entry.layer.name for entry in layers}
    own = [row for row in rows if row["name"] in names]
    density = sum(row["nonzeros"] for row in own) / sum(row["weights"] for row in own)
    if density > fraction * (1 + ROUNDING):
        yield (
            f"expected a density of {fraction:.3g}, got {density:.3g}: the other filters stay, since they reach an "
            "output or are the last of their layers; prune single weights too, or expect less"
        )
