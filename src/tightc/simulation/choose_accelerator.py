"""Which chip a model runs on: what the options say, where it fits what the model was arranged for."""

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
    """The chip of the options; OptionError where the arrangement needs another array, dataflow or fan-in."""
    arranged = next((layer.packing.array for layer in workload.layers if layer.packing), None)
    hardware = options.hardware
    if arranged and options.dataflow != "ws":
        raise OptionError(
            f"--dataflow {options.dataflow}: the model's tiles are weight-stationary",
            "use --dataflow ws, or simulate the model as it was before tightc permute",
        )
    array = options.array or (hardware.array if hardware else arranged) or _DEFAULT
    if arranged and array != arranged:
        where = (
            f"--array {array}"
            if options.array
            else f"--hardware {hardware.name if hardware else ''} ({array})"
        )
        raise OptionError(
            f"{where}: the model was arranged for {arranged}",
            f"use --array {arranged}, or run tightc permute --array {array} first",
        )
    if hardware is None:
        beside = bool(options.replicate_tiles)
        return Accelerator(array, options.arrays or 1, bool(options.prefetch_weights), replicate_tiles=beside)
    hardware = _changed(hardware, array, options)
    needed = max(
        (tile.fan_in for layer in workload.layers if layer.packing for tile in layer.packing.tiles), default=1
    )
    if needed > hardware.fan_in:
        raise OptionError(
            f"--hardware {hardware.name}: fan-in {hardware.fan_in}, the model's tiles need {needed}",
            f"run tightc permute --fan-in {hardware.fan_in} first",
        )
    return Accelerator.of(hardware)


def _changed(hardware: Hardware, array: ArrayShape, options: SimulateOptions) -> Hardware:
    """`hardware` with what flags say instead; OptionError where its buffers are too small for that."""
    names = ("arrays", "prefetch_weights", "replicate_tiles")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    try:
        return Hardware.model_validate({**hardware.model_dump(), "array": array, **given})
    except ValidationError as invalid:
        fault = first_problem(invalid)
        key = ".".join(str(part) for part in (*fault["loc"], *fault.get("ctx", {}).get("at", ())))
        sentence, remedy = problem_message(Hardware, fault)
        raise OptionError(f"--array {array} on {hardware.name}: {key}: {sentence}", remedy) from None
