"""The modules that are synthesized: processing elements in every form, and what an array needs around them."""

from __future__ import annotations

from dataclasses import dataclass

from synthesis.tools import Design

_RTL = "src/tightc/rtl/verilog"
_OWN = "scripts/synthesis"
FAN_INS = (1, 2, 4, 8, 16, 32)
SUBWORD_FAN_INS = (1, 4, 8, 16)
ONE_HOT_SHADOW_FAN_INS = (8, 16)
BANKS = (32, 64, 128, 256)
ROWS = COLUMNS = 32
# of an activation buffer of 64 KiB and maps of up to 63 x 63 with their padding
_WIDTHS = {"ADDRESS_BITS": 16, "SIDE_BITS": 6}


@dataclass(frozen=True)
class PeForm:
    """A form of pe.sv."""

    fan_in: int
    lane_register: bool = True
    one_hot: bool = False
    shadow: bool = False
    subword_bits: int = 0

    @property
    def design(self) -> Design:
        """What to synthesize."""
        marks = ("one-hot", self.one_hot), ("shadow", self.shadow), ("subword", bool(self.subword_bits))
        name = "-".join(
            [f"pe{self.fan_in}", "register" if self.lane_register else "wire", *(n for n, on in marks if on)]
        )
        return Design(
            name,
            "pe",
            (f"{_RTL}/pe.sv", f"{_RTL}/multiplexer.sv"),
            {
                "FAN_IN": self.fan_in,
                "ONE_HOT": int(self.one_hot),
                "LANE_REGISTER": int(self.lane_register),
                "SHADOW": int(self.shadow),
                "SUBWORD_BITS": self.subword_bits,
            },
        )


def pe_forms() -> list[PeForm]:
    """Fan-in x lane inputs registered or not, with a tree and one-hot, with shadow weights and of subwords.

    One-hot with shadow weights is left out but for two fan-ins, subwords with either: what they add is the same.
    """
    forms = []
    for registered in (True, False):
        forms += [PeForm(f, registered, shadow=shadow) for shadow in (False, True) for f in FAN_INS]
        forms += [PeForm(f, registered, one_hot=True) for f in FAN_INS[1:]]
        forms += [PeForm(f, registered, one_hot=True, shadow=True) for f in ONE_HOT_SHADOW_FAN_INS]
        forms += [PeForm(f, registered, subword_bits=4) for f in SUBWORD_FAN_INS]
    return forms


def baseline_designs() -> dict[str, Design]:
    """The elements of other methods, with lane inputs registered in each."""
    multiplexer = f"{_RTL}/multiplexer.sv"
    return {
        "nm_2_8": Design("nm-2-8", "nm_pe", (f"{_OWN}/nm_pe.sv", multiplexer), {"N": 2, "M": 8}),
        "zero_gated": Design("zero-gated", "zero_gated_pe", (f"{_OWN}/zero_gated_pe.sv",), {}),
    }


def feeder(fan_in: int, shadow: bool = False) -> Design:
    """The feeder of one lane."""
    name = f"feeder{fan_in}-shadow" if shadow else f"feeder{fan_in}"
    return Design(
        name, "lane_feeder", (f"{_RTL}/lane_feeder.sv",), {"FAN_IN": fan_in, "SHADOW": int(shadow), **_WIDTHS}
    )


def bank_port(banks: int) -> Design:
    """What one lane input takes of the network from `banks` banks."""
    return Design(f"port{banks}", "bank_network", (f"{_RTL}/bank_network.sv",), {"BANKS": banks, "PORTS": 1})


def peripheral_designs() -> dict[str, Design]:
    """What there is one of a column or an array, for an array of ROWS x COLUMNS."""
    return {
        "accumulator": Design("accumulator", "accumulator", (f"{_OWN}/accumulator.sv",), {}),
        "requantizer": Design("requantizer", "requantizer", (f"{_RTL}/requantizer.sv",), {}),
        "controller": Design(
            "controller", "controller", (f"{_RTL}/controller.sv",), {"ROWS": ROWS, "HOPS": COLUMNS - 1}
        ),
        "step_counter": Design("step-counter", "step_counter", (f"{_RTL}/step_counter.sv",), _WIDTHS),
        "adder": Design("adder", "adder", (f"{_OWN}/adder.sv",), {}),
    }
