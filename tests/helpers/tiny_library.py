"""A cell library of five cells with made-up values, and Liberty text of one."""

from __future__ import annotations

# as pF, ns and V: made up, so that sums can be checked by hand
_TABLE = 'index_1 ("0.01, 0.11"); index_2 ("0.001, 0.101"); values ("{0}, {1}", "{2}, {3}");'


def _table(kind: str, template: str, low: float, per_load: float, per_slew: float) -> str:
    corners = (low, low + per_load, low + per_slew, low + per_load + per_slew)
    return f"{kind} ({template}) {{ {_TABLE.format(*corners)} }}"


def _timing(related: str, sense: str, kind: str = "combinational") -> str:
    tables = [
        _table("cell_rise", "delays", 0.02, 1.0, 0.1),
        _table("cell_fall", "delays", 0.04, 1.0, 0.1),
        _table("rise_transition", "delays", 0.02, 1.0, 0.1),
        _table("fall_transition", "delays", 0.02, 1.0, 0.1),
    ]
    head = f'related_pin : "{related}"; timing_sense : {sense}; timing_type : {kind};'
    return f"timing () {{ {head} {' '.join(tables)} }}"


def _power(rise: float, fall: float, related: str = "", when: str = "") -> str:
    named = f'related_pin : "{related}"; ' if related else ""
    state = f'when : "{when}"; ' if when else ""
    tables = " ".join(
        f'{kind} (scalar) {{ values ("{v}"); }}' for kind, v in (("rise_power", rise), ("fall_power", fall))
    )
    return f"internal_power () {{ {named}{state}{tables} }}"


def _input(name: str, capacitance: float, more: str = "") -> str:
    return f"pin ({name}) {{ direction : input; capacitance : {capacitance}; {more} }}"


def _gate(name: str, area: float, function: str, inputs: str, sense: str = "negative_unate") -> str:
    pins = " ".join(_input(pin, 0.001) for pin in inputs)
    timing = " ".join(_timing(pin, sense) for pin in inputs)
    power = " ".join(_power(0.003, 0.001, pin) for pin in inputs)
    return (
        f"cell ({name}) {{ area : {area}; cell_leakage_power : 2; {pins} "
        f'pin (Y) {{ direction : output; max_capacitance : 0.1; function : "{function}"; {timing} {power} }} }}'
    )


_SETUP = """timing () { related_pin : "CK"; timing_type : setup_rising;
    rise_constraint (scalar) { values ("0.05"); } fall_constraint (scalar) { values ("0.05"); } }"""

_FLIP_FLOP = f"""cell (DFF) {{ area : 5; cell_leakage_power : 3;
  ff (IQ, IQN) {{ next_state : "D"; clocked_on : "CK"; }}
  {_input("D", 0.001, _SETUP + _power(0.002, 0.002, when="!CK"))}
  {
    _input(
        "CK",
        0.002,
        "clock : true; "
        + _power(0.004, 0.002, when="D & Q")
        + _power(0.002, 0.002, when="!D & !Q")
        + _power(0.0, 0.006, when="D & !Q")
        + _power(0.0, 0.006, when="!D & Q"),
    )
}
  pin (Q) {{ direction : output; max_capacitance : 0.1; function : "IQ";
    {_timing("CK", "non_unate", "rising_edge")} {_power(0.005, 0.003, "CK")} }} }}"""

TINY_LIBRARY = f"""/* five cells with made-up values, for tests */
library (tiny) {{
  delay_model : table_lookup;
  time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA"; pulling_resistance_unit : "1kohm";
  leakage_power_unit : "1nW"; capacitive_load_unit (1, pf);
  nom_process : 1; nom_temperature : 25; nom_voltage : 2.0;
  default_max_transition : 1.0;
  slew_lower_threshold_pct_fall : 30; slew_lower_threshold_pct_rise : 30;
  slew_upper_threshold_pct_fall : 70; slew_upper_threshold_pct_rise : 70;
  input_threshold_pct_fall : 50; input_threshold_pct_rise : 50;
  output_threshold_pct_fall : 50; output_threshold_pct_rise : 50;
  lu_table_template (delays) {{ variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("0.01, 0.11"); index_2 ("0.001, 0.101"); }}
  {_gate("INV", 1, "!A", "A")}
  {_gate("BUF", 2, "A", "A", "positive_unate")}
  {_gate("NAND2", 2, "!(A & B)", "AB")}
  {_gate("NOR2", 2.5, "(A + B)'", "AB")}
  {_FLIP_FLOP}
}}
"""
