"""The chip that a layer runs on, in cycles, words and bytes: from a hardware file, or ideal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tightc.simulation.accelerator.hardware import Buffer, Hardware
from tightc.tile.array import ArrayShape


@dataclass(frozen=True)
class BufferPort:
    """A buffer: `size` as built and `usable` at a time (bytes), `words` read or written in a cycle.

    `hidden`: whether it is filled while the array works. None and inf where nothing limits.
    """

    size: int | None = None
    usable: float = math.inf
    words: float = math.inf
    hidden: bool = True

    @classmethod
    def of(cls, buffer: Buffer) -> BufferPort:
        """The buffer of a hardware file."""
        return cls(buffer.size, buffer.usable, buffer.bandwidth, buffer.double_buffered)


@dataclass(frozen=True)
class Accelerator:
    """`arrays` arrays that share three buffers and the way to DRAM.

    `dram` is bytes in a cycle, None where DRAM is not modeled. `keeps_feature_maps`: a feature map that fits into the
    activation buffer stays there. `clock` is in hertz, None where the hardware is ideal. `replicate_tiles`: a pass that
    needs a part of the array only stands on its diagonal as often as it fits, each copy for a part of the steps.
    `fan_in`: inputs that its multiplexers choose from, None where they are as wide as each layer needs.
    """

    array: ArrayShape
    arrays: int = 1
    prefetch: bool = False
    operand_bytes: int = 1
    activations: BufferPort = BufferPort()
    weights: BufferPort = BufferPort()
    sums: BufferPort = BufferPort()
    dram: float | None = None
    keeps_feature_maps: bool = True
    clock: float | None = None
    replicate_tiles: bool = False
    fan_in: int | None = None

    @classmethod
    def of(cls, hardware: Hardware) -> Accelerator:
        """The chip that a hardware file describes."""
        return cls(
            hardware.array,
            hardware.arrays,
            hardware.prefetch_weights,
            hardware.operand_bytes,
            BufferPort.of(hardware.activation_buffer),
            BufferPort.of(hardware.weight_buffer),
            BufferPort.of(hardware.partial_sum_buffer),
            hardware.dram_bytes_per_cycle,
            hardware.dram.keep_feature_maps,
            hardware.clock,
            hardware.replicate_tiles,
            hardware.fan_in,
        )

    @property
    def is_ideal(self) -> bool:
        """Whether nothing limits but the arrays."""
        return self.dram is None and self.activations == self.weights == self.sums == BufferPort()

    @property
    def fill(self) -> int:
        """Cycles from the first step's entry until it has left the array, less one: rows + columns - 2."""
        return self.array.rows + self.array.columns - 2
