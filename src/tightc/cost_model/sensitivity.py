"""Energy and area tables with one entry changed, to see what each entry does to a gain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from tightc.accelerator.area_table import AreaEntry, AreaTable, BankEntry, NmEntry, PeEntry
from tightc.accelerator.energy_table import EnergyEntry, EnergyTable, IdleEntry, MemoryEntry
from tightc.config.options import Options

CHANGES = {"halved": 0.5, "-20 %": 0.8, "+20 %": 1.2, "doubled": 2.0}


@dataclass(frozen=True)
class EnergyVariation:
    """An energy `table` with `entry` changed as `change` says; `assumed`: whether its figure is assumed or a range."""

    entry: str
    change: str
    assumed: bool
    table: EnergyTable


@dataclass(frozen=True)
class AreaVariation:
    """An area `table` with `entry` changed as `change` says."""

    entry: str
    change: str
    table: AreaTable


def energy_variations(table: EnergyTable) -> list[EnergyVariation]:
    """`table` with each entry above 0 changed by CHANGES, with all assumed ones, and with ranges at their upper end."""
    entries = {name: entry for name, entry in table if isinstance(entry, EnergyEntry | MemoryEntry)}
    assumed = [name for name, entry in entries.items() if entry.assumed and entry.energy]
    found = [
        EnergyVariation(name, change, entry.assumed, _with_energies(table, {name: entry.energy * factor}))
        for name, entry in entries.items()
        if entry.energy
        for change, factor in CHANGES.items()
    ]
    if len(assumed) > 1:
        for change, factor in CHANGES.items():
            energies = {name: entries[name].energy * factor for name in assumed}
            found.append(EnergyVariation("all assumed", change, True, _with_energies(table, energies)))
    for name, entry in entries.items():
        if isinstance(entry, MemoryEntry | IdleEntry) and entry.up_to is not None:
            unit = "pJ/byte" if isinstance(entry, MemoryEntry) else "pJ"
            change = f"{entry.up_to:g} {unit} instead of {entry.energy:g}"
            found.append(EnergyVariation(name, change, True, _with_energies(table, {name: entry.up_to})))
    return found


def area_variations(table: AreaTable, is_read: Callable[[AreaTable], bool]) -> list[AreaVariation]:
    """`table` with each entry changed by CHANGES; only entries where `is_read` says that a changed one counts."""
    return [
        AreaVariation(name, change, vary(factor))
        for name, vary in _area_entries(table)
        if is_read(vary(CHANGES["doubled"]))
        for change, factor in CHANGES.items()
    ]


def _with_energies(table: EnergyTable, energies: Mapping[str, float]) -> EnergyTable:
    changed: dict[str, Options] = {
        name: getattr(table, name).model_copy(update={"energy": energy}) for name, energy in energies.items()
    }
    return table.model_copy(update=changed)


def _area_entries(table: AreaTable) -> Iterator[tuple[str, Callable[[float], AreaTable]]]:
    """The name of each area, and the table with that area times a factor."""
    for name, value in table:
        if isinstance(value, AreaEntry):
            yield name, partial(_with_area, table, name, None)
        elif isinstance(value, tuple):
            for number, entry in enumerate(value):
                if isinstance(entry, AreaEntry):
                    yield _label(name, entry), partial(_with_area, table, name, number)


def _with_area(table: AreaTable, name: str, number: int | None, factor: float) -> AreaTable:
    """`table` with the area of the entry `name`, or of the item `number` of that list, times `factor`."""
    value = getattr(table, name)
    if number is None:
        return table.model_copy(update={name: _scaled(value, factor)})
    scaled = _scaled(value[number], factor)
    return table.model_copy(update={name: (*value[:number], scaled, *value[number + 1 :])})


def _scaled(entry: AreaEntry, factor: float) -> AreaEntry:
    return entry.model_copy(update={"area": entry.area * factor})


def _label(name: str, entry: AreaEntry) -> str:
    """The name of an item of the list `name`."""
    if isinstance(entry, PeEntry):
        parts = [f"pe of fan-in {entry.fan_in}", "register" if entry.lane_register else "wires"]
        parts += [entry.multiplexer] if entry.multiplexer != "tree" else []
        parts += ["shadow weights"] if entry.shadow else []
        parts += [f"{entry.subword_bits}-bit subwords"] if entry.subword_bits else []
        return ", ".join(parts)
    if isinstance(entry, BankEntry):
        return f"{name}, {entry.banks}"
    return f"{name}, {entry.weights}:{entry.inputs}" if isinstance(entry, NmEntry) else name
