"""Finetune: train the weights that are left; zeros stay zeros, and the file changes in its tensors alone."""

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
from tightc.report import Report

if TYPE_CHECKING:
    from tightc.finetuning.process.metrics import TrainingOutcome
    from tightc.finetuning.setup import TrainingRun


class Interrupted(KeyboardInterrupt):
    """An interrupt that ended the training early; `result` is what finetune would have returned, as good as it was by
    then."""

    def __init__(self, result: tuple[Model, Report]) -> None:
        super().__init__("finetune was interrupted; its best result so far is kept")
        self.result = result


def finetune(
    model: Model,
    images: Images,
    normalization: Normalization,
    options: FinetuneOptions,
    *,
    seed: int,
    teacher: Model | None = None,
    progress: Progress = no_progress,
) -> tuple[Model, Report]:
    """Trains `model` on labeled images; gives it back with its new tensors.

    Every exact zero of a Conv, Gemm or MatMul weight stays zero, so an arrangement that the model has stays
    valid, unless a sparsity or budget is asked for: then ever more weights become zero while the others are trained,
    and an arrangement is dropped. A packed model comes back plain. With a `teacher`, which tells the same
    classes of the same images apart, its outputs are matched too. On one CPU, with one number of
    threads, the seed decides the result, also of a run that went on from its checkpoint. Under torchrun every
    process trains on its share of each batch, and all return the leader's weights.
    OptionError without torch, or where a batch does not fit into memory; ModelError or DataError, before any training,
    where model, teacher and images do not fit. Interrupted carries the result so far when Ctrl-C ends the training.
    """
    _require_torch()
    from tightc.finetuning.process.device import memory_named
    from tightc.finetuning.setup import prepare_training

    vain = options.taught_in_vain() if teacher is None else None
    if vain is not None:
        flag = f"--{vain.replace('_', '-')}"
        raise OptionError(
            f"{flag} {getattr(options, vain):g} without a teacher", f"add --teacher, or leave {flag} out"
        )
    source, model = model, unpack_layers(model)
    if options.kept_fraction is None and is_permuted(model):
        # the arrangement stays, and has to be that of the weights
        matching_packings(model, read_network(model))
    _check_images(images, normalization, [model] if teacher is None else [model, teacher])
    with memory_named(options.batch_size):
        session = prepare_training(model, images, normalization, options, seed=seed, teacher=teacher)
        outcome = session.train(progress, options)
    trained = session.trained()
    _check_finite(trained, options)
    finetuned = model.with_tensors(trained)
    if options.kept_fraction is not None:
        finetuned = with_packings(finetuned, {})
    settings = {**options.that_matter(), "teacher": teacher.sha256 if teacher else None}
    ended = {} if outcome.reached is None else {"by": "interrupt", "epochs": round(outcome.reached, 3)}
    finetuned = stage_result(finetuned, HistoryEntry("finetune", settings, seed, ended), source)
    report = _report(source, session, trained, outcome, options)
    if outcome.interrupted:
        raise Interrupted((finetuned, report))
    return finetuned, report


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise OptionError(
            "finetune needs torch, which is not installed", "pip install 'tightc[finetune]'"
        ) from None


def _check_images(images: Images, normalization: Normalization, models: list[Model]) -> None:
    for model in models:
        check_images(images, image_input(model.proto, model.origin).shape, "training images")
    if len(images) < 2:
        raise DataError("training images: there is one image", "give at least two, as norms need a batch")
    normalization.apply(images.pixels[:1])


def _check_finite(trained: Mapping[str, Array], options: FinetuneOptions) -> None:
    for name, tensor in trained.items():
        if not np.isfinite(tensor).all():
            raise ModelError(
                f"tensor {name} is no longer finite after {options.epochs} epochs at learning rate "
                f"{options.learning_rate}",
                "lower --learning-rate",
            )


def _report(
    source: Model,
    session: TrainingRun,
    trained: Mapping[str, Array],
    outcome: TrainingOutcome,
    options: FinetuneOptions,
) -> Report:
    layers = session.layers
    counts = [int(np.count_nonzero(trained[weight])) for weight in layers.values()]
    rows = tuple(
        {"name": name, "nonzeros": count, "density": count / trained[weight].size}
        for (name, weight), count in zip(layers.items(), counts, strict=True)
    )
    nonzeros = sum(counts)
    totals = {
        "train_loss": outcome.loss,
        "train_accuracy": outcome.accuracy,
        "validation_accuracy": outcome.validation_accuracy,
        "epochs": options.epochs if outcome.reached is None else outcome.reached,
        "parameters": sum(trained[name].size for name in session.parameters),
        "nonzeros": nonzeros,
        "density": nonzeros / sum(trained[weight].size for weight in layers.values()),
        "zeros_kept": session.zeros,
    }
    notes = list(source.notes)
    if outcome.reached is not None:
        notes.append(
            f"the training was interrupted at epoch {outcome.reached:.4g} of {options.epochs}: "
            "weights and sparsity are as they were by then"
        )
    if outcome.unkept is not None:
        notes.append(f"no checkpoint: {outcome.unkept}")
    return Report("finetune", totals, rows, notes=tuple(notes))
