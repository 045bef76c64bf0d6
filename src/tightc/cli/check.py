"""`tightc check`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import (
    Display,
    data_for,
    display_flags,
    end_with,
    model_argument,
    read_model,
    show,
)
from tightc.cli.flags import option_flags, parsed_options, parsed_options_if
from tightc.data.options import DataOptions
from tightc.errors import OutputError, TightcError
from tightc.files import check_writable, write_file_atomically
from tightc.requirements.options import CheckOptions

if TYPE_CHECKING:
    from tightc.report import Report


class CheckCommand(StageCommand):
    """A command whose JUnit file says so too where it cannot run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it; an error goes into the file of --junit, where one is given."""
        with errors_in_junit(_junit_of(args), "tightc"):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does it; so does an error of the check itself."""
        with errors_in_junit(ctx.params["junit"], ctx.params["model"] or "<stdin>"):
            return super().invoke(ctx)


@click.command(
    cls=CheckCommand,
    epilog="Example: tightc check packed.onnx --require 'speedup>=4' --require 'accuracy_drop<=1' "
    "--against model.onnx --data images.npz",
)
@model_argument
@click.option(
    "--require",
    multiple=True,
    required=True,
    metavar="NAME>=LIMIT",
    help="Requirement on a measure, also with <=, >, < or ==; repeatable. Quote it, or the shell redirects.",
)
@click.option(
    "--against", metavar="MODEL", help="Model that accuracy_drop compares with.  [run: its dense model]"
)
@option_flags(DataOptions, optional=True)
@option_flags(CheckOptions, exclude=("require",))
@click.option(
    "--junit", metavar="FILE", help="Also write a JUnit file: a test case for each requirement, or the error."
)
@display_flags
def check(model: str | None, against: str | None, junit: str | None, display: Display, **flags: Any) -> None:
    """Check requirements on a model, and fail where one is not met.

    Names are those of the totals of tightc simulate --json, and accuracy, accuracy_drop, agreement and bytes. All are
    computed afresh. A requirement without a value fails. MODEL may be the folder of a run: its last model is checked
    against its dense one, on its data. Exit code 0: all requirements hold; 1: one does not; 2: wrong usage or input.
    """
    report = _checked(model, against, junit, display, flags)
    with end_with(0 if report.passed else 1):
        _show_failures(report, display)
        show(report, display)


def _checked(
    model: str | None, against: str | None, junit: str | None, display: Display, flags: dict[str, Any]
) -> Report:
    """The report of the check, which the JUnit file holds then."""
    from tightc.recipe.run_folder import read_run
    from tightc.reporting.verdicts import junit_xml
    from tightc.requirements.check import check as run
    from tightc.requirements.check import needs_base, needs_data, needs_labels

    for name, value in (("model", model), ("against", against), ("junit", junit)):
        if value == "":  # an unset variable of a CI job
            flag = "MODEL" if name == "model" else f"--{name}"
            raise click.UsageError(
                f"{flag}: expected a path, got an empty text; give a path or leave it out."
            )
    options = parsed_options(CheckOptions, flags)
    given = parsed_options_if(DataOptions, flags, "data")
    if junit is not None:
        _check_target(Path(junit))
    base = None
    if model is not None and Path(model).is_dir():
        folder = read_run(Path(model))
        folder.require_end()
        checked = folder.last
        if needs_base(options):
            base = folder.dense
        if given is None and needs_data(options):
            given = folder.data
    else:
        checked = read_model(model)
    if against:
        base = read_model(against)
    data = None if given is None else data_for(checked, given, "test", labeled=needs_labels(options))
    with display.progress() as progress:
        report = run(checked, options, against=base, data=data, progress=progress)
    if junit is not None:
        write_file_atomically(Path(junit), junit_xml(report))
    return report


@contextmanager
def errors_in_junit(path: str | None, model: str) -> Iterator[None]:
    """A context whose error goes into the JUnit file at `path`, if one is given, and on: else CI would show nothing."""
    try:
        yield
    except (TightcError, click.ClickException, OSError, MemoryError) as error:
        if path:
            from tightc.reporting.verdicts import junit_error_xml

            said = error.format_message() if isinstance(error, click.ClickException) else str(error)
            content = junit_error_xml(model, said, type(error).__name__)
            with suppress(OSError, OutputError):  # of this file, which may be the error itself
                write_file_atomically(Path(path), content)
        raise


def _junit_of(arguments: list[str]) -> str | None:
    """The value of --junit, as far as arguments that click refuses have one."""
    for one, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if one == "--junit":
            return after
        if one.startswith("--junit="):
            return one.removeprefix("--junit=")
    return None


def _check_target(path: Path) -> None:
    """OutputError before any work where the JUnit file cannot be written."""
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}", "make the folder first")
    check_writable(path)


def _show_failures(report: Report, display: Display) -> None:
    """A line on stderr for each failed requirement: an annotation under GitHub Actions, else where no table says it."""
    from tightc.reporting.verdicts import failures, github_errors

    if os.environ.get("GITHUB_ACTIONS") == "true":
        lines = github_errors(report)
    else:
        lines = failures(report) if display.as_json or display.quiet else iter(())
    for line in lines:
        click.echo(line, err=True)
