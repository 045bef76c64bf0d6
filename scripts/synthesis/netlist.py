"""A netlist of library cells: read from Yosys, and written as Verilog with the delay of each cell under its load."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthesis.functions import Function, as_verilog
from synthesis.library import Cell, Library, Register

_PS = 1000
Net = int | str  # a number, or the constants "0", "1" and "x"

# output ports, and the input port of the next element that each of them drives
DRIVES = {
    "lane_right": "lane_left",
    "sum_below": "sum_above",
    "slot_above": "slot_below",
    "slots_above": "slots_below",
    "select_above": "select_below",
    "selects_above": "selects_below",
}


@dataclass(frozen=True)
class Gate:
    """One cell and the net of each of its pins."""

    cell: Cell
    pins: Mapping[str, Net]

    @property
    def outputs(self) -> dict[str, int]:
        """The net of each output that is connected."""
        return {pin: n for pin, n in self.pins.items() if pin in self.cell.functions and isinstance(n, int)}


@dataclass(frozen=True)
class Port:
    """A port of the module; `nets`: lowest bit first."""

    name: str
    is_input: bool
    nets: tuple[Net, ...]


@dataclass(frozen=True)
class Module:
    """A netlist. `loads`: pF of the pins that each net drives, in this module alone."""

    name: str
    ports: tuple[Port, ...]
    gates: tuple[Gate, ...]
    loads: Mapping[int, float]
    driven_loads: Mapping[int, float]

    @property
    def nets(self) -> list[int]:
        """All nets."""
        found = {n for port in self.ports for n in port.nets} | {
            n for g in self.gates for n in g.pins.values()
        }
        return sorted(n for n in found if isinstance(n, int))


def read_netlist(path: Path, top: str, library: Library) -> Module:
    """The module `top` in a JSON file that Yosys wrote."""
    module = json.loads(path.read_text())["modules"][top]
    gates = tuple(Gate(library.cells[c["type"]], _connections(c)) for c in module["cells"].values())
    ports = tuple(
        Port(name, port["direction"] == "input", tuple(port["bits"]))
        for name, port in module["ports"].items()
    )
    return module_of(top, ports, gates)


def module_of(name: str, ports: tuple[Port, ...], gates: tuple[Gate, ...]) -> Module:
    """The module of these gates, with the load of each net; outputs also drive what DRIVES says."""
    loads: dict[int, float] = defaultdict(float)
    for gate in gates:
        for pin, net in gate.pins.items():
            if isinstance(net, int):
                loads[net] += gate.cell.capacitances.get(pin, 0.0)
    by_name = {port.name: port for port in ports}
    driven = dict(loads)
    for port in ports:
        next_port = by_name.get(DRIVES.get(port.name, ""))
        if next_port and not port.is_input:
            for net, onward in zip(port.nets, next_port.nets, strict=True):
                if isinstance(net, int) and isinstance(onward, int) and net != onward:
                    driven[net] = driven.get(net, 0.0) + loads[onward]
    return Module(name, ports, gates, dict(loads), driven)


def _connections(cell: dict[str, dict[str, list[Net]]]) -> dict[str, Net]:
    return {pin: bits[0] for pin, bits in cell["connections"].items() if bits}


def netlist_verilog(module: Module, slew: float) -> str:
    """The module as Verilog of its own functions, named NAME_netlist; inertial delays in ps, from the tables.

    A cell's delay is the mean over its arcs, rising and falling, at `slew` in ns and the load of its output.
    """
    lines = [f"module {module.name}_netlist ({', '.join(port.name for port in module.ports)});"]
    for port in module.ports:
        width = f"[{len(port.nets) - 1}:0] " if len(port.nets) > 1 else ""
        lines.append(f"    {'input' if port.is_input else 'output'} {width}{port.name};")
    registered = {n for gate in module.gates if gate.cell.register for n in gate.outputs.values()}
    for net in module.nets:
        lines.append(f"    {'reg' if net in registered else 'wire'} n{net};")
    for port in module.ports:
        for i, net in enumerate(port.nets):
            bit = f"{port.name}[{i}]" if len(port.nets) > 1 else port.name
            lines.append(f"    assign {f'n{net} = {bit}' if port.is_input else f'{bit} = {_name(net)}'};")
    for gate in module.gates:
        lines += _gate_verilog(gate, module, slew)
    return "\n".join([*lines, "endmodule", ""])


def _name(net: Net) -> str:
    return f"n{net}" if isinstance(net, int) else f"1'b{net}"


def _gate_verilog(gate: Gate, module: Module, slew: float) -> list[str]:
    lines = []
    for pin, net in gate.outputs.items():
        arcs = [arc for arc in gate.cell.delays if arc.pin == pin]
        delay = max(
            1, round(_PS * float(np.mean([arc.mean(slew, module.driven_loads[net]) for arc in arcs])))
        )
        function = gate.cell.functions[pin]
        if gate.cell.register is None:
            value = as_verilog(function, lambda name: _name(gate.pins[name]))
            lines.append(f"    assign #{delay} n{net} = {value};")
        else:
            lines.append(_register_verilog(gate, gate.cell.register, function, f"n{net} <= #{delay}"))
    return lines


def _register_verilog(gate: Gate, register: Register, function: Function, assigns: str) -> str:
    for condition in register.asynchronous:
        held = as_verilog(condition, lambda name: _name(gate.pins[name]))
        if held not in ("~1'b1", "1'b0"):
            raise ValueError(f"{gate.cell.name}: expected no asynchronous set or reset in use, got {held}")
    value = as_verilog(register.next_state, lambda name: _name(gate.pins[name]))
    inverted = function in (("pin", register.inverse), ("!", ("pin", register.state)))
    clock = _name(gate.pins[register.clock])
    return f"    always @(posedge {clock}) {assigns} {'~' if inverted else ''}({value});"
