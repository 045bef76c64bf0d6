"""Switching activity of a netlist from a value change dump, and the energy that it takes.

The energy of a net's toggle is half its load times the voltage squared. A cell adds what its tables of internal power
say: for each toggle of an output, by the input that may have caused it, and for each toggle of an input that has a
table of its own, such as a clock. Tables are read at one slew and the load of the output, the mean of rising and
falling; those for a state of the cell count by how often it is in that state at the end of a cycle. Wires and clock
tree have no load.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthesis.functions import Bits, Function, evaluate, pins_of
from synthesis.library import Arc, Library
from synthesis.netlist import Gate, Module


@dataclass(frozen=True)
class Activity:
    """What the nets did in the cycles of one class.

    `toggles`: of each net in all of these cycles. `samples`: (nets, cycles) bool, values at the end of each cycle.
    `row`: the row of each net in `samples`.
    """

    cycles: int
    toggles: Mapping[int, int]
    samples: NDArray[np.bool_]
    row: Mapping[int, int]

    def values(self, net: int | str) -> Bits:
        """The values of a net, or of a constant, at the end of each cycle."""
        if isinstance(net, int):
            return np.asarray(self.samples[self.row[net]])
        return np.full(self.samples.shape[1], net == "1")


def read_activities(lines: Iterable[str], period: int, classes: NDArray[np.int64]) -> dict[int, Activity]:
    """The activity in the cycles of each class, from the lines of a dump with a net n<number> for every net.

    `period`: of a cycle, in units of time of the dump. `classes`: (cycles,); the dump begins with the first.
    """
    lines = iter(lines)
    row, identifiers, nets = _header(lines)
    value = np.zeros(len(nets), np.bool_)
    samples = np.zeros((len(nets), len(classes)), np.bool_)
    toggles = np.zeros((int(classes.max()) + 1, len(nets)), np.int64)
    cycle, counts = 0, toggles[classes[0]]
    known = np.zeros(len(nets), np.bool_)
    for line in lines:
        first = line[0]
        if first == "#":
            now = int(line[1:]) // period
            if now > cycle:
                samples[:, cycle : min(now, len(classes))] = value[:, None]
                if now >= len(classes):
                    break
                cycle, counts = now, toggles[classes[now]]
        elif first in "01":
            i = identifiers.get(line[1:].strip())
            if i is not None:
                bit = first == "1"
                if known[i] and value[i] != bit:
                    counts[i] += 1
                value[i] = bit
                known[i] = True
    else:
        samples[:, cycle:] = value[:, None]
    found = {}
    for kind in np.unique(classes).tolist():
        chosen = np.nonzero(classes == kind)[0]
        of_nets = {net: int(toggles[kind, i]) for net, i in row.items()}
        found[kind] = Activity(len(chosen), of_nets, samples[:, chosen], row)
    return found


def _header(lines: Iterable[str]) -> tuple[dict[int, int], dict[str, int], list[int]]:
    """The row of each net, that of each identifier, and the nets, of the scope that comes first."""
    row: dict[int, int] = {}
    identifiers: dict[str, int] = {}
    for line in lines:
        words = line.split()
        if words[:1] == ["$var"] and words[4][0] == "n" and words[4][1:].isdigit():
            # an identifier may stand for several nets that are one
            net = int(words[4][1:])
            row[net] = identifiers.setdefault(words[3], len(identifiers))
        if words[:1] == ["$enddefinitions"]:
            break
    return row, identifiers, list(range(len(identifiers)))


def energies(
    module: Module,
    library: Library,
    activity: Activity,
    slew: float,
    part_of: Callable[[int], str],
) -> dict[str, float]:
    """pJ in a cycle, on average over those of `activity`, by part; `part_of` names the part of a driven net.

    An input port's net counts as driven by its neighbor, and so an output's load outside does not count. The clock's
    load counts for the registers that it drives.
    """
    found: dict[str, float] = defaultdict(float)
    clocks = {gate.pins[gate.cell.register.clock] for gate in module.gates if gate.cell.register}
    for net in module.nets:
        if net not in clocks:
            found[part_of(net)] += activity.toggles.get(net, 0) * _charge(module.loads.get(net, 0.0), library)
    for gate in module.gates:
        part = part_of(next(iter(gate.outputs.values())))
        found[part] += internal_energy(gate, module, activity, slew)
        if gate.cell.register:
            pin = gate.cell.register.clock
            found[part] += _toggles(gate, pin, activity) * _charge(gate.cell.capacitances[pin], library)
    return {part: energy / activity.cycles for part, energy in found.items()}


def _charge(load: float, library: Library) -> float:
    """pJ of a toggle of a net with a `load` in pF."""
    return load * library.voltage**2 / 2


def internal_energy(gate: Gate, module: Module, activity: Activity, slew: float) -> float:
    """pJ that the cell took in all cycles of `activity`, by its tables of internal power."""
    by_pin: dict[str, dict[str, list[Arc]]] = defaultdict(lambda: defaultdict(list))
    for arc in gate.cell.energies:
        by_pin[arc.pin][arc.related].append(arc)
    total = 0.0
    for pin, related in by_pin.items():
        net = gate.pins.get(pin)
        toggles = activity.toggles.get(net, 0) if isinstance(net, int) else 0
        if not toggles or not isinstance(net, int):
            continue
        load = module.driven_loads.get(net, 0.0) if pin in gate.cell.functions else 0.0
        weights = {name: _toggles(gate, name, activity) for name in related}
        causes = sum(weights.values())
        for name, arcs in related.items():
            share = weights[name] / causes if causes else 1 / len(related)
            total += toggles * share * _mean_of_states(gate, arcs, activity, slew, load)
    return total


def _toggles(gate: Gate, pin: str, activity: Activity) -> int:
    net = gate.pins.get(pin)
    return activity.toggles.get(net, 0) if isinstance(net, int) else 0


def _mean_of_states(gate: Gate, arcs: list[Arc], activity: Activity, slew: float, load: float) -> float:
    """The energy of a toggle, over the states of the cell that the arcs are for."""
    stated = [arc for arc in arcs if arc.when is not None]
    plain = [arc for arc in arcs if arc.when is None]
    if not stated:
        return sum(arc.mean(slew, load) for arc in plain) / len(plain)
    shares = [_share(gate, arc.when, activity) for arc in stated if arc.when is not None]
    energy = sum(share * arc.mean(slew, load) for share, arc in zip(shares, stated, strict=True))
    rest = 1 - sum(shares)
    if rest <= 1e-9:
        return energy / max(1.0, sum(shares))
    others = plain or stated  # states that the file leaves out
    return energy + rest * sum(arc.mean(slew, load) for arc in others) / len(others)


def _share(gate: Gate, when: Function, activity: Activity) -> float:
    """How often the cell is in the state `when`; its clock is high half of the time."""
    register = gate.cell.register
    if register is None or register.clock not in pins_of(when):
        return float(np.mean(evaluate(when, lambda pin: _pin_values(gate, pin, activity))))
    halves = [
        np.mean(
            evaluate(
                when,
                lambda pin, high=high: (  # type: ignore[misc]
                    np.full(activity.samples.shape[1], high)
                    if pin == register.clock
                    else _pin_values(gate, pin, activity)
                ),
            )
        )
        for high in (False, True)
    ]
    return float(sum(halves)) / 2


def _pin_values(gate: Gate, pin: str, activity: Activity) -> Bits:
    """The values of a pin; an output that is not connected follows from the other output of its register."""
    if pin in gate.pins:
        return activity.values(gate.pins[pin])
    function = gate.cell.functions.get(pin)
    for other, net in gate.outputs.items():
        same = gate.cell.functions[other] == function
        values = activity.values(net)
        return np.asarray(values if same else ~values)
    return np.zeros(activity.samples.shape[1], np.bool_)
