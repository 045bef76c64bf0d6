"""A requirement: a measure, an operator and a limit, such as speedup>=4."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tightc.config.options import invalid_combination
from tightc.requirements.measures import COUNTED_BY_PERMUTE, MEASURES, TITLES

_FORM = re.compile(
    r"\s*(?P<name>\w+)\s*(?P<operator>>=|<=|==|>|<)\s*(?P<limit>[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)\s*",
    re.ASCII | re.IGNORECASE,
)
_BEGINNING = re.compile(r"\s*[\w -]*?\s*(?P<operator>[<>=!~]+|$)", re.ASCII)
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
_MEANT = {"=": "==", "=>": ">=", "=<": "<=", "===": "=="}


class Requirement(NamedTuple):
    """A measure by `name` that has to be `operator` `limit`."""

    name: str
    operator: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """The requirement in `text`; an error of pydantic says what is wrong with it."""
        found = _FORM.fullmatch(text)
        if not found:
            raise invalid_combination(_malformed(text), _remedy(text))
        name, limit = found["name"], float(found["limit"])
        if name not in MEASURES:
            raise invalid_combination(f"expected a measure, got {name!r}", _nearest(name))
        if not math.isfinite(limit):
            raise invalid_combination(
                f"expected a finite limit, got {found['limit']}", "give a smaller number"
            )
        return cls(name, found["operator"], limit)

    @property
    def text(self) -> str:
        """As it is written in a shell."""
        return f"{self.name}{self.operator}{number_text(self.limit)}"

    def holds(self, value: Any) -> bool:
        """Whether `value` is a finite number for which it holds; what is missing, or NaN, never does."""
        return is_number(value) and _OPERATORS[self.operator](value, self.limit)


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number_text(number: float) -> str:
    """A number in as few digits as tell it from all others, without an ending .0."""
    return repr(int(number)) if float(number).is_integer() and abs(number) < 1e15 else repr(number)


def _malformed(text: str) -> str:
    return f"expected NAME>=LIMIT, or with <=, >, < or ==, got {text!r}"


def _remedy(text: str) -> str:
    found = _BEGINNING.match(text)
    meant = _MEANT.get(found["operator"]) if found else None
    if meant:
        return f"did you mean {meant}?"
    if found and found["operator"] in _OPERATORS:
        return "give the limit as a plain number, without a unit, such as 'speedup>=4' or 'accuracy_drop<=1'"
    if found and not found["operator"]:
        return "quote it in a shell, such as 'speedup>=4'"
    return "give such as 'speedup>=4'"


def _nearest(name: str) -> str:
    """What is meant by an unknown `name`."""
    if name in COUNTED_BY_PERMUTE:
        return "permute alone counts what it drops; require density or accuracy_drop"
    plain = name.lower()
    if plain in TITLES:
        return f"did you mean {TITLES[plain]}?"
    nearest = difflib.get_close_matches(plain, [*MEASURES, *TITLES], n=1)
    if nearest:
        return f"did you mean {TITLES.get(nearest[0], nearest[0])}?"
    return f"give one of {', '.join(sorted(MEASURES))}"
