"""Hardware files: arrays, buffers, DRAM and clock, every value with its unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tightc.config.options import Options, invalid_combination, raise_broken
from tightc.config.quantity import (
    BYTES_PER_SECOND,
    FREQUENCY,
    OPERATIONS_PER_CYCLE,
    SIZE,
    WORDS_PER_CYCLE,
    BytesPerSecond,
    Frequency,
    OperationsPerCycle,
    Size,
    WordsPerCycle,
)
from tightc.tile.array import LARGEST, ArrayShape

SUM_BYTES = 4
MOST_BANKS = 4096
MOST_ARRAYS = 4096
_OPERAND_BYTES = {"int8": 1, "fp32": 4}


class Buffer(Options):
    """An on-chip buffer beside the array."""

    size: Size = Field(description=f"capacity, {SIZE.range}, such as 64 KiB")
    bandwidth: WordsPerCycle = Field(
        description=f"words per cycle, {WORDS_PER_CYCLE.range}, such as 32 words/cycle; a word is an operand or a "
        "4-byte partial sum"
    )
    double_buffered: bool = Field(
        description="double buffering, one half filled while the other is in use: true or false"
    )

    @property
    def usable(self) -> int:
        """Bytes that the array can use at a time: half of a double buffer."""
        return self.size // 2 if self.double_buffered else self.size


class ActivationBuffer(Buffer):
    """The buffer of activations, which may have banks."""

    banks: Annotated[int, Field(ge=1, le=MOST_BANKS)] | None = Field(
        None,
        description=f"banks that each give a word in a cycle, from 1 to {MOST_BANKS}; default: any words in any cycle",
    )
    lane_reach: Annotated[int, Field(ge=1, le=MOST_BANKS)] | None = Field(
        None, description="banks that a lane can take inputs from in a cycle, from 1 to banks; default: all"
    )


class Dram(Options):
    """The off-chip memory."""

    bandwidth: BytesPerSecond = Field(description=f"bandwidth, {BYTES_PER_SECOND.range}, such as 3.2 GB/s")
    keep_feature_maps: bool = Field(
        description="on-chip reuse of feature maps that fit the activation buffer: true or false"
    )


class Hardware(Options):
    """The accelerator that a model runs on, as read by `--hardware`."""

    # what a schema for editors can say of the rules below
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"overlap_drain": {"const": True}}, "required": ["overlap_drain"]},
            "then": {"properties": {"prefetch_weights": {"const": True}}},
        }
    )
    shipped: ClassVar = "hardware"

    name: str = Field(description="name of the hardware in reports", min_length=1)
    array: ArrayShape = Field(
        description=f"array size, ROWSxCOLUMNS, each from 1 to {LARGEST}, such as 32x32"
    )
    arrays: Annotated[int, Field(ge=1, le=MOST_ARRAYS)] = Field(
        1, description=f"number of arrays that share the buffers, from 1 to {MOST_ARRAYS}"
    )
    fan_in: Annotated[int, Field(ge=1, le=32767)] = Field(
        description="inputs per lane, from 1 (an ordinary array) to 32767"
    )
    operands: Literal["int8", "fp32"] = Field(
        description="type of weights and activations: int8 (1 byte) or fp32 (4 bytes)"
    )
    clock: Frequency = Field(description=f"clock frequency of the array, {FREQUENCY.range}, such as 400 MHz")
    prefetch_weights: bool = Field(
        description="prefetch of the next tile's weights while a tile runs: true or false"
    )
    replicate_tiles: bool = Field(
        False, description="replication of small tiles on the array's diagonal: true or false"
    )
    columns_per_lane_register: Annotated[int, Field(ge=1, le=LARGEST)] = Field(
        1,
        description=f"columns that share a register for a lane's inputs, from 1 (a register in every PE) to {LARGEST}",
    )
    overlap_drain: bool = Field(
        False, description="start of the next tile while the sums of a tile still leave: true or false"
    )
    accumulator_bypass: bool = Field(
        False, description="complete sums leave without being stored as partial sums: true or false"
    )
    vector_unit: OperationsPerCycle | None = Field(
        None,
        description=f"operations of the vector unit in a cycle, {OPERATIONS_PER_CYCLE.range}, such as "
        "32 operations/cycle; default: one for each column of the arrays",
    )
    activation_buffer: ActivationBuffer = Field(
        description="buffer of activations: size, bandwidth, double_buffered, banks, lane_reach"
    )
    weight_buffer: Buffer = Field(
        description="buffer of weights and their index: size, bandwidth, double_buffered"
    )
    partial_sum_buffer: Buffer = Field(description="buffer of partial sums: size, bandwidth, double_buffered")
    dram: Dram = Field(description="off-chip memory: bandwidth, keep_feature_maps")

    @property
    def operand_bytes(self) -> int:
        """Bytes of one weight or activation."""
        return _OPERAND_BYTES[self.operands]

    @property
    def dram_bytes_per_cycle(self) -> float:
        """Bytes that DRAM reads or writes in one cycle of the array."""
        return self.dram.bandwidth / self.clock

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        raise_broken([*self._next_tile_is_loaded(), *self._network_turns(), *self._one_tile_fits()])
        return self

    def _next_tile_is_loaded(self) -> Iterator[PydanticCustomError]:
        if self.overlap_drain and not self.prefetch_weights:
            yield invalid_combination(
                "expected prefetch_weights: true beside overlap_drain: true, got false",
                "set prefetch_weights to true, or overlap_drain to false",
                "prefetch_weights",
            )

    def _network_turns(self) -> Iterator[PydanticCustomError]:
        """A lane's banks are whole bank groups, and by rotations it sees them all: accelerator/bank_network.py."""
        banks, reach, rows = self.activation_buffer.banks, self.activation_buffer.lane_reach, self.array.rows
        if reach is None or reach == banks:
            return
        least = max(1, (banks or 0) // rows)
        if banks is None or reach > banks:
            yield invalid_combination(
                f"expected at least the lane_reach of {reach}, got {'none' if banks is None else banks}",
                "give more banks, or leave lane_reach out",
                "activation_buffer",
                "banks",
            )
        elif banks % rows and rows % banks:
            yield invalid_combination(
                f"expected a multiple or a divisor of the array's {rows} rows beside lane_reach, got {banks}",
                "give another number of banks, or leave lane_reach out",
                "activation_buffer",
                "banks",
            )
        elif banks % reach or reach % least:
            yield invalid_combination(
                f"expected a divisor of the {banks} banks that is a multiple of {least} (banks / rows), got {reach}",
                f"give {least} times a divisor of {banks // least}, or leave lane_reach out",
                "activation_buffer",
                "lane_reach",
            )

    def _one_tile_fits(self) -> Iterator[PydanticCustomError]:
        rows, columns = self.array
        vector = f"one vector of a tile ({rows} rows x fan-in {self.fan_in} {self.operands} activations)"
        tile = f"one tile ({self.array} {self.operands} weights)"
        sums = f"the sums of one vector ({columns} of {SUM_BYTES} bytes)"
        least = {
            "weight_buffer": (rows * columns * self.operand_bytes, tile),
            "activation_buffer": (rows * self.fan_in * self.operand_bytes, vector),
            "partial_sum_buffer": (columns * SUM_BYTES, sums),
        }
        for name, (needed, content) in least.items():
            buffer: Buffer = getattr(self, name)
            if buffer.usable < needed:
                half = "half of " if buffer.double_buffered else ""
                yield invalid_combination(
                    f"expected room for {content}, got {half}{SIZE.write(buffer.size)}",
                    f"give at least {SIZE.write(needed * (1 + buffer.double_buffered))}",
                    name,
                    "size",
                )
