"""The hardware that a model runs on: arrays, buffers, DRAM and clock, each figure with its unit."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tightc.config.options import Options, invalid_combination
from tightc.config.quantity import SIZE, BytesPerSecond, Frequency, Size, WordsPerCycle
from tightc.tile.array import LARGEST, ArrayShape

SUM_BYTES = 4
_OPERAND_BYTES = {"int8": 1, "fp32": 4}


class Buffer(Options):
    """A buffer on the chip, beside the array."""

    size: Size = Field(description="capacity with its unit, above 0, such as 64 KiB")
    bandwidth: WordsPerCycle = Field(
        description="words read or written in one cycle, above 0, such as 32 words/cycle; a word is an operand, in "
        "partial_sum_buffer a sum of 4 bytes"
    )
    double_buffered: bool = Field(
        description="true where one half is filled while the other is in use, else false"
    )

    @property
    def usable(self) -> int:
        """Bytes that the array can work with at a time: half of a double buffer."""
        return self.size // 2 if self.double_buffered else self.size


class Dram(Options):
    """The memory off the chip."""

    bandwidth: BytesPerSecond = Field(
        description="bytes read or written in one second, above 0, such as 3.2 GB/s"
    )
    keep_feature_maps: bool = Field(
        description="whether a feature map that fits into the activation buffer stays there for the next layer: "
        "true or false"
    )


class Hardware(Options):
    """What a model runs on: what `--hardware` reads."""

    name: str = Field(description="name of the hardware, for reports", min_length=1)
    array: ArrayShape = Field(
        description=f"size of one array, rows x columns, each from 1 to {LARGEST}, such as 32x32"
    )
    arrays: Annotated[int, Field(ge=1)] = Field(
        1, description="how many arrays share the buffers, at least 1; default: 1"
    )
    fan_in: Annotated[int, Field(ge=1, le=32767)] = Field(
        description="inputs that a lane can carry, from 1 (an ordinary array) to 32767"
    )
    operands: Literal["int8", "fp32"] = Field(
        description="what weights and activations are: int8 (1 byte) or fp32 (4 bytes); sums have 4 bytes"
    )
    clock: Frequency = Field(description="cycles of the array in one second, above 0, such as 400 MHz")
    prefetch_weights: bool = Field(
        description="true where the weights of the next tile are loaded while the tile before it runs, else false"
    )
    side_by_side: bool = Field(
        False,
        description="true where a tile that needs a part of the array only can stand on its diagonal several times, "
        "each copy for a part of the vectors, else false; default: false",
    )
    activation_buffer: Buffer = Field(
        description="where inputs of the array lie: size, bandwidth, double_buffered"
    )
    weight_buffer: Buffer = Field(
        description="where weights and their index lie: size, bandwidth, double_buffered"
    )
    partial_sum_buffer: Buffer = Field(
        description="where sums are added up: size, bandwidth, double_buffered"
    )
    dram: Dram = Field(description="the memory off the chip: bandwidth, keep_feature_maps")

    @property
    def operand_bytes(self) -> int:
        """Bytes of one weight or activation."""
        return _OPERAND_BYTES[self.operands]

    @property
    def dram_bytes_per_cycle(self) -> float:
        """Bytes that DRAM delivers or takes while the array makes one cycle."""
        return self.dram.bandwidth / self.clock

    @model_validator(mode="after")
    def _one_tile_fits(self) -> Self:
        rows, columns = self.array
        a_vector = f"one vector of a tile ({rows} rows x fan-in {self.fan_in} {self.operands} activations)"
        least = {
            "weight_buffer": (
                rows * columns * self.operand_bytes,
                f"one tile ({self.array} {self.operands} weights)",
            ),
            "activation_buffer": (rows * self.fan_in * self.operand_bytes, a_vector),
            "partial_sum_buffer": (
                columns * SUM_BYTES,
                f"the sums of one vector ({columns} of {SUM_BYTES} bytes)",
            ),
        }
        for name, (needed, what) in least.items():
            buffer: Buffer = getattr(self, name)
            if buffer.usable < needed:
                half = "half of " if buffer.double_buffered else ""
                raise invalid_combination(
                    f"{half}{SIZE.write(buffer.size)} is less than {what}",
                    f"give at least {SIZE.write(needed * (1 + buffer.double_buffered))}",
                    name,
                    "size",
                )
        return self
