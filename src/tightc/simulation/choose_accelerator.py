"""The accelerator that a model runs on: the options', checked against what the model was permuted for."""

from __future__ import annotations

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.choose import accelerator_of
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
    needed = max(
        (tile.fan_in for layer in workload.layers if layer.packing for tile in layer.packing.tiles), default=1
    )
    fits = hardware is None or needed <= hardware.fan_in
    if permuted:
        _check_packings(permuted, array, options, fits=fits)
    accelerator = accelerator_of(options, array)
    _check_dataflow(accelerator, options)
    if hardware is not None and not fits:
        raise OptionError(
            f"--hardware {hardware.name}: expected a fan-in of at least {needed}, which the model's tiles need, got "
            f"{hardware.fan_in}",
            _permute_again(array, options),
        )
    return accelerator


def _check_packings(permuted: ArrayShape, array: ArrayShape, options: SimulateOptions, *, fits: bool) -> None:
    """OptionError unless tiles for an array of `permuted` run on `array` in the dataflow of the options.

    `fits`: whether their fan-in is one of the hardware.
    """
    if options.dataflow != "ws":
        raise OptionError(
            f"--dataflow: expected ws, since the model's tiles are weight-stationary, got {options.dataflow}",
            "use --dataflow ws, or simulate the model from before tightc permute",
        )
    if array != permuted:
        flag = f"--hardware {options.hardware.name}" if options.hardware and not options.array else "--array"
        again = _permute_again(array, options)
        raise OptionError(
            f"{flag}: expected {permuted}, the array that the model was permuted for, got {array}",
            f"use --array {permuted}, or {again}" if fits else again,
        )


def _permute_again(array: ArrayShape, options: SimulateOptions) -> str:
    """The remedy that always works: to permute for the `array` and hardware of `options`."""
    if options.hardware is None:
        return f"run tightc permute --array {array} first"
    return f"run tightc permute with this --hardware{f' and --array {array}' if options.array else ''} first"


def _check_dataflow(accelerator: Accelerator, options: SimulateOptions) -> None:
    """OptionError where a tile is to start early and the dataflow loads none, or does not read banks."""
    hardware = options.hardware
    if hardware and hardware.activation_buffer.banks is not None and options.dataflow != "ws":
        raise OptionError(
            f"--dataflow: expected ws, since the activation buffer of --hardware {hardware.name} has banks, got "
            f"{options.dataflow}",
            "use --dataflow ws, or leave banks out of the hardware file",
        )
    if accelerator.overlap_drain and options.dataflow == "os":
        raise OptionError(
            "--overlap-drain: expected --dataflow ws or is beside it, which load tiles, got os",
            "use --dataflow ws or is, or give --no-overlap-drain",
        )
