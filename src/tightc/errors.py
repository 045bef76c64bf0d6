"""The errors that a user can mend: each carries one sentence and its remedy; only the command line prints them."""

from __future__ import annotations


class TightcError(Exception):
    """What is wrong (`sentence`: which file, key or tensor, the value, what is permitted) and what to do (`remedy`)."""

    exit_code = 2

    def __init__(self, sentence: str, remedy: str) -> None:
        super().__init__(f"{sentence}; {remedy}")
        self.sentence = sentence
        self.remedy = remedy


class ModelError(TightcError):
    """The model cannot be read, or holds something that this stage cannot work with."""


class OptionError(TightcError):
    """An option has a value that is not permitted."""


class ConfigError(TightcError):
    """A YAML file has an unknown key, a wrong value or a wrong order."""


class DataError(TightcError):
    """The images or labels cannot be read, or do not fit the network."""


class OutputError(TightcError):
    """The result cannot be written where it was asked for."""


class InternalError(TightcError):
    """A fault of tightc itself: what it was about to write is not valid."""

    exit_code = 70


class VerifyError(TightcError):
    """Two ways to find the same figure disagree."""

    exit_code = 1


def first_line(fault: BaseException) -> str:
    """What another library says of a fault, without its further lines; the kind of the fault where it says nothing."""
    return next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)
