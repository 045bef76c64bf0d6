"""The accelerator that a model runs on: the options', checked against what the model was permuted for."""

from __future__ import annotations

from pydantic import ValidationError

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.hardware import Hardware
from tightc.config.options import first_problem, problem_message
from tightc.errors import OptionError
from tightc.simulation.options import SimulateOptions
from tightc.simulation.workload import Workload
from tightc.tile.array import ArrayShape

_DEFAULT = ArrayShape(32, 32)


def choose_accelerator(workload: Workload, options: SimulateOptions) -> Accelerator:
    """The accelerator that `options` describe.

    OptionError where the packings of `workload` need another array, dataflow or fan-in.
    """
    hardware = options.hardware
    permuted = next((layer.packing.array for layer in workload.layers if layer.packing), None)
    array = options.array or (hardware.array if hardware else permuted) or _DEFAULT
    if permuted:
        _check_packings(permuted, array, options)
    _check_overlap(options)
    if hardware is None:
        return Accelerator(
            array,
            options.arrays or 1,
            bool(options.prefetch_weights),
            replicate_tiles=bool(options.replicate_tiles),
            columns_per_lane_register=options.columns_per_lane_register or 1,
            overlap_drain=bool(options.overlap_drain),
            accumulator_bypass=bool(options.accumulator_bypass),
        )
    hardware = _overridden(hardware, array, options)
    if hardware.activation_buffer.banks is not None and options.dataflow != "ws":
        raise OptionError(
            f"--dataflow: expected ws, since the activation buffer of --hardware {hardware.name} has banks, got "
            f"{options.dataflow}",
            "use --dataflow ws, or leave banks out of the hardware file",
        )
    needed = max(
        (tile.fan_in for layer in workload.layers if layer.packing for tile in layer.packing.tiles), default=1
    )
    if needed > hardware.fan_in:
        raise OptionError(
            f"--hardware {hardware.name}: expected a fan-in of at least {needed}, which the model's tiles need, got "
            f"{hardware.fan_in}",
            f"run tightc permute --fan-in {hardware.fan_in} first",
        )
    return Accelerator.of(hardware)


def _check_packings(permuted: ArrayShape, array: ArrayShape, options: SimulateOptions) -> None:
    """OptionError unless tiles for an array of `permuted` run on `array` in the dataflow of the options."""
    if options.dataflow != "ws":
        raise OptionError(
            f"--dataflow: expected ws, since the model's tiles are weight-stationary, got {options.dataflow}",
            "use --dataflow ws, or simulate the model from before tightc permute",
        )
    if array != permuted:
        flag = f"--hardware {options.hardware.name}" if options.hardware and not options.array else "--array"
        raise OptionError(
            f"{flag}: expected {permuted}, the array that the model was permuted for, got {array}",
            f"use --array {permuted}, or run tightc permute --array {array} first",
        )


def _check_overlap(options: SimulateOptions) -> None:
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
    if overlaps and options.dataflow == "os":
        raise OptionError(
            "--overlap-drain: expected --dataflow ws or is beside it, which load tiles, got os",
            "use --dataflow ws or is, or give --no-overlap-drain",
        )


def _overridden(hardware: Hardware, array: ArrayShape, options: SimulateOptions) -> Hardware:
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
        problem = first_problem(invalid)
        key = ".".join(str(part) for part in (*problem["loc"], *problem.get("ctx", {}).get("at", ())))
        sentence, remedy = problem_message(Hardware, problem)
        raise OptionError(f"--array {array} on {hardware.name}: {key}: {sentence}", remedy) from None
