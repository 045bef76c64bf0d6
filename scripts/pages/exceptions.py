"""What pages.toml says about single blocks: not run, run with less, other exit codes, numbers of a training."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

FILE = Path(__file__).with_name("pages.toml")


@dataclass(frozen=True)
class NotRun:
    """A block that is not run, found by a text in it."""

    text: str
    reason: str


@dataclass(frozen=True)
class RunWith:
    """A text of a command that the run replaces by another, such as fewer epochs."""

    text: str
    instead: str
    reason: str


@dataclass(frozen=True)
class PageRules:
    """How a page is run.

    `prepare` are commands before those of the page, and `small` takes a small network of photos as `model.onnx`.
    `needs` names a program and a text of the blocks that need it, and `ends` the exit codes other than 0 by a text of
    the command. `trained` are texts of blocks whose numbers come from a training, and so depend on the processor.
    """

    prepare: str = ""
    small: bool = False
    not_run: tuple[NotRun, ...] = ()
    run_with: tuple[RunWith, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    trained: tuple[str, ...] = ()

    def reason_not_to_run(self, block: str) -> str | None:
        """Why the block is not run; None where it is."""
        return next((rule.reason for rule in self.not_run if rule.text in block), None)

    def exit_code(self, command: str) -> int:
        """With which code the command is to end."""
        return next((code for text, code in self.ends.items() if text in command), 0)

    def is_trained(self, block: str) -> bool:
        """Whether numbers of the block come from a training."""
        return any(text in block for text in self.trained)

    def as_run(self, command: str) -> str:
        """The command with the replaced texts."""
        for rule in self.run_with:
            command = command.replace(rule.text, rule.instead)
        return command

    def texts(self) -> list[str]:
        """All texts by which blocks and commands are found."""
        rules = [rule.text for rule in self.not_run] + [rule.text for rule in self.run_with]
        return [*rules, *self.needs, *self.ends, *self.trained]


def read_rules(file: Path = FILE) -> dict[str, PageRules]:
    """The rules of each page that has some."""
    return TypeAdapter(dict[str, PageRules]).validate_python(tomllib.loads(file.read_text(encoding="utf-8")))
