"""Physical quantities with units: 64 KiB, 3.2 GB/s, 10 pJ/64bit. A number without a unit is an error.

Each has a range, far wider than anything that is built: an energy of 1e-9 pJ is below what erasing a bit takes at room
temperature (Landauer, 2.9e-9 pJ), an area of 1e-6 um2 holds a few atoms, and a clock of 1 THz is beyond any processor.
With values in these ranges, no sum or ratio of the cost model leaves the range of float64.
"""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_FORM = re.compile(
    r"([-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]?\d{1,4})?)\s*([^\s\d.+-].*)?", re.ASCII
)
_BITS = re.compile(r"[kKMGT]?i?b(?!y)")  # Gb is no GB
_LARGEST = sys.float_info.max
_KIBI = 1024


@dataclass(frozen=True, eq=False)
class Quantity:
    """One kind of physical quantity; `units` holds the size of each unit in the unit that the number is stored in.

    `least`, `most`: texts of the ends of its range, both permitted. `zero`: whether 0 is permitted beside the range.
    """

    units: Mapping[str, Fraction]
    example: str
    least: str
    most: str
    zero: bool = False
    whole: bool = False

    @property
    def range(self) -> str:
        """The range in words, for descriptions and errors."""
        return f"{'0 or ' if self.zero else ''}from {self.least} to {self.most}"

    def read(self, value: object) -> float:
        """The number that `value` stands for, an int where `whole`; ValueError says what is expected."""
        is_text_or_number = isinstance(value, str | int | float) and not isinstance(value, bool)
        found = _FORM.fullmatch(str(value).strip()) if is_text_or_number else None
        if not found:
            raise ValueError(f"should be a number with its unit, such as {self.example}")
        if found[2] is None:
            raise ValueError(
                f"should be a number with its unit ({self._permitted()}), such as {self.example}"
            )
        if found[2] not in self.units:
            example = self._nearest(found[1], found[2]) or self.example
            raise ValueError(f"should be a number in {self._permitted()}, such as {example}")
        number = self._number(Fraction(found[1]) * self.units[found[2]])
        if not (self.zero and number == 0) and not self._end(self.least) <= number <= self._end(self.most):
            allowed = f"a value from {self.least} to {self.most}"
            raise ValueError(f"should be {'0 or ' if self.zero else ''}{allowed}")
        if self.whole and not isinstance(number, int):
            raise ValueError("should be an integer number of bytes")
        return number

    def write(self, value: float) -> str:
        """The shortest text that `read` turns into exactly `value`."""
        texts: list[str] = []
        for unit, scale in self.units.items():
            amount = Fraction(value) / scale
            if amount > _LARGEST:
                continue
            numbers = [repr(float(amount)).removesuffix(".0")]
            if amount.denominator == 1:
                numbers.append(str(amount.numerator))
            texts += [f"{n} {unit}" for n in numbers if self._number(Fraction(n) * scale) == value]
        return min(texts, key=len)

    def _end(self, text: str) -> float:
        number, unit = text.split(" ")
        return self._number(Fraction(number) * self.units[unit])

    def _permitted(self) -> str:
        *others, last = self.units
        return f"{', '.join(others)} or {last}" if others else last

    def _nearest(self, number: str, unit: str) -> str:
        """`number` in the units that `unit` may stand for, such as KiB or kB for KB; empty where there is none."""
        if _BITS.match(unit):
            return ""
        plain = _plain(unit)
        meant = [one for one in self.units if _plain(one) == plain]
        meant = meant or difflib.get_close_matches(unit, self.units, n=1)
        return " or ".join(f"{number} {one}" for one in meant)

    def _number(self, exact: Fraction) -> float:
        if abs(exact) > _LARGEST:
            return math.inf if exact > 0 else -math.inf
        return int(exact) if self.whole and exact.denominator == 1 else float(exact)

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.write, return_schema=core_schema.str_schema()
            ),
            json_schema_input_schema=core_schema.str_schema(pattern=self._pattern()),
        )

    def _pattern(self) -> str:
        """What editors can check of the text: a number, not 0 unless that is permitted, and a unit."""
        above_zero = "" if self.zero else r"(?=[0-9.]*[1-9])"
        sign = r"[-+]?" if self.zero else r"\+?"  # -0 is 0
        number = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
        return rf"^\s*{sign}{above_zero}{number}\s*({'|'.join(self.units)})\s*$"


def _plain(unit: str) -> str:
    """A unit without what is often written otherwise: capitals, the i of KiB, the Greek letter of um."""
    return unit.lower().replace("ib", "b").replace("\u00b5", "u").replace("\u03bc", "u")


def _units(**powers: int) -> dict[str, Fraction]:
    """Units by their power of ten."""
    return {unit: Fraction(10) ** power for unit, power in powers.items()}


SIZE = Quantity(
    {
        "B": Fraction(1),
        "KiB": Fraction(_KIBI),
        "MiB": Fraction(_KIBI**2),
        "GiB": Fraction(_KIBI**3),
        "kB": Fraction(10**3),
        "MB": Fraction(10**6),
    },
    "64 KiB",
    "1 B",
    "1024 GiB",
    whole=True,
)
_PER_SECOND = {f"{unit}/s": scale for unit, scale in SIZE.units.items()} | {"GB/s": Fraction(10**9)}
_PER_BYTE = {
    "pJ/byte": Fraction(1),
    "pJ/bit": Fraction(8),
    "pJ/64bit": Fraction(1, 8),
    "nJ/64bit": Fraction(1000, 8),
}
PICOJOULE = Quantity(_units(pJ=0, fJ=-3, nJ=3), "0.2 pJ", "1e-9 pJ", "1e9 pJ", zero=True)
PICOJOULE_PER_BYTE = Quantity(_PER_BYTE, "10 pJ/64bit", "1e-9 pJ/byte", "1e9 pJ/byte", zero=True)
WORDS_PER_CYCLE = Quantity(
    {"words/cycle": Fraction(1)}, "32 words/cycle", "0.001 words/cycle", "1e9 words/cycle"
)
OPERATIONS_PER_CYCLE = Quantity(
    {"operations/cycle": Fraction(1)}, "32 operations/cycle", "0.001 operations/cycle", "1e9 operations/cycle"
)
BYTES_PER_SECOND = Quantity(_PER_SECOND, "3.2 GB/s", "1 B/s", "1e9 GB/s")
FREQUENCY = Quantity(_units(Hz=0, kHz=3, MHz=6, GHz=9), "400 MHz", "1 Hz", "1000 GHz")
NANOMETRE = Quantity(_units(nm=0), "45 nm", "0.1 nm", "1e6 nm")
VOLT = Quantity(_units(V=0, mV=-3), "0.9 V", "1 mV", "1000 V")
SQUARE_MICROMETRE = Quantity(_units(um2=0, mm2=6), "1105 um2", "1e-6 um2", "1e6 mm2")
NANOSECOND = Quantity(_units(ns=0, ps=-3), "1.7 ns", "0.001 ps", "1e9 ns")

Size = Annotated[int, SIZE]
WordsPerCycle = Annotated[float, WORDS_PER_CYCLE]
OperationsPerCycle = Annotated[float, OPERATIONS_PER_CYCLE]
BytesPerSecond = Annotated[float, BYTES_PER_SECOND]
Frequency = Annotated[float, FREQUENCY]
Picojoule = Annotated[float, PICOJOULE]
PicojoulePerByte = Annotated[float, PICOJOULE_PER_BYTE]
Nanometre = Annotated[float, NANOMETRE]
Volt = Annotated[float, VOLT]
SquareMicrometre = Annotated[float, SQUARE_MICROMETRE]
Nanosecond = Annotated[float, NANOSECOND]
