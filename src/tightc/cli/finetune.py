"""`tightc finetune`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import (
    Destination,
    Display,
    data_for,
    display_flags,
    finish,
    model_argument,
    output_flag,
    read_model,
    seed_flag,
)
from tightc.cli.flags import option_flags, parsed_options
from tightc.data.options import DataOptions
from tightc.files import is_special, remove_leftovers
from tightc.finetuning.options import FinetuneOptions


@click.command(
    cls=StageCommand,
    epilog="\b\nExample: tightc finetune pruned.onnx --data images/ --epochs 10 -o finetuned.onnx\n"
    "         tightc finetune model.onnx --data images/ --sparsity 0.9 --epochs 30 -o pruned.onnx",
)
@model_argument
@option_flags(DataOptions)
@option_flags(FinetuneOptions)
@click.option(
    "--teacher",
    metavar="MODEL",
    help="Teacher for distillation, such as the dense model; data then needs no labels.",
)
@seed_flag
@output_flag
@display_flags
def finetune(
    model: str | None, teacher: str | None, seed: int, output: str | None, display: Display, **flags: Any
) -> None:
    """Train the remaining weights, or prune while training.

    Zeros stay zero. With --sparsity, or --align and --budget, more weights become zero during the training. Uses the
    train split of the data, or all images without splits. The checkpoint is OUTPUT.checkpoint or --checkpoint: rerun
    the command to resume. On several devices: torchrun --nproc-per-node N --no-python tightc finetune ...
    Needs torch: pip install 'tightc[finetune]'.
    """
    from tightc.data.images import Normalization
    from tightc.data.samples import Samples
    from tightc.finetuning.finetune import finetune as run
    from tightc.finetuning.process.process_group import ProcessGroup
    from tightc.model.file import load_model
    from tightc.report import Interrupted

    data, options = parsed_options(DataOptions, flags), parsed_options(FinetuneOptions, flags)
    destination = Destination.of(output, display)
    if options.checkpoint is None and destination.path is not None and not is_special(destination.path):
        options = options.model_copy(update={"checkpoint": f"{destination.path}.checkpoint"})
    network = read_model(model)
    master = load_model(teacher) if teacher else None
    seen = data_for(network, data, "train", labeled=False)
    images, normalization = (
        (seen, Normalization()) if isinstance(seen, Samples) else (seen.images, seen.normalization)
    )
    try:
        with display.progress() as progress:
            result = run(
                network, images, normalization, options, seed=seed, teacher=master, progress=progress
            )
    except KeyboardInterrupt as interrupt:
        main_process = ProcessGroup.from_environment().is_main_process
        # the checkpoint belongs to the model that was read, which stays
        read = [os.path.realpath(path) for path in (model, teacher) if path is not None]
        kept = destination.path is not None and os.path.realpath(destination.path) not in read
        if isinstance(interrupt, Interrupted) and kept and main_process:
            finish(interrupt.result, destination, display)
            display.standing.kept = f"{destination.path} holds the weights at the interrupt; {_kept(options)}"
        else:
            display.standing.kept = _kept(options)
        display.standing.explained = not main_process
        raise
    group = ProcessGroup.from_environment()
    if group.is_main_process:
        finish(result, destination, display)
        if options.checkpoint is not None:
            Path(options.checkpoint).unlink(missing_ok=True)
            remove_leftovers(Path(os.path.realpath(options.checkpoint)))
    if group.world_size > 1:
        # threads of torch may crash at interpreter exit, and a process that crashes fails the whole group
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _kept(options: FinetuneOptions) -> str:
    """What an interrupt leaves of a training."""
    if options.checkpoint is not None and Path(options.checkpoint).exists():
        return f"{options.checkpoint} keeps the training: run the same command again to go on"
    return "the training is not kept; --checkpoint FILE, or -o FILE, keeps it"
