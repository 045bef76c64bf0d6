"""Finetune: trains the nonzero weights; zeros stay zeros, and only tensors of the file change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tightc.bridge.precision import in_dtypes_of
from tightc.data.images import Images, Normalization, check_images
from tightc.data.samples import Samples
from tightc.errors import DataError, ModelError, OptionError
from tightc.finetuning.labels import is_labeled
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.image_classifier import image_input
from tightc.model.layer_view.layer_names import unique_modules
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.network_inputs import image_spec, network_inputs
from tightc.model.onnx_proto.graph import Array, read_graph
from tightc.model.packings.metadata import is_permuted, matching_packings, with_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.progress import Progress, no_progress
from tightc.report import Interrupted, Report, Result
from tightc.selection.network.budget_costs import budget_notes

if TYPE_CHECKING:
    from tightc.finetuning.training.metrics import TrainingResult
    from tightc.finetuning.training_run import TrainingRun


def finetune(
    model: Model,
    images: Images | Samples,
    normalization: Normalization,
    options: FinetuneOptions,
    *,
    seed: int,
    teacher: Model | None = None,
    progress: Progress = no_progress,
) -> Result:
    """Trains `model` on `images` or samples; returns it with its new tensors, and a report.

    Every exact zero of a Conv, Gemm or MatMul weight stays zero, so the packings recorded in the model stay valid. With
    a sparsity or budget in `options`, more weights are pruned while training, and the recorded packings are dropped. A
    packed model comes back unpacked.

    `normalization` is applied to the pixels of images. With a `teacher`, a model with the same inputs and outputs, a
    distillation loss is added; without labels it is the loss. 16-bit floats are trained as float32 and saved as they
    came. On one CPU, with one number of threads, `seed` decides the result, also of a run resumed
    from a checkpoint. Under torchrun every process trains on its shard of each batch, and all return the weights of the
    main process. `progress` is called every few steps.

    OptionError without torch, or where a batch does not fit into memory. ModelError or DataError, before any training,
    where model, teacher and images do not fit together. Interrupted, with the result so far, after Ctrl-C.
    """
    require_torch()
    from tightc.finetuning.prepare import TrainingInputs, prepare_training
    from tightc.finetuning.process.checkpoint import check_checkpoint
    from tightc.finetuning.process.device import out_of_memory_as_option_error

    if options.checkpoint is not None:
        check_checkpoint(Path(options.checkpoint))
    if teacher is None:
        _check_no_distillation(options)
    source, model = model, unpack_layers(model)
    if options.kept_fraction is None and is_permuted(model):
        matching_packings(model, read_network(model))  # the packings stay, so they must match the weights
    _check_data(images, normalization, [model] if teacher is None else [model, teacher])
    inputs = TrainingInputs(model, images, normalization, seed, teacher)
    with out_of_memory_as_option_error(options.batch_size):
        run = prepare_training(inputs, options)
        result = run.train(progress, options)
    stored = read_network(model).with_zero_points(run.trained())
    trained = in_dtypes_of(stored, read_graph(model.proto).tensors)
    _check_finite(trained, options)
    finetuned = model.with_tensors(trained)
    if options.kept_fraction is not None:
        finetuned = with_packings(finetuned, {})
    recorded = {**options.recorded(), "teacher": teacher.sha256 if teacher else None}
    ended = {} if result.epochs_done is None else {"by": "interrupt", "epochs": round(result.epochs_done, 3)}
    entry = HistoryEntry("finetune", recorded, seed, ended, run.environment)
    finetuned = stage_result(finetuned, entry, source)
    notes = (*source.notes, *budget_notes(model, options))
    report = _report(notes, run, trained, result, options)
    if result.interrupted:
        raise Interrupted(Result(finetuned, report))
    return Result(finetuned, report)


def require_torch() -> None:
    """OptionError where torch is not installed."""
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
        value = getattr(options, unused)
        shown = (
            f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else ",".join(value)
        )
        raise OptionError(
            f"{flag}: expected a teacher with {flag} {shown}, got none",
            f"add --teacher, or leave {flag} out",
        )


def _check_data(data: Images | Samples, normalization: Normalization, models: list[Model]) -> None:
    if isinstance(data, Samples):
        for model in models:
            _check_samples(data, model)
        if data.rows < 2:
            raise DataError("training data: expected at least 2 samples, got 1", "give more samples")
        return
    for model in models:
        if data.labels is None or (len(models) > 1 and not is_labeled(data, models[0])):
            shape = image_spec(model.proto, model.origin)[1]
        else:
            shape = image_input(model.proto, model.origin).shape
        check_images(data, shape, "training images")
    if len(data) < 2:
        raise DataError("training images: expected at least 2, got 1", "give more images")
    normalization.apply(data.pixels[:1])


def _check_samples(samples: Samples, model: Model) -> None:
    """Checks that `model` takes the samples; a teacher may have other names for its inputs."""
    inputs = network_inputs(model.proto, model.origin)
    named = all(spec.name in samples.inputs for spec in inputs)
    arrays = [samples.inputs[spec.name] for spec in inputs] if named else list(samples.inputs.values())
    fits = len(arrays) == len(inputs) == len(samples.inputs) and all(
        spec.admits(array.shape) for spec, array in zip(inputs, arrays, strict=True)
    )
    if not fits:
        found = ", ".join(
            f"{name} ({' x '.join(map(str, array.shape))})" for name, array in samples.inputs.items()
        )
        raise DataError(
            f"training data: expected the inputs of {model.origin}, {', '.join(map(str, inputs))}, got {found}",
            "give data and teacher with the inputs of the model",
        )


def _check_finite(trained: Mapping[str, Array], options: FinetuneOptions) -> None:
    for name, tensor in trained.items():
        if not np.isfinite(tensor).all():
            raise ModelError(
                f"tensor {name}: expected finite values after {options.epochs} epochs at learning rate "
                f"{options.learning_rate}, got NaN or infinity",
                "lower --learning-rate",
            )


def _report(
    notes: tuple[str, ...],
    run: TrainingRun,
    trained: Mapping[str, Array],
    result: TrainingResult,
    options: FinetuneOptions,
) -> Report:
    layers = run.layers
    modules = unique_modules(list(layers), list(layers.values()))
    counts = [int(np.count_nonzero(trained[weight])) for weight in layers.values()]
    rows = tuple(
        {
            "name": name,
            "label": module or name,
            "weight": weight,
            "nonzeros": count,
            "density": count / trained[weight].size,
        }
        for (name, weight), module, count in zip(layers.items(), modules, counts, strict=True)
    )
    nonzeros = sum(counts)
    totals = {
        "train_loss": result.loss,
        "train_accuracy": result.accuracy,
        "validation_accuracy": result.validation_accuracy,
        **({} if result.validation_loss is None else {"validation_loss": result.validation_loss}),
        "epochs": options.epochs if result.epochs_done is None else result.epochs_done,
        "parameters": sum(trained[name].size for name in run.parameters),
        "nonzeros": nonzeros,
        "density": nonzeros / sum(trained[weight].size for weight in layers.values()),
        "zeros_kept": run.initial_zeros,
    }
    if result.epochs_done is not None:
        notes += (
            f"the training was interrupted at epoch {result.epochs_done:.4g} of {options.epochs}: "
            "weights and sparsity are those of that moment",
        )
    if result.checkpoint_error is not None:
        notes += (f"no checkpoint: {result.checkpoint_error}",)
    return Report("finetune", totals, rows, notes=notes)
