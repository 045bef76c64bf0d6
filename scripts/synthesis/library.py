"""A cell library as needed here: area, capacitance, delay and energy of each cell, in um2, pF, ns and pJ."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from synthesis.functions import Function, parse_function
from synthesis.liberty import Group, LibertyError, unit

Numbers = NDArray[np.float64]
_LOADS = ("total_output_net_capacitance",)


@dataclass(frozen=True)
class Table:
    """Values over slew and load; `values`: (slews, loads). A single row or column does not depend on that axis."""

    slews: Numbers
    loads: Numbers
    values: Numbers

    def at(self, slew: float, load: float) -> float:
        """Linear between the points of the table, and its border beyond it."""
        i, row = _place(self.slews, slew)
        j, column = _place(self.loads, load)
        near, far = min(i + 1, len(self.slews) - 1), min(j + 1, len(self.loads) - 1)
        v = self.values
        low = v[i, j] * (1 - column) + v[i, far] * column
        high = v[near, j] * (1 - column) + v[near, far] * column
        return float(low * (1 - row) + high * row)


def _place(axis: Numbers, value: float) -> tuple[int, float]:
    """The point of `axis` before `value`, and how far on to the next it lies, within [0, 1]."""
    if len(axis) == 1:
        return 0, 0.0
    i = min(max(bisect_right(axis.tolist(), value) - 1, 0), len(axis) - 2)
    return i, min(max((value - axis[i]) / (axis[i + 1] - axis[i]), 0.0), 1.0)


@dataclass(frozen=True)
class Arc:
    """Rise and fall of one output from one input, or of one input alone (`related` is ""), in the state `when`."""

    pin: str
    related: str
    when: Function | None
    rise: Table | None
    fall: Table | None

    def mean(self, slew: float, load: float) -> float:
        """The mean of rise and fall; what the file leaves out is 0."""
        return sum(table.at(slew, load) for table in (self.rise, self.fall) if table) / 2


@dataclass(frozen=True)
class Register:
    """A flip-flop: `state` is the name of its variable; it takes `next_state` when `clock` rises."""

    state: str
    inverse: str
    next_state: Function
    clock: str
    asynchronous: tuple[Function, ...]


@dataclass(frozen=True)
class Cell:
    """One cell; areas in um2, leakage in nW, capacitances of inputs in pF, functions of outputs."""

    name: str
    area: float
    leakage: float
    capacitances: dict[str, float]
    functions: dict[str, Function]
    register: Register | None
    delays: tuple[Arc, ...]
    transitions: tuple[Arc, ...]
    energies: tuple[Arc, ...]


@dataclass(frozen=True)
class Library:
    """The cells of a Liberty file, at its nominal voltage in V."""

    name: str
    voltage: float
    temperature: float
    cells: dict[str, Cell] = field(repr=False)

    def typical_slew(self) -> float:
        """The transition time, in ns, that the smallest inverter has when it drives four of its kind."""
        inverter = self.inverter()
        load = 4 * next(iter(inverter.capacitances.values()))
        slew = 0.0
        for _ in range(20):
            slew = float(np.mean([arc.mean(slew, load) for arc in inverter.transitions]))
        return slew

    def inverter(self) -> Cell:
        """The smallest inverter."""
        found = [cell for cell in self.cells.values() if _is_inverter(cell)]
        if not found:
            raise LibertyError(
                f"{self.name}: expected an inverter, got none; give a library of standard cells"
            )
        return min(found, key=lambda cell: cell.area)

    def flip_flop(self) -> Cell:
        """The smallest flip-flop whose next state is its one data input."""
        found = [c for c in self.cells.values() if c.register and c.register.next_state[0] == "pin"]
        if not found:
            raise LibertyError(
                f"{self.name}: expected a flip-flop, got none; give a library of standard cells"
            )
        return min(found, key=lambda cell: cell.area)

    def clock_to_output(self) -> float:
        """Delay in ns from the clock of `flip_flop` to its output, which drives four inverters."""
        load = 4 * next(iter(self.inverter().capacitances.values()))
        flop, slew = self.flip_flop(), self.typical_slew()
        assert flop.register is not None
        arcs = [arc for arc in flop.delays if arc.related == flop.register.clock]
        return max(max(t.at(slew, load) for t in (arc.rise, arc.fall) if t) for arc in arcs)


def _is_inverter(cell: Cell) -> bool:
    return len(cell.capacitances) == 1 and [f[0] for f in cell.functions.values()] == ["!"]


def read_library(group: Group) -> Library:
    """The cells of a library group that have outputs with functions; scan cells and latches are left out."""
    scales = _scales(group)
    voltage = float(group.attributes["nom_voltage"]) * scales.voltage
    cells = (_cell(cell, scales) for cell in group.of("cell"))
    found = {cell.name: cell for cell in cells if cell is not None}
    return Library(group.name, voltage, float(group.attributes["nom_temperature"]), found)


@dataclass(frozen=True)
class _Scales:
    time: float
    capacitance: float
    voltage: float
    leakage: float
    templates: dict[str, Group]

    @property
    def energy(self) -> float:
        """pJ in a unit of internal power, which Liberty defines as capacitance x voltage squared."""
        return self.capacitance * self.voltage**2


def _scales(library: Group) -> _Scales:
    return _Scales(
        unit(library, "time_unit", "1ns") * 1e9,
        unit(library, "capacitive_load_unit", "1pF") * 1e12,
        unit(library, "voltage_unit", "1V"),
        unit(library, "leakage_power_unit", "1nW") * 1e9,
        {t.name: t for t in library.of("lu_table_template", "power_lut_template")},
    )


def _cell(group: Group, scales: _Scales) -> Cell | None:
    pins = group.of("pin")
    outputs = {p.name: p.attributes["function"] for p in pins if "function" in p.attributes}
    if not outputs or group.of("latch", "statetable") or any("three_state" in p.attributes for p in pins):
        return None
    default = _leakage(group)
    arcs = [arc for pin in pins for arc in _arcs(pin, scales)]
    flops = group.of("ff")
    return Cell(
        name=group.name,
        area=float(group.attributes["area"]),
        leakage=default * scales.leakage,
        capacitances={
            p.name: float(p.attributes["capacitance"]) * scales.capacitance
            for p in pins
            if p.attributes.get("direction") == "input" and "capacitance" in p.attributes
        },
        functions={name: parse_function(text) for name, text in outputs.items()},
        register=_register(flops[0]) if flops else None,
        delays=tuple(arc for kind, arc in arcs if kind == "delay"),
        transitions=tuple(arc for kind, arc in arcs if kind == "transition"),
        energies=tuple(arc for kind, arc in arcs if kind == "energy"),
    )


def _leakage(group: Group) -> float:
    if "cell_leakage_power" in group.attributes:
        return float(group.attributes["cell_leakage_power"])
    states = [float(state.attributes["value"]) for state in group.of("leakage_power")]
    return sum(states) / len(states) if states else 0.0


def _register(group: Group) -> Register | None:
    clock = parse_function(group.attributes["clocked_on"])
    if clock[0] != "pin":  # falling edges are not used here
        return None
    asynchronous = [group.attributes[name] for name in ("clear", "preset") if name in group.attributes]
    return Register(
        group.arguments[0],
        group.arguments[1],
        parse_function(group.attributes["next_state"]),
        clock[1],
        tuple(parse_function(text) for text in asynchronous),
    )


def _arcs(pin: Group, scales: _Scales) -> list[tuple[str, Arc]]:
    found = []
    for group in pin.groups:
        names = {
            "timing": (("delay", "cell", scales.time), ("transition", "transition", scales.time)),
            "internal_power": (("energy", "power", scales.energy),),
        }.get(group.kind, ())
        for kind, name, scale in names:
            keys = [f"{name}_rise", f"{name}_fall"] if name == "cell" else [f"rise_{name}", f"fall_{name}"]
            tables = [_table(group, key, scale, scales) for key in keys]
            if any(tables) and not group.attributes.get("timing_type", "").startswith(("clear", "preset")):
                when = group.attributes.get("when")
                condition = parse_function(when) if when else None
                for related in group.attributes.get("related_pin", "").split() or [""]:
                    found.append((kind, Arc(pin.name, related, condition, *tables)))
    return found


def _table(group: Group, kind: str, scale: float, scales: _Scales) -> Table | None:
    """The table of `kind` in `group`, with its axes in ns and pF."""
    inner = group.of(kind)
    if not inner or not inner[0].lists.get("values"):
        return None
    table = inner[0]
    values = np.array(
        [float(v) for row in table.lists["values"] for v in re.split(r"[,\s]+", row.strip(" ,"))]
    )
    template = scales.templates.get(table.name)
    axes = {"slew": np.zeros(1), "load": np.zeros(1)}
    order = []
    for number in (1, 2):
        variable = template.attributes.get(f"variable_{number}") if template else None
        if variable is None:
            continue
        text = table.lists.get(f"index_{number}") or (
            template.lists.get(f"index_{number}") if template else None
        )
        if not text:
            continue
        axis, size = ("load", scales.capacitance) if variable in _LOADS else ("slew", scales.time)
        axes[axis] = np.array([float(v) for v in re.split(r"[,\s]+", text[0].strip(" ,"))]) * size
        order.append(axis)
    shaped = values.reshape([len(axes[axis]) for axis in order] or [1])
    if order == ["load", "slew"]:
        shaped = shaped.T
    return Table(axes["slew"], axes["load"], shaped.reshape(len(axes["slew"]), len(axes["load"])) * scale)


@dataclass(frozen=True)
class Sram:
    """An SRAM macro: um2, and pJ of a cycle of its clock pin."""

    words: int
    bits: int
    area: float
    access: float


def read_sram(group: Group) -> Sram:
    """The macro of a library of one; LibertyError where it has none."""
    cells = [cell for cell in group.of("cell") if cell.of("memory")]
    if not cells:
        raise LibertyError(f"{group.name}: expected an SRAM macro, got none; give its Liberty file")
    cell, memory = cells[0], cells[0].of("memory")[0]
    scales = _scales(group)
    clocks = [pin for pin in cell.of("pin") if pin.attributes.get("clock") == "true"]
    arcs = [arc for pin in clocks for kind, arc in _arcs(pin, scales) if kind == "energy"]
    return Sram(
        2 ** int(memory.attributes["address_width"]),
        int(memory.attributes["word_width"]),
        float(cell.attributes["area"]),
        2 * max((arc.mean(0.0, 0.0) for arc in arcs), default=0.0),  # rise and fall
    )
