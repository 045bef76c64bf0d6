"""Toggles of a dump and the energy that they take, against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.tiny_library import TINY_LIBRARY
from synthesis.activity import Activity, energies, internal_energy, read_activities
from synthesis.liberty import parse_liberty
from synthesis.library import read_library
from synthesis.netlist import Gate, Port, module_of, netlist_verilog

LIBRARY = read_library(parse_liberty(TINY_LIBRARY, "tiny.lib"))
CELLS = LIBRARY.cells

# a NAND of nets 1 and 2 drives net 3 and, through an inverter, net 4
TWO_GATES = module_of(
    "two",
    (Port("a", True, (1,)), Port("b", True, (2,)), Port("y", False, (4,))),
    (Gate(CELLS["NAND2"], {"A": 1, "B": 2, "Y": 3}), Gate(CELLS["INV"], {"A": 3, "Y": 4})),
)
DUMP = """$timescale 1ps $end
$scope module netlist $end
$var wire 1 ! n1 $end
$var wire 1 " n2 $end
$var wire 1 # n3 $end
$var wire 1 $ n4 $end
$var wire 1 ! a $end
$upscope $end
$enddefinitions $end
#0
$dumpvars
x#
0!
1"
x$
$end
#5
1#
#6
0$
#10
1!
#12
0#
#13
1$
#14
1#
#15
0$
#16
0#
#17
1$
#20
0!
#22
1#
#23
0$
#41
1!
""".splitlines(keepends=True)


def energy(activity: Activity) -> dict[str, float]:
    return energies(TWO_GATES, LIBRARY, activity, 0.05, lambda net: "inputs" if net < 3 else "gates")


def test_toggles_are_counted_by_the_class_of_their_cycle() -> None:
    found = read_activities(DUMP, 10, np.array([0, 1, 0, 2]))
    # cycle 0 settles what was unknown; in cycle 1 the NAND glitches; in cycle 2 it rises
    assert found[1].toggles == {1: 1, 2: 0, 3: 3, 4: 3}
    assert found[0].toggles == {1: 1, 2: 0, 3: 1, 4: 1}
    assert found[2].toggles == {1: 0, 2: 0, 3: 0, 4: 0}
    assert [found[kind].cycles for kind in (0, 1, 2)] == [2, 1, 1]
    assert found[0].values(3).tolist() == [True, True]
    assert found[1].values(3).tolist() == [False]
    assert found[2].values(1).tolist() == [False]
    assert found[1].values("1").tolist() == [True]


def test_the_energy_of_two_gates_is_the_sum_by_hand() -> None:
    activity = read_activities(DUMP, 10, np.array([0, 1, 0, 2]))[1]
    # 0.001 pF at 2 V: 0.002 pJ a toggle. Net 1 toggles once; net 3 three times, and net 4 drives nothing.
    # A cell: (0.003 + 0.001) / 2 pJ for each toggle of its output, three of each.
    found = energy(activity)
    assert found["inputs"] == pytest.approx(1 * 0.002)
    assert found["gates"] == pytest.approx(3 * 0.002 + 3 * 0.002 + 3 * 0.002)


def test_energy_is_that_of_a_cycle() -> None:
    activity = read_activities(DUMP, 10, np.array([0, 1, 0, 2]))[0]
    assert sum(energy(activity).values()) == pytest.approx((0.002 + 0.002 + 2 * 0.002) / 2)


def test_a_dump_that_ends_early_stays_as_it_is() -> None:
    found = read_activities(DUMP[:-2], 10, np.array([0, 1, 0, 2]))
    assert found[2].values(4).tolist() == [False]


FLIP_FLOP = Gate(CELLS["DFF"], {"D": 1, "CK": 2, "Q": 3})
REGISTER = module_of(
    "register", (Port("clock", True, (2,)), Port("d", True, (1,)), Port("q", False, (3,))), (FLIP_FLOP,)
)


def activity_of(d: list[int], q: list[int], toggles: dict[int, int]) -> Activity:
    samples = np.array([d, [0] * len(d), q], bool)
    return Activity(len(d), toggles, samples, {1: 0, 2: 1, 3: 2})


@pytest.mark.parametrize(
    ("d", "q", "per_cycle"),
    [
        ([1, 1], [1, 1], 0.004 + 0.002),  # it holds a 1
        ([0, 0], [0, 0], 0.002 + 0.002),  # it holds a 0
        ([1, 0], [0, 1], 0.006),  # it is about to change
        ([1, 0], [1, 1], (0.004 + 0.002 + 0.006) / 2),  # each in half of the cycles
    ],
)
def test_a_clock_pin_costs_by_the_state_of_its_register(d: list[int], q: list[int], per_cycle: float) -> None:
    found = internal_energy(FLIP_FLOP, REGISTER, activity_of(d, q, {1: 0, 2: 4, 3: 0}), 0.05)
    assert found == pytest.approx(2 * per_cycle)


def test_a_register_costs_its_clock_its_data_and_its_output() -> None:
    activity = activity_of([1, 0], [0, 1], {1: 2, 2: 4, 3: 2})
    internal = (
        2 * 0.006 + 2 * (0.5 * 0.002) + 2 * 0.004
    )  # the data pin's table holds for a low clock: half the time
    # its state is not known for a high clock, so the table for a low one stands for both
    assert internal_energy(FLIP_FLOP, REGISTER, activity, 0.05) == pytest.approx(internal + 2 * 0.5 * 0.002)
    charge = 2 * 0.002 + 4 * 0.002 * 2  # data: 0.001 pF, clock: 0.002 pF
    found = energies(REGISTER, LIBRARY, activity, 0.05, lambda net: "all")
    assert found["all"] == pytest.approx((internal + 2 * 0.5 * 0.002 + charge) / 2)


def test_an_output_drives_the_next_element_too() -> None:
    ports = (Port("sum_above", True, (1,)), Port("sum_below", False, (2,)))
    module = module_of("m", ports, (Gate(CELLS["INV"], {"A": 1, "Y": 2}),))
    assert module.loads.get(2, 0.0) == 0.0
    assert module.driven_loads[2] == pytest.approx(0.001)


def test_the_verilog_has_functions_and_delays() -> None:
    text = netlist_verilog(TWO_GATES, 0.01)
    # the NAND drives 0.001 pF: the mean of 20 and 40 ps; the inverter drives less than the table begins with
    assert "assign #30 n3 = ~(n1 & n2);" in text
    assert "assign #30 n4 = ~n3;" in text
    assert "module two_netlist (a, b, y);" in text
    assert "always @(posedge n2) n3 <= #30 (n1);" in netlist_verilog(REGISTER, 0.01)
