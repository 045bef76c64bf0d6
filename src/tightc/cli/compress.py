"""`tightc compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, seed_flag, show
from tightc.cli.flags import option_flags, parsed_options
from tightc.cli.signals import odd_errors_as_interrupts
from tightc.compression.options import CompressOptions
from tightc.names import message_text


@click.command(
    cls=StageCommand,
    epilog="Example: tightc compress model.onnx --data images/ --max-drop 1 --array 32x32 --goal energy",
)
@click.argument("model", metavar="MODEL")
@option_flags(CompressOptions)
@click.option(
    "-o", "--output", metavar="FOLDER", help="Folder for all results.  [default: tightc-compress/NAME]"
)
@seed_flag
@display_flags
def compress(model: str, output: str | None, seed: int, display: Display, **flags: Any) -> None:
    """Compress a model as far as a drop of accuracy permits.

    It is the whole chain towards a goal. Short trainings find the sparsity, or for energy the gain, and full ones
    follow. Held-out images choose; the test set is read once, at the end. The folder then holds the packed model and
    the recipe that repeats it. Rerun the command to resume. Exit code 1 where the drop was not kept. Needs torch: pip
    install 'tightc[finetune]'.
    """
    from tightc.compression.compress import compress as run
    from tightc.compression.outcome import check_goal

    options = parsed_options(CompressOptions, flags)
    folder = Path(output) if output else Path("tightc-compress") / Path(model).stem
    try:
        with odd_errors_as_interrupts(), display.progress() as progress:
            report = run(Path(model), folder, options, seed=seed, progress=progress)
    except KeyboardInterrupt:
        if (folder / "trials").is_dir() and not display.quiet:
            text = f"{folder / 'trials'} holds the trials so far; the same command goes on from there"
            click.echo(message_text(text), err=True)
        raise
    show(report, display)
    check_goal(report)
