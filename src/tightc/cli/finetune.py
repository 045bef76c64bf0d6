"""`tightc finetune`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from tightc.cli.common import (
    Destination,
    Display,
    display_flags,
    finish,
    images_for,
    model_argument,
    output_flag,
    read_model,
    seed_flag,
)
from tightc.cli.flags import option_flags, parsed_options
from tightc.data.options import DataOptions
from tightc.finetuning.options import FinetuneOptions


@click.command(
    epilog="Example: tightc finetune pruned.onnx --data images/ --epochs 10 -o finetuned.onnx; while it trains: "
    "tightc finetune model.onnx --data images/ --align 32x32 --budget compression=10 --epochs 30 -o aligned.onnx"
)
@model_argument
@option_flags(DataOptions)
@option_flags(FinetuneOptions)
@click.option(
    "--teacher", metavar="MODEL", help="A model whose outputs are matched too, such as the dense one."
)
@seed_flag
@output_flag
@display_flags
def finetune(
    model: str | None, teacher: str | None, seed: int, output: str | None, display: Display, **flags: Any
) -> None:
    """Train what is left, or prune while training; zeros stay.

    With --sparsity, or --align and --budget, ever more weights become zero while the others are trained. Takes the
    train images where the data has a train and a test part, else all. While it runs, the training is kept in
    OUTPUT.checkpoint, or where --checkpoint says: the same command goes on from there. For several devices or machines:
    torchrun --nproc-per-node N --no-python tightc finetune ... Needs torch: pip install 'tightc[finetune]'.
    """
    from tightc.finetuning.finetune import Interrupted
    from tightc.finetuning.finetune import finetune as run
    from tightc.finetuning.process.process_group import ProcessGroup
    from tightc.model.file import load_model

    data, options = parsed_options(DataOptions, flags), parsed_options(FinetuneOptions, flags)
    destination = Destination.of(output, display)
    if options.checkpoint is None and destination.path is not None:
        options = options.model_copy(update={"checkpoint": f"{destination.path}.checkpoint"})
    network = read_model(model)
    master = load_model(teacher) if teacher else None
    images = images_for(network, data, "train")
    try:
        with display.progress() as progress:
            result = run(
                network, images, data.normalization, options, seed=seed, teacher=master, progress=progress
            )
    except Interrupted as interrupt:
        # what was read is what the checkpoint belongs to, and stays
        read = [os.path.realpath(path) for path in (model, teacher) if path is not None]
        kept = destination.path is not None and os.path.realpath(destination.path) not in read
        if kept and ProcessGroup.from_environment().is_main_process:
            finish(interrupt.result, destination, display)
            if not display.quiet:
                click.echo(f"{destination.path} holds what was trained by then", err=True)
        raise
    group = ProcessGroup.from_environment()
    if group.is_main_process:
        finish(result, destination, display)
        if options.checkpoint is not None:
            Path(options.checkpoint).unlink(missing_ok=True)
    if group.world_size > 1:
        # torch's threads do not always survive the interpreter's end, and a member that dies there fails the whole team
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
