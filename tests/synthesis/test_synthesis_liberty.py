"""Liberty files as the synthesis reads them: groups, units, functions and tables."""

from __future__ import annotations

import gzip
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.tiny_library import TINY_LIBRARY
from synthesis.functions import as_verilog, evaluate, parse_function, pins_of
from synthesis.liberty import LibertyError, parse_liberty, read_liberty, unit
from synthesis.library import Library, read_library, read_sram


def library_of(text: str) -> Library:
    return read_library(parse_liberty(text, "tiny.lib"))


def test_groups_attributes_and_lists_are_read() -> None:
    text = 'library (a, "b c") { /* x : 1; */ x : "1 \\\n 2"; list (1, "2") ; g () { h (k) { y : z } } }'
    found = parse_liberty(text, "a.lib")
    assert (found.arguments, found.attributes, found.lists) == (
        ["a", "b c"],
        {"x": "1  2"},
        {"list": ["1", "2"]},
    )
    assert found.of("g")[0].of("h")[0].attributes == {"y": "z"}


def test_semicolons_may_lack() -> None:
    found = parse_liberty("library (a) { g () { values (1) } h () { index (2) values (3) } }", "a.lib")
    assert [group.lists for group in found.groups] == [{"values": ["1"]}, {"index": ["2"], "values": ["3"]}]


@pytest.mark.parametrize("text", ["", "hello", "cell (a) { }", "library (a) { g () {", "{"])
def test_another_file_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(
        LibertyError, match=r"a\.lib: expected a Liberty library, got another file; give a \.lib"
    ):
        parse_liberty(text, "a.lib")


@pytest.mark.parametrize("packed", [False, True])
def test_files_may_be_gzipped(tmp_path: Path, packed: bool) -> None:
    content = TINY_LIBRARY.encode()
    (tmp_path / "a.lib").write_bytes(gzip.compress(content) if packed else content)
    assert read_liberty(tmp_path / "a.lib").name == "tiny"


@pytest.mark.parametrize(
    ("statement", "name", "expected"),
    [
        ('time_unit : "1ns";', "time_unit", 1e-9),
        ('time_unit : "10ps";', "time_unit", 1e-11),
        ('voltage_unit : "1mV";', "voltage_unit", 1e-3),
        ('leakage_power_unit : "1pW";', "leakage_power_unit", 1e-12),
        ("capacitive_load_unit (1, ff);", "capacitive_load_unit", 1e-15),
        ("capacitive_load_unit (1,pf);", "capacitive_load_unit", 1e-12),
        ("capacitive_load_unit (10, FF);", "capacitive_load_unit", 1e-14),
    ],
)
def test_units_come_from_the_file(statement: str, name: str, expected: float) -> None:
    assert unit(parse_liberty(f"library (a) {{ {statement} }}", "a.lib"), name, "1V") == pytest.approx(
        expected
    )


def test_a_unit_that_is_none_is_refused() -> None:
    library = parse_liberty('library (a) { time_unit : "fast"; }', "a.lib")
    with pytest.raises(LibertyError, match="time_unit: expected a unit such as 1ns, got fast"):
        unit(library, "time_unit", "1ns")


def test_the_same_cells_in_other_units_are_the_same() -> None:
    femto = TINY_LIBRARY.replace("(1, pf)", "(1000, ff)").replace('"1nW"', '"1000pW"')
    one, other = library_of(TINY_LIBRARY), library_of(femto)
    assert one.voltage == other.voltage == 2.0
    assert other.cells["INV"].leakage == pytest.approx(2.0)
    for name, cell in one.cells.items():
        assert cell.capacitances == pytest.approx(other.cells[name].capacitances)
        for arc, same in zip(cell.energies, other.cells[name].energies, strict=True):
            assert arc.mean(0.02, 0.0) == pytest.approx(same.mean(0.02, 0.0))


@given(st.floats(0.01, 0.11), st.floats(0.001, 0.101))
def test_tables_are_linear_between_their_points(slew: float, load: float) -> None:
    arc = library_of(TINY_LIBRARY).cells["INV"].delays[0]
    rise = 0.02 + (load - 0.001) / 0.1 * 1.0 + (slew - 0.01) / 0.1 * 0.1
    assert arc.mean(slew, load) == pytest.approx(rise + 0.01)


def test_tables_end_at_their_border() -> None:
    arc = library_of(TINY_LIBRARY).cells["INV"].delays[0]
    assert arc.mean(0.0, 0.0) == pytest.approx(arc.mean(0.01, 0.001)) == pytest.approx(0.03)
    assert arc.mean(9.0, 9.0) == pytest.approx(arc.mean(0.11, 0.101)) == pytest.approx(1.13)


def test_axes_may_stand_in_either_order() -> None:
    turned = TINY_LIBRARY.replace(
        "variable_1 : input_net_transition; variable_2 : total_output_net_capacitance",
        "variable_1 : total_output_net_capacitance; variable_2 : input_net_transition",
    )
    arc = library_of(turned).cells["INV"].delays[0]
    # the first axis, 0.01 to 0.11, is the load now
    assert arc.mean(0.001, 0.11) == pytest.approx(0.03 + 0.1)


@given(st.data())
def test_functions_are_what_python_makes_of_them(data: st.DataObject) -> None:
    pins = [st.sampled_from(["A", "B", "C", "0", "1"])]
    parts = st.recursive(
        st.one_of(*pins),
        lambda inner: st.one_of(
            inner.map(lambda a: f"!({a})"),
            inner.map(lambda a: f"({a})'"),
            st.tuples(inner, st.sampled_from("&*|+^"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        ),
        max_leaves=8,
    )
    text = data.draw(parts)
    function = parse_function(text)
    for bits in product([False, True], repeat=3):
        values = dict(zip("ABC", bits, strict=True))
        expected = _by_hand(text, values)
        assert bool(evaluate(function, lambda pin, v=values: np.asarray(v[pin]))) == expected
        verilog = as_verilog(function, lambda pin, v=values: f"{int(v[pin])}").replace("1'b", "")
        assert (eval(verilog) & 1) == expected  # our own text


def _by_hand(text: str, values: dict[str, bool]) -> bool:
    """Rewrites postfix negation from the inside out, then lets Python evaluate."""
    for pin, value in values.items():
        text = text.replace(pin, str(int(value)))
    text = text.replace("*", "&").replace("+", "|")
    while len(text) > 1:
        before = text
        for a, b in product("01", repeat=2):
            text = text.replace(f"({a} & {b})", str(int(a == b == "1"))).replace(
                f"({a} ^ {b})", str(int(a != b))
            )
            text = text.replace(f"({a} | {b})", str(int("1" in (a, b))))
        for a in "01":
            text = text.replace(f"({a})'", str(1 - int(a))).replace(f"!({a})", str(1 - int(a)))
        assert text != before
    return text == "1"


@pytest.mark.parametrize(
    ("text", "ones"),
    [
        ("A ^ B & C", ["011", "101"]),
        ("A + B C", ["011", "100", "101", "110", "111"]),
        ("A' B", ["010", "011"]),
        ("!A ^ B", ["000", "001", "110", "111"]),
    ],
)
def test_precedence_is_that_of_liberty(text: str, ones: list[str]) -> None:
    function = parse_function(text)
    found = [
        "".join(map(str, bits))
        for bits in product((0, 1), repeat=3)
        if evaluate(function, lambda pin, b=bits: np.asarray(bool(b["ABC".index(pin)])))
    ]
    assert found == ones
    assert pins_of(function) == set(text) & set("ABC")


@pytest.mark.parametrize("text", ["(A & B", "A &", "A)", ""])
def test_what_is_no_function_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a"):
        parse_function(text)


def test_a_library_without_inverter_or_flip_flop_is_refused() -> None:
    library = read_library(
        parse_liberty("library (bare) { nom_voltage : 1; nom_temperature : 25; }", "bare.lib")
    )
    with pytest.raises(LibertyError, match="bare: expected an inverter, got none"):
        library.inverter()
    with pytest.raises(LibertyError, match="bare: expected a flip-flop, got none"):
        library.flip_flop()


def test_the_typical_slew_is_that_of_an_inverter_that_drives_four() -> None:
    library = library_of(TINY_LIBRARY)
    # at 0.004 pF an edge is 0.04 ns longer than the one before, up to the border of the table
    assert library.typical_slew() == pytest.approx(0.02 + 0.03 + 0.1)
    assert library.clock_to_output() == pytest.approx(0.04 + 0.03 + 0.1)


def test_an_sram_costs_a_rise_and_a_fall_of_its_clock() -> None:
    text = """library (m) { capacitive_load_unit (1, pf); voltage_unit : "1V"; nom_voltage : 1; nom_temperature : 25;
    cell (m) { area : 7; memory () { type : ram; address_width : 6; word_width : 32; }
    pin (clk) { direction : input; clock : true; internal_power () { rise_power (scalar) { values ("2.0") }
    fall_power (scalar) { values ("1.0") } } } } }"""
    macro = read_sram(parse_liberty(text, "m.lib"))
    assert (macro.words, macro.bits, macro.area, macro.access) == (64, 32, 7.0, 3.0)
    with pytest.raises(LibertyError, match="tiny: expected an SRAM macro, got none"):
        read_sram(parse_liberty(TINY_LIBRARY, "tiny.lib"))
