"""Both tables of a cell library: area and delay of every module, and the energy of every event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Any

import yaml

from synthesis.bench import Measured
from synthesis.designs import PeForm
from synthesis.search import Found
from synthesis.tools import Design
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable, default_table

REFERENCE_FAN_IN = 8  # whose processing element the energy table adds up to


@dataclass(frozen=True)
class Origin:
    """Where a table comes from."""

    name: str
    node: int
    voltage: float
    clock: float
    command: str
    tools: str


@dataclass(frozen=True)
class Energies:
    """What the benches measured, by form. `picked`: fan-in 1 on what the slots of each fan-in pick; `adder`: alone."""

    of_forms: Mapping[PeForm, Measured]
    picked: Mapping[int, Measured]
    adder: Measured
    zero_gated: Measured
    nm: Measured

    def lane_byte(self) -> float:
        """pJ of a byte in a lane register, with the pins that it drives."""
        parts = self.of_forms[PeForm(REFERENCE_FAN_IN)].parts["used"]
        return parts["lanes"] / REFERENCE_FAN_IN

    def multiplexer_level(self, fan_in: int, one_hot: bool = False) -> float:
        """pJ of a byte through a level: what the element takes above one of fan-in 1 on the same bytes."""
        parts, picked = (
            self.of_forms[PeForm(fan_in, one_hot=one_hot)].parts["used"],
            self.picked[fan_in].parts["used"],
        )
        return sum(parts[name] - picked[name] for name in ("logic", "slots", "sums")) / log2(fan_in)

    def add(self) -> float:
        """pJ of an addition: the adder and its register, less the four bytes written to it."""
        return self.adder.total("used") - 4 * self.lane_byte()

    def idle_pe(self) -> float:
        """pJ of an empty slot of fan-in 1, less the four bytes of the sum that it passes on."""
        return self.of_forms[PeForm(1, lane_register=False)].total("idle") - 4 * self.lane_byte()

    def multiply(self) -> float:
        """pJ of a multiplication and the register of its weight: the rest of an element of fan-in 1."""
        parts = self.picked[REFERENCE_FAN_IN].parts["used"]
        return sum(parts[name] for name in ("logic", "slots", "sums")) - self.adder.total("used")


def entry_of(found: Found, design: Design, each: int = 1) -> dict[str, Any]:
    """The figures of a module, divided by `each` for one of as many equal parts.

    Where none meets the clock, the fastest stands for it.
    """
    chosen = found.at_clock or found.fastest
    files = " ".join(Path(source).name for source in design.sources)
    sets = " ".join(f"{name}={value}" for name, value in design.parameters.items())
    return {
        "area": area(chosen.area / each),
        "delay": delay(chosen.period),
        "fastest_area": area(found.fastest.area / each),
        "fastest_delay": delay(found.fastest.period),
        "smallest_area": area(found.smallest.area / each),
        "smallest_delay": delay(found.smallest.period),
        "source": " ".join(filter(None, [files, sets, f"by abc {chosen.mapping} for {chosen.target} ps"]))
        + (f", an {each}th of it" if each > 1 else ""),
    }


def area(value: float) -> str:
    """Four to six digits are enough."""
    return f"{value:.1f} um2"


def delay(value: float) -> str:
    """As OpenSTA's digits."""
    return f"{value:.3f} ns"


def energy(value: float) -> str:
    """Four digits."""
    return f"{float(f'{value:.4g}'):g} pJ"


def energies_of(measured: Measured) -> dict[str, str]:
    """The energies of a processing element."""
    return {kind: energy(measured.total(kind)) for kind in ("used", "idle", "load")}


def area_table(
    origin: Origin,
    forms: Mapping[PeForm, Found],
    others: Callable[[str], dict[str, Any]],
    energies: Energies,
    lists: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """The area table as YAML takes it; `others` gives the entry of a module, `lists` those that are lists."""
    pes = []
    for form, found in forms.items():
        pes.append(
            {
                "fan_in": form.fan_in,
                "lane_register": form.lane_register,
                "multiplexer": "one-hot" if form.one_hot else "tree",
                "shadow": form.shadow,
                **({"subword_bits": form.subword_bits} if form.subword_bits else {}),
                **entry_of(found, form.design),
                **energies_of(energies.of_forms[form]),
            }
        )
    names = (
        "feeder_input",
        "shadow_feeder_input",
        "accumulator",
        "requantizer",
        "controller",
        "step_counter",
    )
    return {
        "name": origin.name,
        "node": f"{origin.node} nm",
        "voltage": f"{origin.voltage:g} V",
        "clock": delay(origin.clock),
        "command": origin.command,
        "tools": origin.tools,
        "pes": pes,
        "zero_gated": others("zero_gated") | energies_of(energies.zero_gated),
        **{name: others(name) for name in names},
        **{name: list(entries) for name, entries in lists.items() if entries},
    }


def energy_table(origin: Origin, energies: Energies, sram: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The energy table as YAML takes it; `sram` are the macros of the area table."""
    place = {"node": f"{origin.node} nm", "voltage": f"{origin.voltage:g} V"}
    default = default_table()
    ratio = energies.multiply() / default.int8_multiply.energy

    def measured(value: float, source: str) -> dict[str, Any]:
        return {"energy": energy(value), "source": f"{source}; {origin.command}", **place}

    def scaled(value: float, name: str) -> dict[str, Any]:
        source = f"int8_multiply x the ratio of {name} to it in Horowitz, ISSCC 2014"
        return {"energy": energy(value * ratio), "source": source, **place, "assumed": True}

    return {
        "name": origin.name,
        "int8_multiply": measured(
            energies.multiply(),
            "pe.sv of fan-in 1 less the adder and the lane: multiplier and weight register",
        ),
        "int32_add": measured(energies.add(), "adder.sv less four register bytes"),
        "fp32_multiply": scaled(default.fp32_multiply.energy, "an fp32 multiplication"),
        "fp32_add": scaled(default.fp32_add.energy, "an fp32 addition"),
        "register_byte": measured(
            energies.lane_byte(), f"lane registers of pe.sv of fan-in {REFERENCE_FAN_IN}, clock pins included"
        ),
        "lane_byte": {
            **measured(
                energies.lane_byte(), "a register at the edge, as register_byte; the wire to it is not in it"
            ),
            "assumed": True,
        },
        "multiplexer_level": measured(
            energies.multiplexer_level(REFERENCE_FAN_IN),
            f"pe.sv of fan-in {REFERENCE_FAN_IN} less one of fan-in 1 on the same bytes, a third of it",
        ),
        "idle_pe": measured(
            energies.idle_pe(),
            "an empty slot of pe.sv of fan-in 1 without clock gating, less four register bytes of its sum",
        ),
        "sram": _sram_entry(sram, place, ratio),
        "dram": yaml.safe_load(yaml.safe_dump(default.dram.model_dump(mode="json"))),
    }


def _sram_entry(sram: Sequence[Mapping[str, Any]], place: dict[str, str], ratio: float) -> dict[str, Any]:
    """Of the largest macro with words of 32 bits, or of Horowitz's cache scaled as the multiplication."""
    chosen = [macro for macro in sram if macro["bits"] == 32]
    if not chosen:
        entry = default_table().sram
        return {
            "energy": f"{float(f'{entry.energy * ratio:.4g}'):g} pJ/byte",
            "at": "8 KiB",
            "source": "int8_multiply x the ratio of a cache access to it in Horowitz, ISSCC 2014",
            **place,
            "assumed": True,
        }
    macro = max(chosen, key=lambda macro: int(macro["words"]))
    size = int(macro["words"]) * 4
    picojoule = float(str(macro["access"]).split()[0]) / 4
    return {
        "energy": f"{float(f'{picojoule:.4g}'):g} pJ/byte",
        "at": f"{size} B",
        "source": f"clock pin of {macro['source']}, rise and fall",
        **place,
        "assumed": True,
    }


def write_table(path: Path, table: dict[str, Any], kind: type[AreaTable] | type[EnergyTable]) -> None:
    """Writes the table, which reads back as `kind`."""
    text = yaml.safe_dump(table, sort_keys=False, width=110, allow_unicode=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# Made by scripts/synthesise.py; docs/benchmarks/synthesis.md shows it.\n{text}", encoding="utf-8"
    )
