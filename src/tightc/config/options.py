"""The base of every stage's options: frozen, strict, and with errors that name the key and what is permitted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from tightc.errors import OptionError


class Options(BaseModel):
    """Options of one stage: one field per option, its description the help text of the flag of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    groups: ClassVar[
        Mapping[str, tuple[str, ...]]
    ] = {}  # heading in the help -> options under it, in that order
    advanced: ClassVar[frozenset[str]] = frozenset()  # options that only `--help-all` shows

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Options from flags; OptionError names the first flag that is wrong and what it permits."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as invalid:
            fault = first_problem(invalid)
            location = (*fault["loc"], *fault.get("ctx", {}).get("at", ()))
            flag = "--" + "-".join(str(part).replace("_", "-") for part in location[:1])
            sentence, remedy = problem_message(cls, fault)
            raise OptionError(f"{flag}: {sentence}", remedy) from None


def invalid_combination(sentence: str, remedy: str, *at: int | str) -> PydanticCustomError:
    """What a validator raises for a rule between several keys; `at` leads from the validated value to the culprit."""
    return PydanticCustomError("rule", "{sentence}", {"sentence": sentence, "remedy": remedy, "at": at})


def first_problem(invalid: ValidationError) -> ErrorDetails:
    """The fault to speak of: a key that is not permitted explains another that is missing."""
    faults = invalid.errors()
    return next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])


def problem_message(options: type[BaseModel], fault: ErrorDetails) -> tuple[str, str]:
    """A pydantic fault as (what is wrong, what to do), in terms of the option's own description."""
    key = str(fault["loc"][-1]) if fault["loc"] else ""
    if fault["type"] == "rule":
        return fault["ctx"]["sentence"], fault["ctx"]["remedy"]
    if fault["type"] == "extra_forbidden":
        return _unknown(key, _keys_beside(options, fault["loc"]))
    meaning = _description(options, fault["loc"])
    if fault["type"] == "missing":
        return "missing", f"needed: {meaning}"
    wanted = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    wanted = re.sub(r" or instance of \w+", "", wanted)
    wanted = wanted.replace("valid tuple", "list").replace("valid dictionary", "mapping of keys")
    return (
        f"{fault['input']!r} is not permitted: it {wanted}",
        f"permitted: {meaning}" if meaning else f"change {key}",
    )


def _unknown(key: str, permitted: list[str]) -> tuple[str, str]:
    nearest = difflib.get_close_matches(key, permitted, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]}?" if nearest else "remove it"
    return f"not a key here (permitted: {', '.join(permitted)})", hint


def _keys_beside(options: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    return sorted(_at(options, location[:-1]).model_fields)


def _description(options: type[BaseModel], location: tuple[int | str, ...]) -> str:
    for length in range(len(location), 0, -1):
        field = _at(options, location[: length - 1]).model_fields.get(str(location[length - 1]))
        if field is not None:
            return (field.description or "").partition("; default")[0]
    return ""


def _at(options: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The options class that the keys in `location` lead to, as far as they lead to one."""
    for part in location:
        field = options.model_fields.get(str(part))
        options = (inner_options(field.annotation) if field else None) or options
    return options


def inner_options(annotation: Any) -> type[Options] | None:
    """The options class in a field's type, also inside `X | None` and `tuple[X, ...]`; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return annotation
    return next(filter(None, map(inner_options, get_args(annotation))), None)
