"""Area tables: the area and delay of each part of an array, synthesized for one cell library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tightc.config.options import Options, invalid_combination, raise_broken
from tightc.config.quantity import (
    NANOMETRE,
    NANOSECOND,
    PICOJOULE,
    SQUARE_MICROMETRE,
    VOLT,
    Nanometre,
    Nanosecond,
    Picojoule,
    SquareMicrometre,
    Volt,
)
from tightc.errors import OptionError

Multiplexer = Literal["tree", "one-hot"]
_LARGEST_COUNT = 2**31 - 1


class AreaEntry(Options):
    """One synthesized module, in the three netlists of it that were looked for."""

    area: SquareMicrometre = Field(
        description=f"area at the table's clock, {SQUARE_MICROMETRE.range}, such as 1105 um2"
    )
    delay: Nanosecond = Field(
        description=f"longest path of that netlist, {NANOSECOND.range}, such as 1.65 ns"
    )
    fastest_area: SquareMicrometre = Field(
        description=f"area of the netlist with the shortest path, {SQUARE_MICROMETRE.range}, such as 1300 um2"
    )
    fastest_delay: Nanosecond = Field(
        description=f"longest path of that netlist, {NANOSECOND.range}, such as 1.2 ns"
    )
    smallest_area: SquareMicrometre = Field(
        description=f"area of the smallest netlist, {SQUARE_MICROMETRE.range}, such as 805 um2"
    )
    smallest_delay: Nanosecond = Field(
        description=f"longest path of that netlist, {NANOSECOND.range}, such as 2.2 ns"
    )
    source: str = Field(description="what was synthesized, and how", min_length=1)


class MeasuredEntry(AreaEntry):
    """A processing element with its energies of a cycle at the table's clock, without leakage."""

    used: Picojoule = Field(description=f"energy of a cycle with a weight, {PICOJOULE.range}, such as 0.7 pJ")
    idle: Picojoule = Field(
        description=f"energy of a cycle with an empty slot, {PICOJOULE.range}, such as 0.5 pJ"
    )
    load: Picojoule = Field(description=f"energy of a cycle of loading, {PICOJOULE.range}, such as 0.6 pJ")


class PeEntry(MeasuredEntry):
    """One form of the processing element."""

    fan_in: int = Field(ge=1, le=32767, description="inputs of its multiplexer, from 1 to 32767")
    lane_register: bool = Field(description="whether it registers the inputs of its lane: true or false")
    multiplexer: Multiplexer = Field(description="form of its multiplexer: tree or one-hot")
    shadow: bool = Field(description="whether it has a second weight register: true or false")
    subword_bits: int | None = Field(
        None, ge=2, le=8, description="bits of a subword, from 2 to 8; default: whole weights"
    )


class NmEntry(MeasuredEntry):
    """A processing element of an N:M pattern: N weights of a group of M inputs, and one sum."""

    weights: int = Field(
        ge=1,
        le=_LARGEST_COUNT,
        description=f"weights of a group that are kept, N, from 1 to {_LARGEST_COUNT}",
    )
    inputs: int = Field(
        ge=1, le=_LARGEST_COUNT, description=f"inputs of a group, M, from 1 to {_LARGEST_COUNT}"
    )


class BankEntry(AreaEntry):
    """What one lane input takes of the network from the banks of a buffer."""

    banks: int = Field(
        ge=1, le=_LARGEST_COUNT, description=f"banks of the buffer, from 1 to {_LARGEST_COUNT}"
    )


class SramEntry(Options):
    """One SRAM macro."""

    words: int = Field(ge=1, le=_LARGEST_COUNT, description=f"words of the macro, from 1 to {_LARGEST_COUNT}")
    bits: int = Field(ge=1, le=_LARGEST_COUNT, description=f"bits of a word, from 1 to {_LARGEST_COUNT}")
    area: SquareMicrometre = Field(
        description=f"area of the macro, {SQUARE_MICROMETRE.range}, such as 7657 um2"
    )
    access: Picojoule = Field(
        description=f"energy of a cycle with an access, {PICOJOULE.range}, such as 4.7 pJ"
    )
    source: str = Field(description="file of the macro", min_length=1)


class AreaTable(Options):
    """Area and delay of the parts of an array, as `scripts/synthesise.py` writes them."""

    shipped: ClassVar = "area"

    name: str = Field(description="name of the table in reports", min_length=1)
    node: Nanometre = Field(description=f"process node, {NANOMETRE.range}, such as 45 nm")
    voltage: Volt = Field(description=f"supply voltage, {VOLT.range}, such as 1.1 V")
    clock: Nanosecond = Field(
        description=f"clock that every processing element meets, {NANOSECOND.range}, such as 1.7 ns"
    )
    command: str = Field(description="command that made the table", min_length=1)
    tools: str = Field(description="programs that it ran, with their versions", min_length=1)
    pes: tuple[PeEntry, ...] = Field(
        description="forms of the processing element", min_length=1, strict=False
    )
    nm: tuple[NmEntry, ...] = Field((), description="processing elements of N:M patterns", strict=False)
    zero_gated: MeasuredEntry | None = Field(
        None, description="dense processing element that holds operands for zeros"
    )
    feeder_input: AreaEntry = Field(description="lane feeder, for each input of a lane")
    shadow_feeder_input: AreaEntry = Field(description="the same with a second list, for shadow weights")
    banks: tuple[BankEntry, ...] = Field(
        description="network from banks to lanes, for each input", min_length=1, strict=False
    )
    accumulator: AreaEntry = Field(description="accumulator of a column, without its memory")
    requantizer: AreaEntry = Field(description="requantizer of a column")
    controller: AreaEntry = Field(description="controller of the array")
    step_counter: AreaEntry = Field(description="counter of the steps of a tile")
    sram: tuple[SramEntry, ...] = Field((), description="SRAM macros", strict=False)

    @model_validator(mode="after")
    def _registers_take_area(self) -> Self:
        raise_broken(self._broken_pairs())
        return self

    def _broken_pairs(self) -> Iterator[PydanticCustomError]:
        """Processing elements that get smaller by the registers of a lane."""
        wired = {_form(entry): entry for entry in self.pes if not entry.lane_register}
        for number, entry in enumerate(self.pes):
            other = wired.get(_form(entry))
            if entry.lane_register and other is not None and entry.area < other.area:
                yield invalid_combination(
                    f"expected at least the {other.area:g} um2 of the same element without lane register, "
                    f"got {entry.area:g} um2",
                    "correct one of the two areas",
                    *("pes", number, "area"),
                )

    def pe(
        self,
        fan_in: int,
        *,
        lane_register: bool = True,
        multiplexer: Multiplexer = "tree",
        shadow: bool = False,
        subword_bits: int | None = None,
    ) -> PeEntry:
        """The smallest processing element of this form that takes `fan_in` inputs; OptionError where none does."""
        form = (lane_register, multiplexer if fan_in > 1 else "tree", shadow, subword_bits)
        found = [
            entry
            for entry in self.pes
            if entry.fan_in >= fan_in
            and (entry.lane_register, entry.multiplexer, entry.shadow, entry.subword_bits) == form
        ]
        if not found:
            raise OptionError(
                f"area table {self.name}: expected a form of the processing element that it holds, got fan-in {fan_in} "
                f"({multiplexer}{', shadow weights' if shadow else ''}{', subwords' if subword_bits else ''})",
                "give another fan-in or form, or another table",
            )
        return min(found, key=lambda entry: entry.fan_in)

    def lane_registers_area(self, fan_in: int) -> float:
        """um2 of the registers of a lane: what a processing element with them takes more than one with wires.

        0 where the element with wires was synthesized for more inputs, or is varied, and is not smaller.
        """
        return max(0.0, self.pe(fan_in).area - self.pe(fan_in, lane_register=False).area)

    def network_input_area(self, inputs: int) -> float:
        """um2 of a multiplexer of `inputs` bytes, by the networks from banks to lanes; linear between the entries.

        A multiplexer of one input takes nothing. OptionError where the table ends below.
        """
        below = (1, 0.0)
        for entry in sorted(self.banks, key=lambda entry: entry.banks):
            if inputs <= entry.banks:
                fraction = (inputs - below[0]) / max(1, entry.banks - below[0])
                return below[1] + fraction * (entry.area - below[1])
            below = (entry.banks, entry.area)
        raise OptionError(
            f"area table {self.name}: expected at most {below[0]} banks, which its largest network has, got {inputs}",
            "give fewer banks, or another table",
        )

    def pe_area(
        self,
        fan_in: int,
        columns: int,
        columns_per_lane_register: int = 1,
        *,
        multiplexer: Multiplexer = "tree",
        shadow: bool = False,
        subword_bits: int | None = None,
    ) -> float:
        """um2 of a processing element, the mean over a row of `columns` with a lane register every so many.

        columns // columns_per_lane_register of them hold the lane's registers, the others its wires.
        """
        registers = columns // columns_per_lane_register
        registered, wired = (
            self.pe(
                fan_in,
                lane_register=register,
                multiplexer=multiplexer,
                shadow=shadow,
                subword_bits=subword_bits,
            ).area
            for register in (True, False)
        )
        return (registers * registered + (columns - registers) * wired) / columns


def _form(entry: PeEntry) -> tuple[int, Multiplexer, bool, int | None]:
    """What tells processing elements apart, but for their lane register."""
    return entry.fan_in, entry.multiplexer, entry.shadow, entry.subword_bits
