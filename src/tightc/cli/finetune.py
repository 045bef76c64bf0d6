"""`tightc finetune`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from tightc.cli.common import (
    Destination,
    Manner,
    finish,
    images_for,
    manner_flags,
    model_argument,
    output_flag,
    read_model,
    seed_flag,
)
from tightc.cli.flags import chosen, flags_of
from tightc.data.options import DataOptions
from tightc.finetuning.options import FinetuneOptions


@click.command(
    epilog="Example: tightc finetune pruned.onnx --data images/ --epochs 10 -o finetuned.onnx; while it trains: "
    "tightc finetune model.onnx --data images/ --align 32x32 --budget compression=10 --epochs 30 -o aligned.onnx"
)
@model_argument
@flags_of(DataOptions)
@flags_of(FinetuneOptions)
@click.option(
    "--teacher", metavar="MODEL", help="A model whose outputs are matched too, such as the dense one."
)
@seed_flag
@output_flag
@manner_flags
def finetune(
    model: str | None, teacher: str | None, seed: int, output: str | None, manner: Manner, **flags: Any
) -> None:
    """Train what is left, or prune while training; zeros stay.

    With --sparsity, or --align and --budget, ever more weights become zero while the others are trained. Takes the
    train images where the data has a train and a test part, else all. While it runs, the training is kept in
    OUTPUT.checkpoint, or where --checkpoint says: the same command goes on from there. For several devices or machines:
    torchrun --nproc-per-node N --no-python tightc finetune ... Needs torch: pip install 'tightc[finetune]'.
    """
    from tightc.finetuning.finetune import Interrupted
    from tightc.finetuning.finetune import finetune as run
    from tightc.finetuning.process.process_group import Team
    from tightc.model.file import load_model

    data, options = chosen(DataOptions, flags), chosen(FinetuneOptions, flags)
    destination = Destination.of(output, manner)
    if options.checkpoint is None and destination.path is not None:
        options = options.model_copy(update={"checkpoint": f"{destination.path}.checkpoint"})
    network = read_model(model)
    master = load_model(teacher) if teacher else None
    images = images_for(network, data, "train")
    try:
        with manner.progress() as listener:
            result = run(
                network, images, data.normalisation, options, seed=seed, teacher=master, listener=listener
            )
    except Interrupted as interrupt:
        # what was read is what the checkpoint belongs to, and stays
        read = [os.path.realpath(path) for path in (model, teacher) if path is not None]
        kept = destination.path is not None and os.path.realpath(destination.path) not in read
        if kept and Team.of_environment().leads:
            finish(interrupt.result, destination, manner)
            if not manner.quiet:
                click.echo(f"{destination.path} holds what was trained by then", err=True)
        raise
    team = Team.of_environment()
    if team.leads:
        finish(result, destination, manner)
        if options.checkpoint is not None:
            Path(options.checkpoint).unlink(missing_ok=True)
    if team.size > 1:
        # torch's threads do not always survive the interpreter's end, and a member that dies there fails the whole team
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
