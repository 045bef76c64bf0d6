"""The accelerator that options describe: that of a hardware file with the values of flags in their place, or ideal."""

from __future__ import annotations

from pydantic import ValidationError

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.hardware import Hardware
from tightc.accelerator.options import HardwareOptions
from tightc.config.options import faults_of
from tightc.errors import OptionError
from tightc.tile.array import ArrayShape


def accelerator_of(options: HardwareOptions, array: ArrayShape) -> Accelerator:
    """The accelerator of `options` with arrays of that size; OptionError where they contradict each other."""
    _check_overlap(options)
    if options.hardware is not None:
        return Accelerator.of(_overridden(options.hardware, array, options))
    return Accelerator(
        array,
        options.arrays or 1,
        bool(options.prefetch_weights),
        replicate_tiles=bool(options.replicate_tiles),
        columns_per_lane_register=options.columns_per_lane_register or 1,
        overlap_drain=bool(options.overlap_drain),
        accumulator_bypass=bool(options.accumulator_bypass),
    )


def _overridden(hardware: Hardware, array: ArrayShape, options: HardwareOptions) -> Hardware:
    """`hardware` with the values of the flags; OptionError where its buffers are too small for them."""
    names = (
        "arrays",
        "prefetch_weights",
        "replicate_tiles",
        "columns_per_lane_register",
        "overlap_drain",
        "accumulator_bypass",
    )
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    try:
        return Hardware.model_validate({**hardware.model_dump(), "array": array, **given})
    except ValidationError as invalid:
        location, sentence, remedy = faults_of(Hardware, invalid)[0]
        key = ".".join(map(str, location))
        raise OptionError(f"--array {array} on {hardware.name}: {key}: {sentence}", remedy) from None


def _check_overlap(options: HardwareOptions) -> None:
    """OptionError where a tile is to start early and the options, or their hardware, do not load it early."""
    overlaps, prefetches = (
        given if given is not None else bool(options.hardware and getattr(options.hardware, name))
        for name, given in (
            ("overlap_drain", options.overlap_drain),
            ("prefetch_weights", options.prefetch_weights),
        )
    )
    if overlaps and not prefetches:
        raise OptionError(
            "--overlap-drain: expected --prefetch-weights beside it, got none",
            "add --prefetch-weights, or give --no-overlap-drain",
        )
