"""The base of all options: frozen, strict, with errors that name the key, what is expected and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from tightc.config.renamed import REMOVED, in_python, new_name, new_value, renaming
from tightc.config.shipped import shipped_names
from tightc.errors import OptionError

_LONGEST_VALUE = 80
_LARGEST_INTEGER = 2**63 - 1
_EXPECTED = {
    "greater_than_equal": "a number of at least {ge}",
    "greater_than": "a number above {gt}",
    "less_than_equal": "a number of at most {le}",
    "less_than": "a number below {lt}",
    "finite_number": "a finite number",
    "string_too_short": "a non-empty string",
    "too_short": "a non-empty list",
    "string_type": "a string",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "tuple_type": "a list",
    "model_type": "a mapping of keys",
}


class Options(BaseModel):
    """Options of one stage: a field for each, its description the help text of the flag of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # heading in the help -> options under it, in that order
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # options that only `--help-all` shows
    advanced: ClassVar[frozenset[str]] = frozenset()
    # key that is no longer permitted -> what to do instead
    removed: ClassVar[Mapping[str, str]] = {}
    # folder of configs with the files that are taken by name
    shipped: ClassVar[str] = ""

    def __init__(self, **values: Any) -> None:
        from tightc.config.python_values import from_python

        try:
            super().__init__(**from_python(type(self), values))
        except ValidationError as invalid:
            first, *more = (
                OptionError(in_python(f"{'.'.join(map(str, key))}: {sentence}"), in_python(remedy))
                for key, sentence, remedy in faults_of(type(self), invalid)
            )
            raise OptionError(first.sentence, first.remedy, more) from None

    @field_validator("*")
    @classmethod
    def _fits_into_64_bits(cls, value: Any) -> Any:
        """Integers that kernels and other libraries can take."""
        if type(value) is int and abs(value) > _LARGEST_INTEGER:
            raise ValueError(f"should be an integer of at most {_LARGEST_INTEGER}")
        return value

    # options within options are still built by pydantic, so that their errors have a location
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Options from flags; OptionError names the flags that are wrong and what is expected."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as invalid:
            first, *more = (
                OptionError(f"--{str(key[0] if key else '').replace('_', '-')}: {sentence}", remedy)
                for key, sentence, remedy in faults_of(cls, invalid)
            )
            raise OptionError(first.sentence, first.remedy, more) from None


class Fault(NamedTuple):
    """What is wrong at `location`, the keys that lead to the culprit, and what to do."""

    location: tuple[int | str, ...]
    sentence: str
    remedy: str


def invalid_combination(sentence: str, remedy: str, *at: int | str) -> PydanticCustomError:
    """What a validator raises for a rule between several keys; `at` leads from the validated value to the culprit."""
    return PydanticCustomError("rule", "{sentence}", {"sentence": sentence, "remedy": remedy, "at": at})


def raise_broken(rules: Iterable[PydanticCustomError]) -> None:
    """Raises all of the broken `rules`, made by `invalid_combination`, as one error; nothing where there are none."""
    contexts = [rule.context or {} for rule in rules]
    if contexts:
        raise PydanticCustomError("rule", "{sentence}", {**contexts[0], "more": contexts[1:]})


def faults_of(options: type[BaseModel], invalid: ValidationError) -> list[Fault]:
    """All faults of the values for `options`, each as "expected X, got Y" and a remedy.

    A missing key is left out where a key that is not permitted is its misspelling, and so is a list with too few valid
    items where the fault of an item is told.
    """
    problems = invalid.errors()
    lists = {problem["loc"][:end] for problem in problems for end in range(len(problem["loc"]))}
    meant = {
        (*problem["loc"][:-1], _meant(str(problem["loc"][-1]), _options_at(options, problem["loc"][:-1])))
        for problem in problems
        if problem["type"] == "extra_forbidden"
    }
    found: dict[tuple[int | str, ...], Fault] = {}
    for problem in problems:
        if problem["loc"] in (meant if problem["type"] == "missing" else lists):
            continue
        for fault in _faults(options, problem):
            found.setdefault(fault.location, fault)
    return list(found.values())


def _faults(options: type[BaseModel], problem: ErrorDetails) -> list[Fault]:
    if problem["type"] != "rule":
        return [Fault(problem["loc"], *_message(options, problem))]
    broken = [problem["ctx"], *problem["ctx"].get("more", ())]
    return [Fault((*problem["loc"], *rule["at"]), rule["sentence"], rule["remedy"]) for rule in broken]


def _message(options: type[BaseModel], problem: ErrorDetails) -> tuple[str, str]:
    """A pydantic problem as (sentence, remedy): "expected X, got Y", where X is the option's description.

    The description of a switch may be an imperative, such as "load the weights early": X is "true or false" there.
    """
    location = problem["loc"]
    key = str(location[-1]) if location else ""
    if problem["type"] == "extra_forbidden":
        return _unknown(key, _options_at(options, location[:-1]))
    meaning = _description(options, location)
    if problem["type"] == "missing":
        return f"expected {meaning}, got nothing", "add it"
    if problem["type"] == "literal_error":
        return _not_a_choice(location, problem["input"], problem["ctx"]["expected"])
    inner = _options_at(options, location)
    if problem["type"] == "model_type" and isinstance(problem["input"], str) and _shipped(inner):
        return unknown_name(problem["input"], inner)
    wanted = _wanted(problem)
    if problem["type"] in ("bool_type", "bool_parsing"):
        meaning = wanted
    return f"expected {meaning or wanted}, got {_shown(problem['input'])}", f"give {wanted}"


def _wanted(problem: ErrorDetails) -> str:
    """What pydantic or a validator asks for, as a noun: validators say "should be ..."."""
    if problem["type"] in _EXPECTED:
        limits = problem.get("ctx", {})
        return _EXPECTED[problem["type"]].format_map(
            {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in limits.items()}
        )
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("should be ")
    return message.replace("valid tuple", "list").replace("valid dictionary", "mapping of keys")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _unknown(key: str, options: type[BaseModel]) -> tuple[str, str]:
    if issubclass(options, Options) and key in options.removed:
        return REMOVED, options.removed[key]
    permitted = sorted(options.model_fields)
    new = new_name(key, permitted)
    if new is not None:
        return renaming(new)
    nearest = _meant(key, options)
    hint = f"did you mean {nearest}?" if nearest else "remove it"
    return f"expected one of {', '.join(permitted)}, got {key}", hint


def _meant(key: str, options: type[BaseModel]) -> str:
    """The key that the unknown `key` stands for; empty where there is none."""
    permitted = sorted(options.model_fields)
    nearest = difflib.get_close_matches(key, permitted, n=1, cutoff=0.4)
    longer = [name for name in permitted if name.startswith(f"{key}_")]
    return new_name(key, permitted) or next(iter(nearest or (longer if len(longer) == 1 else ())), "")


def _shipped(options: type[BaseModel]) -> tuple[str, ...]:
    return shipped_names(options.shipped) if issubclass(options, Options) else ()


def unknown_name(name: str, options: type[BaseModel]) -> tuple[str, str]:
    """(sentence, remedy) for text that is neither the name nor the path of a file of `options`."""
    names = _shipped(options)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]}?" if nearest else "give one of them, or a path with a / or .yaml"
    return f"expected {', '.join(names)} or the path of a YAML file, got {_shown(name)}", hint


def _not_a_choice(location: tuple[int | str, ...], value: object, expected: str) -> tuple[str, str]:
    choices = re.findall("'([^']+)'", expected)
    name = next((part for part in reversed(location) if isinstance(part, str)), "")
    new = new_value(name, value, choices)
    if new is not None:
        sentence, remedy = renaming(new)
        return f"{value} is {sentence}", remedy
    nearest = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "give one of them"
    return f"expected {expected}, got {_shown(value)}", hint


def _description(options: type[BaseModel], location: tuple[int | str, ...]) -> str:
    for length in range(len(location), 0, -1):
        field = _options_at(options, location[: length - 1]).model_fields.get(str(location[length - 1]))
        if field is not None:
            return (field.description or "").partition(";")[0]
    return ""


def _options_at(options: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The options class that the keys in `location` lead to, or the last one on the way."""
    for part in location:
        field = options.model_fields.get(str(part))
        options = (inner_options(field.annotation) if field else None) or options
    return options


def inner_options(annotation: Any) -> type[Options] | None:
    """The options class in a field's type, also inside `X | None` and `tuple[X, ...]`; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return annotation
    return next(filter(None, map(inner_options, get_args(annotation))), None)
