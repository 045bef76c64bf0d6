"""Energy tables: what one event costs, each figure with its unit, its source, and the process and voltage it is for."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from math import sqrt
from typing import Self

from pydantic import Field, model_validator

from tightc.config.options import Options, invalid_combination
from tightc.config.quantity import PICOJOULE_PER_BYTE, Nanometre, Picojoule, PicojoulePerByte, Size, Volt
from tightc.config.yaml import parse_options

_DEFAULT = "energy-45nm.yaml"


class Sourced(Options):
    """Where a figure is from, and for what process."""

    source: str = Field(description="where the figure is from, or what it is assumed after", min_length=1)
    node: Nanometre = Field(description="process node of the figure, above 0, such as 45 nm")
    voltage: Volt = Field(description="supply voltage of the figure, above 0, such as 0.9 V")
    assumed: bool = Field(
        False,
        description="whether the figure is assumed and has no source that measured it: true or false; default: false",
    )


class EnergyEntry(Sourced):
    """Energy of one event."""

    energy: Picojoule = Field(description="energy of one event, at least 0, such as 0.2 pJ")


class MemoryEntry(Sourced):
    """Energy of what is read from a memory, or written to it."""

    energy: PicojoulePerByte = Field(
        description="energy of an access by its width, at least 0, such as 10 pJ/64bit"
    )
    up_to: PicojoulePerByte | None = Field(
        None,
        description="the other end of the source's range, not below energy, such as 2.6 nJ/64bit; default: no range",
    )

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        if self.up_to is not None and self.up_to < self.energy:
            lower, upper = PICOJOULE_PER_BYTE.write(self.energy), PICOJOULE_PER_BYTE.write(self.up_to)
            raise invalid_combination(
                f"{upper} is below energy {lower}", "swap them or leave up_to out", "up_to"
            )
        return self


class SramEntry(MemoryEntry):
    """Energy of an access to on-chip memory of one size, from which that of other sizes follows."""

    at: Size = Field(description="capacity that the figure is for, above 0, such as 8 KiB")


class EnergyTable(Options):
    """Energy by event: what `--energy` reads."""

    name: str = Field(description="name of the table, for reports", min_length=1)
    int8_multiply: EnergyEntry = Field(description="one 8-bit multiplication: energy, source, node, voltage")
    int32_add: EnergyEntry = Field(description="one 32-bit addition: energy, source, node, voltage")
    fp32_multiply: EnergyEntry = Field(
        description="one floating-point multiplication of 32 bits: energy, source, node, voltage"
    )
    fp32_add: EnergyEntry = Field(
        description="one floating-point addition of 32 bits: energy, source, node, voltage"
    )
    register_byte: EnergyEntry = Field(
        description="one byte written to a register of a PE: energy, source, node, voltage"
    )
    lane_byte: EnergyEntry = Field(
        description="one byte put on a lane at the edge of the array: energy, source, node, voltage"
    )
    multiplexer_level: EnergyEntry = Field(
        description="one byte through one 2:1 level of a multiplexer: energy, source, node, voltage"
    )
    sram: SramEntry = Field(
        description="on-chip buffers, read or written: energy, at (the size), source, node, voltage"
    )
    dram: MemoryEntry = Field(
        description="memory off the chip, read or written: energy, source, node, voltage"
    )

    def sram_pj_per_byte(self, size_bytes: float | None) -> float:
        """Energy of a byte in a buffer of `size_bytes`: energy x sqrt(size / at); the plain figure for None.

        Bit lines and word lines grow with the square root of capacity. Horowitz's points, 10 pJ at 8 KB, 20 pJ at
        32 KB and 100 pJ at 1 MB for 64 bits, lie within 15 % of this rule.
        """
        if size_bytes is None:
            return self.sram.energy
        return self.sram.energy * sqrt(size_bytes / self.sram.at)


@cache
def default_table() -> EnergyTable:
    """The table that comes with tightc."""
    text = files("tightc.simulation.accelerator").joinpath(_DEFAULT).read_text(encoding="utf-8")
    return parse_options(text, _DEFAULT, EnergyTable)
