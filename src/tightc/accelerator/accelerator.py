"""The accelerator that a layer runs on, in cycles, words and bytes: from a hardware file, or ideal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tightc.accelerator.bank_network import BankNetwork
from tightc.accelerator.hardware import Buffer, Hardware
from tightc.tile.array import ArrayShape


@dataclass(frozen=True)
class BufferPort:
    """An on-chip buffer as the array sees it; the defaults limit nothing.

    `size`: capacity in bytes, None where unlimited. `usable`: bytes that the array can use at a time.
    `words_per_cycle`: words read or written in a cycle. `double_buffered`: whether it fills while the array works.
    """

    size: int | None = None
    usable: float = math.inf
    words_per_cycle: float = math.inf
    double_buffered: bool = True

    @classmethod
    def of(cls, buffer: Buffer) -> BufferPort:
        """The buffer of a hardware file."""
        return cls(buffer.size, buffer.usable, buffer.bandwidth, buffer.double_buffered)


@dataclass(frozen=True)
class Accelerator:
    """Arrays that share three buffers and the connection to DRAM.

    `prefetch`: the next pass is loaded while a pass runs. `dram_bytes_per_cycle`: None where DRAM is not modeled.
    `keeps_feature_maps`: a feature map that fits the activation buffer stays there. `clock_hz`: None on ideal hardware.
    `replicate_tiles`: a small tile is replicated on the array's diagonal, each replica for a part of the steps.
    `fan_in`: inputs of the multiplexers; None where they are as wide as each layer needs.
    `columns_per_lane_register`: columns that get a lane's inputs in the same cycle, from one register.
    `overlap_drain`: the next tile starts while the sums of the one before still leave; needs `prefetch`.
    `accumulator_bypass`: a sum that is complete after its pass leaves without being stored.
    `vector_unit`: operations of the vector unit in a cycle; None for one for each column of the arrays.
    `decoder`: weights that the decoder of a weight stream gives in a cycle; None without limit.
    `bank_network`: of the activation buffer; None where it gives any words in any cycle.
    """

    array: ArrayShape
    arrays: int = 1
    prefetch: bool = False
    operand_bytes: int = 1
    activations: BufferPort = BufferPort()
    weights: BufferPort = BufferPort()
    sums: BufferPort = BufferPort()
    dram_bytes_per_cycle: float | None = None
    keeps_feature_maps: bool = True
    clock_hz: float | None = None
    replicate_tiles: bool = False
    fan_in: int | None = None
    columns_per_lane_register: int = 1
    overlap_drain: bool = False
    accumulator_bypass: bool = False
    vector_unit: float | None = None
    bank_network: BankNetwork | None = None
    decoder: float | None = None

    @classmethod
    def of(cls, hardware: Hardware) -> Accelerator:
        """The accelerator that a hardware file describes."""
        return cls(
            array=hardware.array,
            arrays=hardware.arrays,
            prefetch=hardware.prefetch_weights,
            operand_bytes=hardware.operand_bytes,
            activations=BufferPort.of(hardware.activation_buffer),
            weights=BufferPort.of(hardware.weight_buffer),
            sums=BufferPort.of(hardware.partial_sum_buffer),
            dram_bytes_per_cycle=hardware.dram_bytes_per_cycle,
            keeps_feature_maps=hardware.dram.keep_feature_maps,
            clock_hz=hardware.clock,
            replicate_tiles=hardware.replicate_tiles,
            fan_in=hardware.fan_in,
            columns_per_lane_register=hardware.columns_per_lane_register,
            overlap_drain=hardware.overlap_drain,
            accumulator_bypass=hardware.accumulator_bypass,
            vector_unit=hardware.vector_unit,
            bank_network=BankNetwork.of(hardware.activation_buffer, hardware.array.rows),
        )

    @property
    def is_ideal(self) -> bool:
        """Whether only the arrays limit: unlimited buffers, no stalls, no DRAM."""
        unlimited = self.activations == self.weights == self.sums == BufferPort()
        return unlimited and self.dram_bytes_per_cycle is None and self.bank_network is None

    @property
    def pes(self) -> int:
        """PEs of all arrays."""
        return self.array.rows * self.array.columns * self.arrays

    @property
    def vector_operations_per_cycle(self) -> float:
        """Operations of the vector unit in a cycle."""
        return self.vector_unit or self.array.columns * self.arrays

    @property
    def drain_cycles(self) -> int:
        """Cycles that a step takes through the array after it entered.

        rows - 1, and one for each register that a lane's inputs pass on their way to the last column.
        """
        return self.array.rows - 1 + (self.array.columns - 1) // self.columns_per_lane_register
