"""The size of a systolic array, written `32x32`."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from tightc.config.text_coded import text_coded_schema
from tightc.errors import OptionError

LARGEST = 4096
_SIDE = r"0{0,5}([1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-6])"  # from 1 to LARGEST
_FORM = f"two integers from 1 to {LARGEST} joined by x"


class ArrayShape(NamedTuple):
    """Numbers of processing elements: `rows` carry inputs, `columns` add up filters."""

    rows: int
    columns: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """From `32x32`; OptionError for anything else."""
        found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", str(text).strip().lower())
        if not found or not all(1 <= int(side) <= LARGEST for side in found.groups()):
            raise OptionError(
                f"expected an array as ROWSxCOLUMNS, such as 32x32, got {text!r}", f"give {_FORM}, rows first"
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    def pass_cycles(self, steps: int) -> int:
        """Cycles of a weight-stationary pass: rows to load, `steps` to stream, rows + columns - 2 to empty."""
        return 2 * self.rows + self.columns - 2 + steps

    def of_words(self, subwords: int) -> Self:
        """The array with as many multipliers for whole words, each of so many subwords."""
        return self._replace(columns=max(1, self.columns // subwords))

    def replicas(self, lanes: int, columns: int) -> int:
        """How many tiles of that size fit on the diagonal."""
        return min(self.rows // lanes, self.columns // columns)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return text_coded_schema(cls, cls.parse, _FORM, rf"^\s*{_SIDE}[xX]{_SIDE}\s*$")
