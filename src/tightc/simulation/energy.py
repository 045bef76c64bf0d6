"""Energy from events: a model, not a measurement. Every entry of the table has a source or says that it is assumed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import Field

from tightc.config.options import Options
from tightc.config.yaml import parse_options
from tightc.simulation.events import Events


class Entry(Options):
    """Energy of one event."""

    pj: Annotated[float, Field(ge=0)] = Field(description="energy of one event in picojoule, at least 0")
    source: str = Field(description="where the figure is from, or why it is assumed", min_length=1)


class EnergyTable(Options):
    """Picojoule per event: what `--energy` reads."""

    name: str = Field(description="name of the table, for reports", min_length=1)
    node_nm: Annotated[float, Field(gt=0)] = Field(description="process node in nanometre, above 0")
    voltage_v: Annotated[float, Field(gt=0)] = Field(description="supply voltage in volt, above 0")
    int8_multiply: Entry = Field(description="one 8-bit multiplication: pj and source")
    int32_add: Entry = Field(description="one 32-bit addition: pj and source")
    register_byte: Entry = Field(description="one byte written to a register of a PE: pj and source")
    lane_byte: Entry = Field(description="one byte put on a lane at the edge of the array: pj and source")
    multiplexer_level: Entry = Field(
        description="one byte through one 2:1 level of a multiplexer: pj and source"
    )
    buffer_byte: Entry = Field(
        description="one byte read from or written to an on-chip buffer: pj and source"
    )


PARTS = (
    "mac",
    "multiplexer",
    "registers",
    "lanes",
    "activation_buffer",
    "weight_buffer",
    "partial_sum_buffer",
    "index",
)


@cache
def default_table() -> EnergyTable:
    """The table that comes with tightc."""
    text = files("tightc.simulation").joinpath("horowitz-45nm.yaml").read_text(encoding="utf-8")
    return parse_options(text, "horowitz-45nm.yaml", EnergyTable)


def energy_pj(events: Events, table: EnergyTable) -> dict[str, float]:
    """Picojoule of each of PARTS. DRAM is not counted."""
    return {
        "mac": events.macs * (table.int8_multiply.pj + table.int32_add.pj),
        "multiplexer": events.multiplexer_levels * table.multiplexer_level.pj,
        "registers": events.register_bytes * table.register_byte.pj,
        "lanes": events.lane_bytes * table.lane_byte.pj,
        "activation_buffer": events.activation_buffer_bytes * table.buffer_byte.pj,
        "weight_buffer": events.weight_buffer_bytes * table.buffer_byte.pj,
        "partial_sum_buffer": events.partial_sum_buffer_bytes * table.buffer_byte.pj,
        "index": events.index_bits / 8 * table.buffer_byte.pj,
    }
