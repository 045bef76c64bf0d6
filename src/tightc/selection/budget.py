"""The cost budget of a network, written `compression=10` or `energy=5`: the gain over the dense network to reach."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, Self, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from tightc.config.text_coded import text_coded_schema
from tightc.errors import OptionError

Kind = Literal["compression", "speedup", "energy", "bits"]

NOUNS: dict[Kind, str] = {
    "compression": "a compression",
    "speedup": "a speedup",
    "energy": "an energy gain",
    "bits": "a bit compression",
}
_KINDS = "compression|speedup|energy|bits"
_FORM = "compression, speedup, energy or bits=FACTOR with a factor above 1, such as compression=10"


class Budget(NamedTuple):
    """The kind of cost, and the factor by which to reduce it.

    compression: slots of occupied lanes and columns. speedup: cycles. energy: pJ. bits: those of packed weights.
    """

    kind: Kind
    factor: float

    @classmethod
    def parse(cls, text: object) -> Self:
        """From `compression=10`; OptionError for anything else."""
        found = re.fullmatch(rf"({_KINDS})=(\d+(?:\.\d+)?)", str(text).strip())
        if not found or not 1 < float(found[2]) <= 1e6:
            raise OptionError(f"budget: expected {_FORM}, got {text!r}", "give compression=10 or speedup=8")
        return cls(cast(Kind, found[1]), float(found[2]))

    def __str__(self) -> str:
        return f"{self.kind}={self.factor:g}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return text_coded_schema(cls, cls.parse, _FORM, rf"^\s*({_KINDS})=[0-9]+(\.[0-9]+)?\s*$")
