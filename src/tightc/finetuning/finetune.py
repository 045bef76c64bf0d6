"""finetune: trains the weights that are left; zeros stay zeros, and the file changes in its tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tightc.data.images import Images, Normalisation, check_images, check_labels
from tightc.errors import DataError, ModelError, OptionError
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model
from tightc.model.graph import Array
from tightc.model.history import add_history
from tightc.model.image_input import image_input
from tightc.model.packed import unpack_layers
from tightc.report import Listener, Report, silent

if TYPE_CHECKING:
    from tightc.finetuning.network import Classifier
    from tightc.finetuning.train import Outcome

_IMAGES_MEASURED = 512


def finetune(
    model: Model,
    images: Images,
    normalisation: Normalisation,
    options: FinetuneOptions,
    *,
    seed: int,
    teacher: Model | None = None,
    listener: Listener = silent,
) -> tuple[Model, Report]:
    """Trains `model` on labelled images by stochastic gradient descent; gives it back with its new tensors.

    Every exact zero of a Conv, Gemm or MatMul weight stays zero, so an arrangement that the model has stays
    valid. A packed model comes back plain. With a `teacher`, which tells the same
    classes of the same images apart, its outputs are matched too. On one CPU, with one number of
    threads, the seed decides the result.
    OptionError without torch; ModelError or DataError, before any training, where model, teacher and images
    do not fit.
    """
    _demand_torch()
    from tightc.bridge.module import TorchGraph
    from tightc.finetuning.batches import Batches
    from tightc.finetuning.compute import choose_compute
    from tightc.finetuning.masks import ZeroMasks
    from tightc.finetuning.network import open_network, place
    from tightc.finetuning.train import Lesson, train
    from tightc.finetuning.unfold import foldable_norms, folded, unfolded

    source, model = model, unpack_layers(model)
    compute = choose_compute(options.device, options.precision)
    _check_images(images, normalisation, [model] if teacher is None else [model, teacher])
    batches = Batches(images, normalisation, options.batch_size, options.augment, compute.device)
    student = open_network(model, batches.sample, compute.device)
    check_labels(images, student.classes)
    master = None
    if teacher is not None:
        master = open_network(teacher, batches.sample, compute.device)
        _check_classes(model, student.classes, teacher, master.classes)
    norms = foldable_norms(student.graph) if options.unfold_norms else []
    module = student.module
    if norms:
        measured = batches.drawn(_IMAGES_MEASURED, seed)
        graph = unfolded(student.graph, norms, measured, compute.device, master.graph if master else None)
        module = place(TorchGraph(graph), compute.device)
    masks = ZeroMasks.of(module.weights())
    lesson = Lesson(module, master.module if master else None, batches, masks, compute)
    outcome = train(lesson, options, seed, listener)
    trained = folded(module.trained(), norms)
    _check_finite(trained, options)
    settings = {**options.model_dump(mode="json"), "teacher": teacher.sha256 if teacher else None}
    finetuned = add_history(model.with_tensors(trained), "finetune", settings, seed, source)
    return finetuned, _report(student, trained, masks.zeros, outcome, options)


def _demand_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise OptionError(
            "finetune needs torch, which is not installed", "pip install 'tightc[finetune]'"
        ) from None


def _check_images(images: Images, normalisation: Normalisation, models: list[Model]) -> None:
    for model in models:
        check_images(images, image_input(model.proto, model.origin).shape, "training images")
    if len(images) < 2:
        raise DataError("training images: there is one image", "give at least two, as norms need a batch")
    normalisation.apply(images.pixels[:1])


def _check_classes(model: Model, classes: int, teacher: Model, teacher_classes: int) -> None:
    if teacher_classes != classes:
        raise ModelError(
            f"{teacher.origin}: the teacher tells {teacher_classes} classes apart, {model.origin} {classes}",
            "give a teacher trained on the same classes",
        )


def _check_finite(trained: Mapping[str, Array], options: FinetuneOptions) -> None:
    for name, tensor in trained.items():
        if not np.isfinite(tensor).all():
            raise ModelError(
                f"tensor {name} is no longer finite after {options.epochs} epochs at learning rate "
                f"{options.learning_rate}",
                "lower --learning-rate",
            )


def _report(
    student: Classifier, trained: Mapping[str, Array], zeros: int, outcome: Outcome, options: FinetuneOptions
) -> Report:
    weights = student.layers.values()
    counts = [int(np.count_nonzero(trained[weight])) for weight in weights]
    layers = tuple(
        {"name": name, "nonzeros": count, "density": count / trained[weight].size}
        for (name, weight), count in zip(student.layers.items(), counts, strict=True)
    )
    nonzeros = sum(counts)
    totals = {
        "train_loss": outcome.loss,
        "train_accuracy": outcome.accuracy,
        "epochs": options.epochs,
        "parameters": sum(trained[name].size for name in student.module.roles),
        "nonzeros": nonzeros,
        "density": nonzeros / sum(trained[weight].size for weight in weights),
        "zeros_kept": zeros,
    }
    return Report("finetune", totals, layers)
