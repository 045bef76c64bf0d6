"""Streams slots through a netlist of a processing element beside its RTL, and reads the activity of its nets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthesis.activity import energies, read_activities
from synthesis.library import Library
from synthesis.netlist import Module, Port, netlist_verilog, read_netlist
from synthesis.tools import ROOT, Design, Netlist, ToolError, run
from synthesis.vectors import Integers, Slot

CLASSES = ("load", "used", "idle")
_PARTS = {"lane": "lanes", "sum": "sums", "slot": "slots", "select": "slots"}
_RESULT = re.compile(r"mismatches (\d+) of (\d+)")

# the words of the ports of a design, (cycles,), for one slot: by port, of the cycles in which it is loaded and used
Words = dict[str, list[int]]
Stimuli = Callable[[Slot], Words]


@dataclass(frozen=True)
class Measured:
    """pJ in a cycle by class and by part: lanes, sums, slots and logic. `compared`: words equal to those of the RTL."""

    parts: dict[str, dict[str, float]]
    compared: int

    def total(self, kind: str) -> float:
        """pJ in a cycle of one class."""
        return sum(self.parts[kind].values())


def pe_words(fan_in: int, one_hot: bool = False) -> Stimuli:
    """The words of pe.sv."""

    def words(slot: Slot) -> Words:
        used = slot.selects >= 0
        if one_hot and fan_in > 1:
            selects = np.where(used, 1 << slot.selects.clip(0), 0)
        else:
            selects = np.where(used, (1 << (fan_in - 1).bit_length()) + slot.selects, 0)
        return {
            **_loaded({"slot_below": slot.weights & 255, "select_below": selects}, len(slot.sums)),
            "swap": [0] * (len(slot.weights) - 1) + [1] + [0] * len(slot.sums),
            **_streamed(
                {"lane_left": _joined(slot.lane), "sum_above": slot.sums.tolist()}, len(slot.weights)
            ),
        }

    return words


def zero_gated_words(slot: Slot) -> Words:
    """The words of zero_gated_pe.sv, the sums a cycle later."""
    byte = slot.lane[:, 0]
    lane = np.where(byte != 0, 256 + (byte & 255), 0)
    sums = np.r_[slot.sums[:1], slot.sums[:-1]]
    return {
        **_loaded({"slot_below": slot.weights & 255}, len(sums)),
        **_streamed({"lane_left": lane.tolist(), "sum_above": sums.tolist()}, len(slot.weights)),
    }


def adder_words(slot: Slot) -> Words:
    """The words of adder.sv, with the products of the slot."""
    products = slot.lane[:, max(int(slot.selects[-1]), 0)] * slot.weights[-1]
    return _streamed({"product": products.tolist(), "sum_above": slot.sums.tolist()}, len(slot.weights))


def _loaded(words: dict[str, Integers], steps: int) -> Words:
    """Words of the cycles of loading; they stay while the slot is used."""
    found = {name: values.tolist() + [int(values[-1])] * steps for name, values in words.items()}
    count = len(next(iter(words.values())))
    return {**found, "load": [1] * count + [0] * steps}


def _streamed(words: dict[str, list[int]], loading: int) -> Words:
    """Words of the cycles of use, 0 before them."""
    return {name: [0] * loading + values for name, values in words.items()}


def _joined(lane: Integers) -> list[int]:
    return [sum(byte << (8 * i) for i, byte in enumerate(row)) for row in (lane & 255).tolist()]


@dataclass(frozen=True)
class Bench:
    """A design to stream through: its words, the clock in ns, the delay of its inputs and a slew in ns."""

    design: Design
    words: Stimuli
    clock: float
    arrival: float
    slew: float


def measure(bench: Bench, netlist: Netlist, slots: Sequence[Slot], library: Library) -> Measured:
    """The energy of the netlist while it runs `slots`; ToolError where an output differs from the RTL's."""
    folder = netlist.json.parent / "bench"
    folder.mkdir(exist_ok=True)
    module = read_netlist(netlist.json, bench.design.top, library)
    stimuli, classes = _stimuli(bench, slots)
    period = 2 * round(bench.clock * 500)
    texts = {
        "netlist.v": netlist_verilog(module, bench.slew),
        "bench.sv": _bench_verilog(bench, module, classes, period),
        "stimuli.hex": _hex_words(module, stimuli, len(classes)),
    }
    sources = [(ROOT / source).read_text() for source in bench.design.sources]
    programs = [
        (Path(__file__).parent / name).read_text() for name in ("activity.py", "library.py", "functions.py")
    ]
    digest = hashlib.sha256("".join([*texts.values(), *sources, *programs]).encode()).hexdigest()
    done = folder / f"{digest[:16]}.json"
    if done.exists():
        return Measured(**json.loads(done.read_text()))
    for name, text in texts.items():
        (folder / name).write_text(text)
    compared = _simulate(bench.design, folder)
    with (folder / "activity.vcd").open() as dump:
        activities = read_activities(dump, period, classes)
    (folder / "activity.vcd").unlink()
    part_of = parts_of(module)
    parts = {
        kind: energies(module, library, activities[i], bench.slew, part_of)
        for i, kind in enumerate(CLASSES)
        if i in activities
    }
    done.write_text(json.dumps({"parts": parts, "compared": compared}))
    return Measured(parts, compared)


def _stimuli(bench: Bench, slots: Sequence[Slot]) -> tuple[Words, NDArray[np.int64]]:
    """The words of all slots one after the other, and the class of each cycle."""
    words: Words = {}
    classes: list[int] = []
    for slot in slots:
        for name, values in bench.words(slot).items():
            words.setdefault(name, []).extend(values)
        classes += [0] * len(slot.weights) + [CLASSES.index(slot.kind)] * len(slot.sums)
    return words, np.array(classes)


def parts_of(module: Module) -> Callable[[int], str]:
    """The part that a net belongs to: that of the port that it is, else "logic"."""
    part = {
        net: _PARTS[port.name.split("_")[0].removesuffix("s")]
        for port in module.ports
        if port.name.split("_")[0].removesuffix("s") in _PARTS
        for net in port.nets
        if isinstance(net, int)
    }
    return lambda net: part.get(net, "logic")


def _ports(module: Module, is_input: bool) -> list[Port]:
    return [port for port in module.ports if port.is_input == is_input and port.name != "clock"]


def _hex_words(module: Module, words: Words, cycles: int) -> str:
    """One line a cycle: all inputs side by side, the first port highest."""
    ports = _ports(module, True)
    digits = -(-sum(len(port.nets) for port in ports) // 4)
    lines = []
    for cycle in range(cycles):
        line = 0
        for port in ports:
            line = line << len(port.nets) | words[port.name][cycle] & ((1 << len(port.nets)) - 1)
        lines.append(f"{line:0{digits}x}")
    return "\n".join(lines) + "\n"


def _bench_verilog(bench: Bench, module: Module, classes: NDArray[np.int64], period: int) -> str:
    """Compares in each cycle after the first slot has been loaded, when no register is unknown any more."""
    cycles, loaded = len(classes), int(np.argmax(classes != 0))
    inputs, outputs = _ports(module, True), _ports(module, False)
    bits = sum(len(port.nets) for port in inputs)
    declared = [f"    wire [{len(p.nets) - 1}:0] rtl_{p.name}, netlist_{p.name};" for p in outputs]
    sets = ", ".join(f".{name}({value})" for name, value in bench.design.parameters.items())
    both = [
        f"    {bench.design.top}{kind} {f'#({sets}) ' if sets and not kind else ''}{name} (.clock(clock), "
        + ", ".join(
            [f".{p.name}({p.name})" for p in inputs] + [f".{p.name}({name}_{p.name})" for p in outputs]
        )
        + ");"
        for kind, name in (("", "rtl"), ("_netlist", "netlist"))
    ]
    differs = " || ".join(f"rtl_{p.name} !== netlist_{p.name}" for p in outputs)
    return f"""`timescale 1ps/1ps
module bench;
    reg clock = 0;
    reg [{bits - 1}:0] stimuli [0:{cycles - 1}];
    reg [{bits - 1}:0] word;
{chr(10).join(f"    wire [{len(p.nets) - 1}:0] {p.name};" for p in inputs)}
    assign {{{", ".join(p.name for p in inputs)}}} = word;
{chr(10).join(declared + both)}
    integer cycle, mismatches = 0, compared = 0;
    initial begin
        $readmemh("stimuli.hex", stimuli);
        word = stimuli[0];
        $dumpfile("activity.vcd");
        $dumpvars(1, netlist);
        for (cycle = 0; cycle < {cycles}; cycle = cycle + 1) begin
            clock = 1;
            #{round(bench.arrival * 1000)} word = stimuli[cycle];
            #{period // 2 - round(bench.arrival * 1000)} clock = 0;
            #{period // 2 - 1};
            if (cycle > {loaded}) begin
                compared = compared + 1;
                if ({differs}) mismatches = mismatches + 1;
            end
            #1;
        end
        $display("mismatches %0d of %0d", mismatches, compared);
        $finish;
    end
endmodule
"""


def _simulate(design: Design, folder: Path) -> int:
    """Runs the bench; how many cycles were compared, all equal."""
    sources = [ROOT / source for source in design.sources]
    run(["iverilog", "-g2012", "-o", "bench.vvp", "bench.sv", "netlist.v", *sources], folder)
    said = _RESULT.search(run(["vvp", "-n", "bench.vvp"], folder))
    if said is None or int(said[1]):
        raise ToolError(
            f"{design.name}: expected a netlist equal to its RTL, got {said[0] if said else 'no result'}"
        )
    return int(said[2])
