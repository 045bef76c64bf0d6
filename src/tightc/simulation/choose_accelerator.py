"""The accelerator that a model runs on: the options', checked against what the model was permuted for."""

from __future__ import annotations

from pydantic import ValidationError

from tightc.config.options import first_problem, problem_message
from tightc.errors import OptionError
from tightc.simulation.accelerator.accelerator import Accelerator
from tightc.simulation.accelerator.hardware import Hardware
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
    if hardware is None:
        return Accelerator(
            array,
            options.arrays or 1,
            bool(options.prefetch_weights),
            replicate_tiles=bool(options.replicate_tiles),
        )
    hardware = _overridden(hardware, array, options)
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


def _overridden(hardware: Hardware, array: ArrayShape, options: SimulateOptions) -> Hardware:
    """`hardware` with the values of the flags; OptionError where its buffers are too small for them."""
    names = ("arrays", "prefetch_weights", "replicate_tiles")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    try:
        return Hardware.model_validate({**hardware.model_dump(), "array": array, **given})
    except ValidationError as invalid:
        problem = first_problem(invalid)
        key = ".".join(str(part) for part in (*problem["loc"], *problem.get("ctx", {}).get("at", ())))
        sentence, remedy = problem_message(Hardware, problem)
        raise OptionError(f"--array {array} on {hardware.name}: {key}: {sentence}", remedy) from None
