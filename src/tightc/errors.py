"""Errors that a caller can mend: each has a sentence and a remedy; only the command line prints them."""

from __future__ import annotations

from collections.abc import Sequence

from tightc.names import message_text


class TightcError(Exception):
    """The base of all errors; as text, names from files are escaped and cut.

    Parameters
    ----------
    sentence : str
        What is wrong: the file, key or tensor, what was expected and the value.
    remedy : str
        What to do.
    more : sequence of TightcError
        Further faults of the same file or call; as text, each is a line of its own.
    """

    exit_code = 2

    def __init__(self, sentence: str, remedy: str, more: Sequence[TightcError] = ()) -> None:
        own = f"{message_text(sentence)}; {message_text(remedy)}"
        super().__init__("\n".join([own, *map(str, more)]))
        self.sentence = sentence
        self.remedy = remedy
        self.more = tuple(more)


class ModelError(TightcError):
    """The model cannot be read, or this stage cannot work with it."""


class OptionError(TightcError):
    """An option has a value that is not permitted."""


class ConfigError(TightcError):
    """A YAML file has an unknown key, a wrong value or a wrong order."""


class DataError(TightcError):
    """The images or labels cannot be read, or do not fit the network."""


class StreamError(TightcError):
    """A stream of packed layers is damaged, of another version, or not that of the model."""


class OutputError(TightcError):
    """The result cannot be written to the given path."""


class MemoryLimitError(TightcError):
    """The work needs more memory than this process can get."""


class InternalError(TightcError):
    """An error of tightc itself: its result is not valid."""

    exit_code = 70


class VerifyError(TightcError):
    """Two computations of the same measure disagree."""

    exit_code = 1


class GoalError(TightcError):
    """The result is valid, but misses what was asked of it."""

    exit_code = 1


def first_line(error: BaseException) -> str:
    """The first line of another library's error message; the name of its class where the message is empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
