"""What the commands share: flags, input and output of models, and the output of results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tightc.cli.streams import abandon, is_stdout, stdout_is_closed
from tightc.errors import ModelError, OptionError, OutputError
from tightc.files import check_writable
from tightc.memory import available_memory, memory_text
from tightc.names import message_text

if TYPE_CHECKING:
    from rich.console import Console

    from tightc.data.images import Images, NormalizedImages, Split
    from tightc.data.options import DataOptions
    from tightc.data.samples import Samples
    from tightc.model.file import Model
    from tightc.progress import Progress
    from tightc.report import Report, Result

Command = TypeVar("Command", bound=Callable[..., Any])

_KEEP_OVERRIDABLE = "tightc.keep_overridable"
_PIPE_WIDTH = 1000  # tables are not folded where nobody sees their width


@dataclass(frozen=True)
class Display:
    """The output options of a command: `--json`, `-q`, `-v`."""

    as_json: bool
    quiet: bool
    verbose: bool

    def progress(self) -> AbstractContextManager[Progress]:
        """A progress callback that draws progress on stderr while the context lasts."""
        from tightc.cli.progress import progress_display

        return progress_display(quiet=self.quiet, verbose=self.verbose)


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
    """`--json`, `-q`, `-v`, given to the command as one `display`."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
    @click.option("-q", "--quiet", is_flag=True, help="Print errors only, and the JSON object with --json.")
    @click.option("-v", "--verbose", is_flag=True, help="Print progress line by line, and every layer.")
    def with_display(*arguments: Any, as_json: bool, quiet: bool, verbose: bool, **flags: Any) -> Any:
        return command(*arguments, display=Display(as_json, quiet, verbose), **flags)

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
        if output is None and sys.stdout.isatty():
            raise OutputError(
                "a model is binary, stdout is a terminal", "add -o FILE, or pipe it to a command"
            )
        return cls(None)

    def write(self, model: Model) -> None:
        """Writes the model atomically."""
        if self.path is None:
            sys.stdout.buffer.writelines(model.chunks())
            sys.stdout.buffer.flush()
        else:
            from tightc.model.file import save_model

            save_model(model, self.path)


def show(report: Report, display: Display, *, model_on_stdout: bool = False) -> None:
    """Prints the report on stdout, as JSON or as a table; on stderr where stdout holds the model.

    Operators that are not covered always go to stderr.
    """
    if display.verbose:
        _show_cache_problem()
    if report.uncovered and not display.quiet and report.stage != "inspect":
        from tightc.reporting.uncovered import uncovered_lines

        for line in uncovered_lines(report, whole=display.verbose):
            click.echo(line, err=True)
    if display.as_json:
        click.echo(json.dumps(report.to_dict(), indent=1))
    elif not display.quiet:
        from tightc.reporting.text import note_lines, print_report, summary

        if model_on_stdout and not display.verbose:
            click.echo("\n".join([summary(report), *note_lines(report)]), err=True)
        else:
            print_report(report, _console(to_stderr=model_on_stdout))


def _show_cache_problem() -> None:
    """Says where compiled kernels could not be kept; the module is loaded only where the command has used kernels."""
    kernel_cache = sys.modules.get("tightc.kernel_cache")
    problem = kernel_cache and kernel_cache.cache_problem()
    if problem:
        click.echo(f"note: {problem}", err=True)


def _console(*, to_stderr: bool) -> Console:
    from tightc.cli.console import TableConsole

    stream = sys.stderr if to_stderr else sys.stdout
    return TableConsole(file=stream, width=None if stream.isatty() else _PIPE_WIDTH)


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
