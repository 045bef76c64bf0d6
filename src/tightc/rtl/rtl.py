"""Rtl: a model with int8 operands as an accelerator in SystemVerilog, with the contents of its memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tightc.accelerator.accelerator import Accelerator
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.intermediate_values import random_feeds, read_feeds
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.progress import Progress, no_progress
from tightc.report import Report
from tightc.rtl.image import LayerImage, layer_images
from tightc.rtl.options import RtlOptions
from tightc.simulation.workload import Workload, read_workload
from tightc.tile.array import ArrayShape

_DEFAULT = ArrayShape(32, 32)
_LARGEST_FAN_IN = 1024


@dataclass(frozen=True)
class Design:
    """An accelerator and the network in its memories: `parameters` of the modules, `images` of the layers, a report."""

    origin: str
    parameters: Mapping[str, int]
    images: tuple[LayerImage, ...]
    report: Report


def rtl(model: Model, options: RtlOptions, *, seed: int = 0, progress: Progress = no_progress) -> Design:
    """The accelerator that `options` describe, with the layers of `model` that have int8 operands.

    Every layer reads what onnxruntime has at its input in one run, on `options.inputs` or on random inputs from `seed`.
    A layer without a packing runs dense. OptionError where the packings need another array or a larger fan-in, or no
    layer has int8 operands.
    """
    options, assumed = resolve_open_sizes(model.proto, model.origin, options)
    workload = read_workload(model, options)
    fan_in, subword_bits = _fan_in(workload, options), _subword_bits(workload)
    accelerator = _accelerator(workload, options)
    if options.inputs:
        feeds = read_feeds(options.inputs, workload.plain, options)
    else:
        feeds = random_feeds(workload.plain, options, seed)
    images, left_out = layer_images(workload, accelerator, fan_in, feeds, progress)
    parameters = {
        "ROWS": accelerator.array.rows,
        "COLUMNS": accelerator.array.columns,
        "FAN_IN": fan_in,
        "ONE_HOT": int(options.multiplexer == "one-hot"),
        "COLUMNS_PER_REGISTER": accelerator.columns_per_lane_register,
        "SHADOW": int(accelerator.prefetch),
        "OVERLAP": int(accelerator.overlap_drain),
        "BYPASS": int(accelerator.accumulator_bypass),
        "SUBWORD_BITS": subword_bits,
        "LAYERS": len(images),
        "TILES": max(1, sum(len(image.tiles.slots) for image in images)),
        "FILTERS": sum(image.sums.shape[1] for image in images),
        "ACTIVATIONS": sum(image.window.bytes.size for image in images),
        "SIDE_BITS": max(image.window.largest_side for image in images).bit_length(),
        "OUTPUTS": sum(image.sums.size for image in images),
        "PARTIAL_SUMS": max(image.sums.size for image in images),
    }
    notes = (*model.notes, *assumed, *_left_out_note(left_out))
    report = Report("rtl", _totals(parameters, options, images), _rows(images), workload.uncovered, notes)
    return Design(model.origin, parameters, tuple(images), report)


def _fan_in(workload: Workload, options: RtlOptions) -> int:
    """The multiplexers' inputs: as asked for, or as the tiles need."""
    packings = [entry.packing for entry in workload.layers if entry.packing]
    needed = max((tile.fan_in for packing in packings for tile in packing.tiles), default=1)
    if options.fan_in is not None and options.fan_in < needed:
        raise OptionError(
            f"--fan-in: expected at least {needed}, which the model's tiles need, got {options.fan_in}",
            f"give {needed}, or run tightc permute --fan-in {options.fan_in} first",
        )
    wanted = options.fan_in or max((packing.fan_in for packing in packings), default=1)
    if wanted > _LARGEST_FAN_IN:
        raise OptionError(
            f"--fan-in: expected tiles of at most {_LARGEST_FAN_IN} inputs a lane, got {wanted}",
            "run tightc permute --fan-in 8 first",
        )
    return wanted


def _subword_bits(workload: Workload) -> int:
    """Bits of the subwords that slots hold, 0 for whole weights; OptionError where layers differ."""
    found = {entry.packing.subword_bits or 0 for entry in workload.layers if entry.packing}
    if any(found) and any(entry.packing is None for entry in workload.layers):
        found.add(0)
    if len(found) > 1:
        kinds = " and ".join(f"{bits} bits" if bits else "whole weights" for bits in sorted(found))
        raise OptionError(
            f"{workload.plain.origin}: expected slots of one kind in all layers, got {kinds}",
            "permute all layers with the same subwords",
        )
    return found.pop() if found else 0


def _accelerator(workload: Workload, options: RtlOptions) -> Accelerator:
    permuted = next((entry.packing.array for entry in workload.layers if entry.packing), None)
    array = options.array or permuted or _DEFAULT
    if permuted and array != permuted:
        raise OptionError(
            f"--array: expected {permuted}, the array that the model was permuted for, got {array}",
            f"use --array {permuted}, or run tightc permute --array {array} first",
        )
    if options.overlap_drain and not options.prefetch_weights:
        raise OptionError(
            "--overlap-drain: expected --prefetch-weights too, got none", "add --prefetch-weights"
        )
    return Accelerator(
        array,
        prefetch=options.prefetch_weights,
        columns_per_lane_register=options.columns_per_lane_register,
        overlap_drain=options.overlap_drain,
        accumulator_bypass=options.accumulator_bypass,
    )


def _totals(
    parameters: Mapping[str, int], options: RtlOptions, images: Sequence[LayerImage]
) -> dict[str, Any]:
    return {
        "array": f"{parameters['ROWS']}x{parameters['COLUMNS']}",
        "fan_in": parameters["FAN_IN"],
        "multiplexer": options.multiplexer,
        "columns_per_lane_register": options.columns_per_lane_register,
        "prefetch_weights": options.prefetch_weights,
        "overlap_drain": options.overlap_drain,
        "accumulator_bypass": options.accumulator_bypass,
        "passes": sum(len(image.tiles.slots) for image in images),
        "cycles": sum(image.cycles for image in images),
    }


def _rows(images: Sequence[LayerImage]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            **image.workload.identity,
            "method": image.workload.method,
            "vectors": len(image.sums),
            "passes": len(image.tiles.slots),
            "cycles": image.cycles,
            "requantized": image.bytes is not None,
            "reads": None if image.source is None else images[image.source].workload.layer.name,
        }
        for image in images
    )


def _left_out_note(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (f"left out, as their operands are not int8 with one scale a filter: {shown}",)
