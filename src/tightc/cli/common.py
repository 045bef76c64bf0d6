"""What the commands share: flags, input and output of models, and the output of results."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tightc.cli.console import table_console
from tightc.cli.standing import Standing
from tightc.cli.streams import abandon, is_stdout, stdout_is_closed
from tightc.errors import ModelError, OptionError, OutputError
from tightc.files import check_writable
from tightc.memory import available_memory, memory_text
from tightc.names import message_text

if TYPE_CHECKING:
    from tightc.data.images import Images, NormalizedImages, Split
    from tightc.data.options import DataOptions
    from tightc.data.samples import Samples
    from tightc.model.file import Model
    from tightc.progress import Progress
    from tightc.report import Report, Result

Command = TypeVar("Command", bound=Callable[..., Any])

_NOT_IN_CSV = {"annealing"}  # curves of hundreds of points
_KEEP_OVERRIDABLE = "tightc.keep_overridable"


@dataclass(frozen=True)
class Display:
    """The output options of a command: `--json`, `--csv`, `-q`, `-v`; and how far it has come, for an interrupt."""

    as_json: bool
    quiet: bool
    verbose: bool
    as_csv: bool = False
    standing: Standing = field(default_factory=Standing)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A progress callback that draws progress on stderr while the context lasts."""
        from tightc.cli.progress import progress_display

        with progress_display(quiet=self.quiet, verbose=self.verbose) as progress:
            yield self.standing.follow(progress)


def model_argument(command: Command) -> Command:
    """MODEL: a path, or - or nothing for a model that is piped in; and `--keep-overridable`, which read_model obeys."""
    with_flag = click.option(
        "--keep-overridable",
        is_flag=True,
        expose_value=False,
        callback=_remember,
        help="Keep initializers that are inputs too as inputs; layers that read one stay dense.",
    )(command)
    return click.argument("model", required=False, metavar="[MODEL]")(with_flag)


def _remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[_KEEP_OVERRIDABLE] = value


def output_flag(command: Command) -> Command:
    """`-o FILE`."""
    return click.option("-o", "--output", metavar="FILE", help="Output model; - or a pipe is stdout.")(
        command
    )


def seed_flag(command: Command) -> Command:
    """`--seed N`."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all randomness."
    )(command)


def display_flags(command: Command) -> Command:
    """`--json`, `--csv`, `-q`, `-v`, given to the command as one `display`.

    An interrupt that the command does not explain itself is explained on stderr.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV.")
    @click.option(
        "-q", "--quiet", is_flag=True, help="Print errors only, and the result with --json or --csv."
    )
    @click.option(
        "-v", "--verbose", is_flag=True, help="Print progress line by line, and all rows, columns and totals."
    )
    def with_display(
        *arguments: Any, as_json: bool, as_csv: bool, quiet: bool, verbose: bool, **flags: Any
    ) -> Any:
        if as_csv and as_json:
            raise OptionError("--csv and --json: expected one of them, got both", "leave one out")
        display = Display(as_json, quiet, verbose, as_csv)
        try:
            return command(*arguments, display=display, **flags)
        except KeyboardInterrupt:
            if not quiet:
                display.standing.explain()
            raise

    with_display.__name__, with_display.__doc__ = command.__name__, command.__doc__
    with_display.__click_params__ = [  # type: ignore[attr-defined]
        *with_display.__click_params__,  # type: ignore[attr-defined]
        *getattr(command, "__click_params__", []),
    ]
    return with_display  # type: ignore[return-value]


def read_model(source: str | None) -> Model:
    """The model at a path, or from stdin for - or nothing; UsageError where nothing is piped in.

    A line on stderr says what reading changed, unless the command is quiet.
    """
    from tightc.model.file import load_model, load_model_bytes
    from tightc.model.reading.normalize import ReadingOptions

    context = click.get_current_context()
    options = ReadingOptions(keep_overridable=context.meta.get(_KEEP_OVERRIDABLE, False))
    if source not in (None, "-"):
        return _announced(load_model(str(source), options))
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("Give the path of a MODEL, or pipe one in.")
    content = sys.stdin.buffer.read()
    if not content:
        raise ModelError(
            "<stdin>: nothing was piped in", "give the path of a MODEL, or mend the command before it"
        )
    return _announced(load_model_bytes(content, options=options))


def read_pair(a: str, b: str) -> tuple[Model, Model]:
    """The models at two paths. One may be - for stdin; UsageError where both are."""
    if a == b == "-":
        raise click.UsageError("A and B: expected one of them from stdin, got both; give the path of one.")
    return read_model(a), read_model(b)


def _announced(model: Model) -> Model:
    from tightc.model.file import needed_memory

    flags = click.get_current_context().params
    if flags.get("quiet", False):
        return model
    if model.normalized:
        click.echo(message_text(f"{model.origin}: {'; '.join(model.normalized)}"), err=True)
    needed, free = needed_memory(model.proto), available_memory()
    if needed and (needed > free or flags.get("verbose", False)):
        sizes = f"up to {memory_text(needed)} of memory are needed, {memory_text(free)} are free"
        click.echo(message_text(f"{model.origin}: {sizes}"), err=True)
    return model


def images_for(model: Model, data: DataOptions, split: Split) -> Images:
    """The labeled images of a split, of the size that `model` takes; all of them where the data has no splits."""
    from tightc.model.layer_view.image_classifier import image_input

    return data.open(split, image_input(model.proto, model.origin).shape)


def data_for(
    model: Model, data: DataOptions, split: Split, *, labeled: bool = False
) -> NormalizedImages | Samples:
    """The images or samples of a split for `model`; all of them where the data has no splits."""
    from tightc.model.layer_view.network_inputs import network_inputs

    return data.open_for(split, network_inputs(model.proto, model.origin), labeled=labeled)


@dataclass(frozen=True)
class Destination:
    """Where the model of a stage goes: a file, or stdout where `path` is None."""

    path: Path | None

    @classmethod
    def of(cls, output: str | None, display: Display) -> Destination:
        """Checked before any work: a file that can be written, no binary on a terminal, one result on stdout."""
        if output not in (None, "-") and not is_stdout(Path(str(output))):
            path = Path(str(output))
            if not path.parent.is_dir():
                raise OutputError(f"{path}: there is no folder {path.parent}", "make the folder first")
            check_writable(path)
            return cls(path)
        if stdout_is_closed():
            raise OutputError("stdout is closed", "add -o FILE, or pipe it to a command")
        if display.as_json:
            raise OptionError("--json: stdout would hold both the model and the JSON object", "add -o FILE")
        if display.as_csv:
            raise OptionError("--csv: stdout would hold both the model and the table", "add -o FILE")
        if output is None and sys.stdout.isatty():
            raise OutputError(
                "a model is binary, stdout is a terminal", "add -o FILE, or pipe it to a command"
            )
        return cls(None)

    def require_other(self, file: str, *read: str | None) -> None:
        """OptionError where the `file` of --stream is also where the model goes, or one of those `read`."""
        if self.path is None:
            is_written = is_stdout(Path(file))
        else:
            is_written = os.path.realpath(self.path) == os.path.realpath(file)
        if is_written or os.path.realpath(file) in [os.path.realpath(path) for path in read if path]:
            role = "the model to write" if is_written else "MODEL"
            raise OptionError(
                f"--stream: expected a file of its own, got that of {role}, {file}", "give another path"
            )

    def write(self, model: Model) -> None:
        """Writes the model atomically."""
        if self.path is None:
            sys.stdout.buffer.writelines(model.chunks())
            sys.stdout.buffer.flush()
        else:
            from tightc.model.file import save_model

            save_model(model, self.path)


def show(report: Report, display: Display, *, model_on_stdout: bool = False) -> None:
    """Prints the report on stdout, as JSON, CSV or a table; on stderr where stdout holds the model.

    Operators that are not covered always go to stderr. CSV has the rows of the table, or the totals where it has none.
    """
    if display.verbose:
        _show_cache_problem()
    if report.uncovered and not display.quiet and report.stage != "inspect":
        from tightc.reporting.uncovered import uncovered_lines

        for line in uncovered_lines(report, whole=display.verbose):
            click.echo(line, err=True)
    if display.as_json:
        click.echo(json.dumps(report.to_dict(), indent=1))
    elif display.as_csv:
        from tightc.reporting.rows import rows_as_csv

        rows = report.layers or (report.totals,)
        kept = ({key: value for key, value in row.items() if key not in _NOT_IN_CSV} for row in rows)
        click.echo(rows_as_csv(kept), nl=False)
    elif not display.quiet:
        from tightc.reporting.printing import print_report
        from tightc.reporting.text import note_lines, summary

        if model_on_stdout and not display.verbose:
            click.echo("\n".join([summary(report), *note_lines(report)]), err=True)
        else:
            stream = sys.stderr if model_on_stdout else sys.stdout
            print_report(report, table_console(stream), whole=display.verbose)


def _show_cache_problem() -> None:
    """Says where compiled kernels could not be kept; the module is loaded only where the command has used kernels."""
    kernel_cache = sys.modules.get("tightc.kernel_cache")
    problem = kernel_cache and kernel_cache.cache_problem()
    if problem:
        click.echo(f"note: {problem}", err=True)


def finish(result: Result, destination: Destination, display: Display) -> None:
    """Writes the model of a stage and shows its report."""
    model, report = result
    destination.write(model)
    show(report, display, model_on_stdout=destination.path is None)


@contextmanager
def end_with(code: int) -> Iterator[None]:
    """A context in which a command prints its verdict, and then ends with exit code `code`.

    A reader that closes the pipe early ends other commands with 0, and would hide a verdict.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        abandon(sys.stdout)
    click.get_current_context().exit(code)
