"""Energy tables: the energy of each event, with its unit, source, process node and voltage."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from math import sqrt
from typing import ClassVar, Self

from pydantic import Field, model_validator

from tightc.config.options import Options, invalid_combination
from tightc.config.quantity import (
    NANOMETRE,
    PICOJOULE,
    PICOJOULE_PER_BYTE,
    SIZE,
    VOLT,
    Nanometre,
    Picojoule,
    PicojoulePerByte,
    Quantity,
    Size,
    Volt,
)
from tightc.config.yaml import parse_options

_DEFAULT = "energy-45nm.yaml"


class Sourced(Options):
    """The source of a figure, and its process."""

    source: str = Field(description="source of the figure, or basis of the assumption", min_length=1)
    node: Nanometre = Field(description=f"process node, {NANOMETRE.range}, such as 45 nm")
    voltage: Volt = Field(description=f"supply voltage, {VOLT.range}, such as 0.9 V")
    assumed: bool = Field(False, description="whether the figure is assumed, not measured: true or false")


class EnergyEntry(Sourced):
    """Energy of one event."""

    energy: Picojoule = Field(description=f"energy of one event, {PICOJOULE.range}, such as 0.2 pJ")


class IdleEntry(EnergyEntry):
    """Energy of a cycle in which a PE does no multiply-accumulate."""

    up_to: Picojoule | None = Field(
        None,
        description="upper end of a range, at least energy, such as 0.09 pJ; default: no range",
    )

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        _check_range(self.energy, self.up_to, PICOJOULE)
        return self


class MemoryEntry(Sourced):
    """Energy of reading from a memory, or writing to it."""

    energy: PicojoulePerByte = Field(
        description=f"energy per width of an access, {PICOJOULE_PER_BYTE.range}, such as 10 pJ/64bit"
    )
    up_to: PicojoulePerByte | None = Field(
        None,
        description="upper end of the source's range, at least energy, such as 2.6 nJ/64bit; default: no range",
    )

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        _check_range(self.energy, self.up_to, PICOJOULE_PER_BYTE)
        return self


def _check_range(energy: float, up_to: float | None, unit: Quantity) -> None:
    if up_to is not None and up_to < energy:
        raise invalid_combination(
            f"expected at least the entry's energy, {unit.write(energy)}, got {unit.write(up_to)}",
            "swap them or leave up_to out",
            "up_to",
        )


class SramEntry(MemoryEntry):
    """Energy of an access to on-chip memory of one capacity, from which other capacities follow."""

    at: Size = Field(description=f"capacity that the figure holds for, {SIZE.range}, such as 8 KiB")


class EnergyTable(Options):
    """Energy of each event, as read by `--energy`."""

    shipped: ClassVar = "energy"

    name: str = Field(description="name of the table in reports", min_length=1)
    int8_multiply: EnergyEntry = Field(description="one 8-bit multiplication: energy, source, node, voltage")
    int32_add: EnergyEntry = Field(description="one 32-bit addition: energy, source, node, voltage")
    fp32_multiply: EnergyEntry = Field(
        description="one 32-bit floating-point multiplication: energy, source, node, voltage"
    )
    fp32_add: EnergyEntry = Field(
        description="one 32-bit floating-point addition: energy, source, node, voltage"
    )
    register_byte: EnergyEntry = Field(
        description="one byte written to a PE register: energy, source, node, voltage"
    )
    lane_byte: EnergyEntry = Field(
        description="one byte driven onto a lane at the array's edge: energy, source, node, voltage"
    )
    multiplexer_level: EnergyEntry = Field(
        description="one byte through one 2:1 multiplexer level: energy, source, node, voltage"
    )
    idle_pe: IdleEntry | None = Field(
        None,
        description="one PE in one cycle without a multiply-accumulate, beside the register bytes that it passes on: "
        "energy, source, node, voltage; default: 0, clock gating is assumed",
    )
    sram: SramEntry = Field(description="on-chip buffer access: energy, at (capacity), source, node, voltage")
    dram: MemoryEntry = Field(description="DRAM access: energy, source, node, voltage")

    @property
    def idle_pj(self) -> float:
        """Energy of a PE in a cycle without a multiply-accumulate."""
        return 0.0 if self.idle_pe is None else self.idle_pe.energy

    def sram_pj_per_byte(self, size_bytes: float | None) -> float:
        """Energy of one byte in a buffer of `size_bytes`: energy x sqrt(size / at); the entry's energy for None.

        Bit lines and word lines grow with the square root of capacity. Horowitz's points (64 bits: 10 pJ at 8 KB,
        20 pJ at 32 KB, 100 pJ at 1 MB) lie within 15 % of this rule.
        """
        if size_bytes is None:
            return self.sram.energy
        return self.sram.energy * sqrt(size_bytes / self.sram.at)


@cache
def default_table() -> EnergyTable:
    """The energy table shipped with tightc."""
    text = files("tightc.accelerator").joinpath(_DEFAULT).read_text(encoding="utf-8")
    return parse_options(text, _DEFAULT, EnergyTable)
