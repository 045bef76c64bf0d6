"""Finetune: trains the nonzero weights; zeros stay zeros, and only tensors of the file change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tightc.data.images import Images, Normalization, check_images
from tightc.errors import DataError, ModelError, OptionError
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.image_classifier import image_input
from tightc.model.layer_view.layers import read_network
from tightc.model.onnx_proto.graph import Array
from tightc.model.packings.metadata import is_permuted, matching_packings, with_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.progress import Progress, no_progress
from tightc.report import Interrupted, Report, Result

if TYPE_CHECKING:
    from tightc.finetuning.training.metrics import TrainingResult
    from tightc.finetuning.training_run import TrainingRun


def finetune(
    model: Model,
    images: Images,
    normalization: Normalization,
    options: FinetuneOptions,
    *,
    seed: int,
    teacher: Model | None = None,
    progress: Progress = no_progress,
) -> Result:
    """Trains `model` on labeled `images`; returns it with its new tensors, and a report.

    Every exact zero of a Conv, Gemm or MatMul weight stays zero, so the packings recorded in the model stay valid. With
    a sparsity or budget in `options`, more weights are pruned while training, and the recorded packings are dropped. A
    packed model comes back unpacked.

    `normalization` is applied to the pixels. With a `teacher`, a classifier of the same images and classes, a
    distillation loss is added. On one CPU, with one number of threads, `seed` decides the result, also of a run resumed
    from a checkpoint. Under torchrun every process trains on its shard of each batch, and all return the weights of the
    main process. `progress` is called every few steps.

    OptionError without torch, or where a batch does not fit into memory. ModelError or DataError, before any training,
    where model, teacher and images do not fit together. Interrupted, with the result so far, after Ctrl-C.
    """
    _require_torch()
    from tightc.finetuning.prepare import TrainingInputs, prepare_training
    from tightc.finetuning.process.device import out_of_memory_as_option_error

    if teacher is None:
        _check_no_distillation(options)
    source, model = model, unpack_layers(model)
    if options.kept_fraction is None and is_permuted(model):
        matching_packings(model, read_network(model))  # the packings stay, so they must match the weights
    _check_images(images, normalization, [model] if teacher is None else [model, teacher])
    inputs = TrainingInputs(model, images, normalization, seed, teacher)
    with out_of_memory_as_option_error(options.batch_size):
        run = prepare_training(inputs, options)
        result = run.train(progress, options)
    trained = run.trained()
    _check_finite(trained, options)
    finetuned = model.with_tensors(trained)
    if options.kept_fraction is not None:
        finetuned = with_packings(finetuned, {})
    recorded = {**options.recorded(), "teacher": teacher.sha256 if teacher else None}
    ended = {} if result.epochs_done is None else {"by": "interrupt", "epochs": round(result.epochs_done, 3)}
    finetuned = stage_result(finetuned, HistoryEntry("finetune", recorded, seed, ended), source)
    report = _report(source, run, trained, result, options)
    if result.interrupted:
        raise Interrupted(Result(finetuned, report))
    return Result(finetuned, report)


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise OptionError(
            "finetune needs torch, which is not installed", "pip install 'tightc[finetune]'"
        ) from None


def _check_no_distillation(options: FinetuneOptions) -> None:
    unused = options.unused_distillation()
    if unused is not None:
        flag = f"--{unused.replace('_', '-')}"
        raise OptionError(
            f"{flag}: expected a teacher with {flag} {getattr(options, unused):g}, got none",
            f"add --teacher, or leave {flag} out",
        )


def _check_images(images: Images, normalization: Normalization, models: list[Model]) -> None:
    for model in models:
        check_images(images, image_input(model.proto, model.origin).shape, "training images")
    if len(images) < 2:
        raise DataError("training images: expected at least 2, got 1", "give more images")
    normalization.apply(images.pixels[:1])


def _check_finite(trained: Mapping[str, Array], options: FinetuneOptions) -> None:
    for name, tensor in trained.items():
        if not np.isfinite(tensor).all():
            raise ModelError(
                f"tensor {name}: expected finite values after {options.epochs} epochs at learning rate "
                f"{options.learning_rate}, got NaN or infinity",
                "lower --learning-rate",
            )


def _report(
    source: Model,
    run: TrainingRun,
    trained: Mapping[str, Array],
    result: TrainingResult,
    options: FinetuneOptions,
) -> Report:
    layers = run.layers
    counts = [int(np.count_nonzero(trained[weight])) for weight in layers.values()]
    rows = tuple(
        {"name": name, "nonzeros": count, "density": count / trained[weight].size}
        for (name, weight), count in zip(layers.items(), counts, strict=True)
    )
    nonzeros = sum(counts)
    totals = {
        "train_loss": result.loss,
        "train_accuracy": result.accuracy,
        "validation_accuracy": result.validation_accuracy,
        "epochs": options.epochs if result.epochs_done is None else result.epochs_done,
        "parameters": sum(trained[name].size for name in run.parameters),
        "nonzeros": nonzeros,
        "density": nonzeros / sum(trained[weight].size for weight in layers.values()),
        "zeros_kept": run.initial_zeros,
    }
    notes = list(source.notes)
    if result.epochs_done is not None:
        notes.append(
            f"the training was interrupted at epoch {result.epochs_done:.4g} of {options.epochs}: "
            "weights and sparsity are those of that moment"
        )
    if result.checkpoint_error is not None:
        notes.append(f"no checkpoint: {result.checkpoint_error}")
    return Report("finetune", totals, rows, notes=tuple(notes))
