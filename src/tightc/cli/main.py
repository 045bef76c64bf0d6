"""`tightc`: finds the command, runs it, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import difflib
import errno
import importlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tightc.cli.signals import INTERRUPTED, odd_errors_as_interrupts, report_interrupt, with_ending_signals
from tightc.cli.streams import abandon, prepare_streams
from tightc.errors import TightcError, first_line
from tightc.names import message_text

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem as Item

_FAILED_INPUT, _FAULT = 2, 70
_COMPLETION = "_TIGHTC_COMPLETE"  # set by the script that `tightc completion` prints
_DEBUG = "TIGHTC_DEBUG"  # set to 1, errors come with their traceback

# one line each, so that `tightc --help` need not import the commands
COMMANDS = {
    "inspect": "Show the layers of a model and what is not covered.",
    "prune": "Set the least important weights to zero.",
    "finetune": "Train the remaining weights, or prune while training.",
    "quantize": "Quantize weights to int8, and activations with images.",
    "permute": "Pack the nonzero weights into few, full tiles.",
    "pack": "Write the compact form that runs in stock onnxruntime.",
    "unpack": "Restore the plain model from a packed one.",
    "simulate": "Count cycles and energy on a systolic array.",
    "rtl": "Write the array as SystemVerilog, the network in its memories.",
    "compare": "Compare methods of packing on the same hardware.",
    "explore": "Find the Pareto front of arrays, fan-ins, sparsities and methods.",
    "report": "Write one HTML page on a run or on models.",
    "evaluate": "Measure accuracy, or another metric, with onnxruntime.",
    "check": "Check requirements on a model, and fail where one is not met.",
    "diff": "Show what differs between two models, layer by layer.",
    "verify": "Verify that two models have the same weights and outputs.",
    "run": "Run a recipe: a list of stages with options.",
    "hardware": "List the hardware files that come with tightc, or show one.",
    "schema": "Print the JSON Schema of a kind of YAML file, for editors.",
    "completion": "Print the script that completes commands in a shell.",
}


class _PipeClosedError(Exception):
    """The reader of stdout has closed the pipe. Click would turn a BrokenPipeError into exit code 1."""


@contextmanager
def _closed_pipe_left_alone() -> Iterator[None]:
    """Raises _PipeClosedError in place of BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise _PipeClosedError from None


class Commands(click.Group):
    """A group that imports a command when it is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does it, which prints --help and --version here."""
        with _closed_pipe_left_alone():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """As click does it, with a closed pipe as an exception that click leaves alone."""
        with _closed_pipe_left_alone():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the chain."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, from its own file."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"tightc.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest command in the error."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as fault:
            nearest = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {nearest[0]}?" if nearest else f"Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command '{args[0]}'. {hint}", ctx) from fault

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Item[Any]]:
        """The commands and flags that begin so, without importing any command."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: tightc prune model.onnx --sparsity 0.9 | tightc permute | tightc pack -o packed.onnx",
)
@click.version_option(package_name="tightc", prog_name="tightc")
def tightc() -> None:
    """Compress pruned neural networks for systolic arrays.

    Every stage reads an ONNX model from a file or a pipe, and writes one to -o FILE or a pipe.
    """


def main() -> None:
    """Entry point.

    Exit codes: 0 done, 1 a check failed, 2 bad usage, configuration or input, 70 a fault of tightc; 130, 143 and 129
    ended by SIGINT, SIGTERM and SIGHUP.
    """
    prepare_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names in letters that the terminal lacks are no failure
            stream.reconfigure(errors="backslashreplace")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # of other libraries, about what tightc reports itself
    code = with_ending_signals(lambda: run(sys.argv[1:]))
    if code in INTERRUPTED:
        # not by sys.exit: that waits for the threads at work, and python -m ends itself by SIGINT where the
        # interrupt came through exec()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _remedy(fault: OSError) -> str:
    return "give a shorter name" if fault.errno == errno.ENAMETOOLONG else "check disk and permissions"


def run(arguments: list[str]) -> int:
    """Runs one command line and gives its exit code."""
    if _COMPLETION in os.environ:
        from tightc.cli.completion import complete

        return complete(tightc)
    try:
        with odd_errors_as_interrupts():
            code = tightc.main(arguments, prog_name="tightc", standalone_mode=False)
            sys.stdout.flush()
    except TightcError as fault:
        _print_error(fault, str(fault))
        return fault.exit_code
    except click.ClickException as fault:
        fault.show()
        return _FAILED_INPUT
    except click.exceptions.Exit as done:
        return int(done.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return report_interrupt()
    except (BrokenPipeError, _PipeClosedError):
        abandon(sys.stdout)  # the reader of the pipe has closed it: what was asked for was done
        return 0
    except OSError as fault:
        abandon(sys.stdout)
        _print_error(
            fault, f"{fault.filename or 'stdout'}: {fault.strerror or first_line(fault)}; {_remedy(fault)}"
        )
        return _FAILED_INPUT
    except MemoryError as fault:
        _print_error(
            fault, f"not enough memory ({_needed(fault)}); use a smaller model or batch, or a larger machine"
        )
        return _FAILED_INPUT
    except Exception as fault:  # noqa: BLE001 - whatever it is, it ends in a sentence
        _print_error(fault, _fault_text(fault))
        return _FAULT
    return code if isinstance(code, int) else 0  # click gives that of Context.exit


def _print_error(fault: BaseException, sentence: str) -> None:
    """Prints `sentence` on stderr, after the traceback of `fault` where TIGHTC_DEBUG asks for it."""
    if os.environ.get(_DEBUG, "0") not in ("", "0"):
        click.echo("".join(traceback.format_exception(fault)), err=True, nl=False)
    # of a TightcError, whose text is escaped already, each line is a fault of its own
    for line in sentence.split("\n") if isinstance(fault, TightcError) else [sentence]:
        click.echo(f"tightc: error: {message_text(line)}", err=True)


def _needed(fault: MemoryError) -> str:
    """What could not be allocated, as far as numpy says it, and where tightc asked for it."""
    what = first_line(fault)
    return f"in {_place(fault)}" if what == "MemoryError" else f"{what}, in {_place(fault)}"


def _fault_text(fault: Exception) -> str:
    """The sentence on a fault of tightc: its kind and place, and what a report needs."""
    what = type(fault).__name__
    line = first_line(fault)
    reason = what if line == what else f"{what}: {line}"
    return (
        f"a fault of tightc, in {_place(fault)} ({reason}); please report it with the command, "
        f"its input, and the output with {_DEBUG}=1"
    )


def _place(fault: BaseException) -> str:
    """File and line in tightc where `fault` was raised; the last of all where none is tightc's own."""
    package = Path(__file__).parents[1]
    frames = traceback.extract_tb(fault.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(package)]
    frame = (own or frames)[-1]
    path = Path(frame.filename)
    name = path.relative_to(package.parent) if own else path.name
    return f"{name}:{frame.lineno}"
