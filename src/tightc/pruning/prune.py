"""Prune: set the weights worth least to zero, wherever they are, or so that what is left fills an array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tightc.calibration.calibration import Calibration
from tightc.data.images import NormalizedImages
from tightc.errors import ModelError, OptionError
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.layer_metrics import Rows, density_metrics
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.mac_counts import coverage
from tightc.model.packings.metadata import is_permuted, with_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.progress import Progress, no_progress
from tightc.pruning.fisher import fisher_worths, require_torch
from tightc.pruning.options import PruneOptions
from tightc.report import Report, first_few
from tightc.selection.prunable import Prunable, prunable
from tightc.selection.select import Candidates, select
from tightc.selection.subwords import subword_saliency, with_digits
from tightc.tile.subwords import subwords_of


def prune(
    model: Model,
    options: PruneOptions,
    seen: NormalizedImages | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> tuple[Model, Report]:
    """`model` with weights of its layers (those kept aside) set to zero until the share asked for is left.

    Biases stay, and so do the weights that are left, but with criterion obs, which adapts both. Every layer keeps at
    least one weight. An arrangement of the model is dropped: it was made for other zeros. Criteria other than magnitude
    look at images that are `seen`, drawn by `seed`: on one machine the same bytes come out for any number of threads.
    OptionError where --keep names no layer, images are missing, or a layer is too large for the criterion; ModelError
    and DataError where model and images do not fit.
    """
    plain = unpack_layers(model)
    network = read_network(plain)
    layers = prunable(plain, network, options)
    changed = _changed(plain, network, layers, options, _Sight(seen, seed, progress))
    pruned = with_packings(plain.with_tensors(changed), {})
    drawn_by = seed if options.sees_images else None
    pruned = stage_result(pruned, HistoryEntry("prune", options.model_dump(mode="json"), drawn_by), model)
    totals, rows = density_metrics(read_network(pruned))
    uncovered, covered = coverage(plain, network)
    notes = (*model.notes, *_notes(plain, rows, options))
    return pruned, Report("prune", {**totals, "macs_covered": covered}, rows, uncovered, notes)


@dataclass(frozen=True)
class _Sight:
    seen: NormalizedImages | None
    seed: int
    progress: Progress

    def drawn(self, model: Model, options: PruneOptions) -> Calibration:
        if self.seen is None:
            raise OptionError(
                f"--criterion {options.criterion}: it looks at images, and there are none", "add --data PATH"
            )
        return Calibration.of(
            model, self.seen.images, self.seen.normalization, options.image_count, self.seed
        )


def _changed(
    model: Model, network: Network, layers: list[Prunable], options: PruneOptions, sight: _Sight
) -> dict[str, np.ndarray]:
    """The tensors that pruning changes, by name."""
    share = options.share
    assert share is not None, "the options were checked"
    if network.quantized and options.sees_images:
        raise ModelError(
            f"{model.origin}: its weights are whole numbers, {options.criterion} wants real ones",
            "prune before tightc quantize, or by magnitude",
        )
    if options.criterion == "obs":
        from tightc.pruning.obs.obs import SecondOrder  # which loads a compiler that magnitude does without

        calibration = sight.drawn(model, options)
        return SecondOrder(model, network, layers, calibration, sight.progress).prune(options, share)
    if options.granularity == "subword":
        return _with_fewer_digits(model, network, layers, options, share)
    matrices = [network.matrix(entry.layer) for entry in layers]
    if options.criterion == "fisher":
        require_torch()
        worths = fisher_worths(model, network, layers, sight.drawn(model, options), sight.progress)
    else:
        worths = [np.square(network.dequantized_matrix(entry.layer)) for entry in layers]
    candidates = [
        Candidates(worth, entry.layer.groups, entry.vectors, entry.channels)
        for worth, entry in zip(worths, layers, strict=True)
    ]
    pruned = {}
    for entry, matrix, kept in zip(layers, matrices, select(candidates, options, share), strict=True):
        weight = network.weights[entry.layer.weight]
        left = np.where(kept, matrix, weight.dtype.type(0))
        pruned[entry.layer.weight] = entry.layer.tensor(left, weight.shape)
    return pruned


def _with_fewer_digits(
    model: Model, network: Network, layers: list[Prunable], options: PruneOptions, share: float
) -> dict[str, np.ndarray]:
    """The int8 weights of `layers` with a share of their digits."""
    network.require_subwords([entry.layer for entry in layers], model.origin)
    bits = options.digit_bits
    candidates = [
        Candidates(
            subword_saliency(
                network.dequantized_matrix(entry.layer), network.quantized[entry.layer.weight].scale, bits
            ),
            entry.layer.groups,
            entry.vectors,
            digits=subwords_of(bits),
        )
        for entry in layers
    ]
    pruned = {}
    for entry, kept in zip(layers, select(candidates, options, share), strict=True):
        matrix = network.matrix(entry.layer)
        shape = network.weights[entry.layer.weight].shape
        pruned[entry.layer.weight] = entry.layer.tensor(with_digits(matrix, kept, bits), shape)
    return pruned


def _notes(before: Model, rows: Rows, options: PruneOptions) -> tuple[str, ...]:
    notes = []
    lone = [row["name"] for row in rows if row["nonzeros"] == 1 and row["weights"] > 1]
    if lone:
        notes.append(
            f"{first_few(lone)}: a single weight is left; --floor, --keep or --scope layer would spare more"
        )
    if options.granularity == "filter" and options.criterion != "obs":
        notes.append(
            "a filter without weights gives a constant, what bias and norm make of zero; where the inputs that read it "
            "went with it, the constant is missing until tightc finetune trains the rest"
        )
    if is_permuted(before):
        notes.append("the arrangement was made for other zeros and is gone: run tightc permute again")
    return tuple(notes)
