"""Evaluate: the share of images whose label the network puts first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tightc.data.images import Images, Normalization, check_images, check_labels
from tightc.errors import ModelError
from tightc.evaluation.options import EvaluateOptions
from tightc.model.file import Model
from tightc.model.layer_view.image_classifier import ImageInput, image_input
from tightc.model.runtime.session import create_session, ort_errors
from tightc.progress import Progress, no_progress
from tightc.report import Report

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def evaluate(
    model: Model,
    images: Images,
    normalization: Normalization,
    options: EvaluateOptions,
    *,
    progress: Progress = no_progress,
) -> Report:
    """Top-1 accuracy of `model` on `images`, by stock onnxruntime from the model's bytes.

    Totals: accuracy (percent), images, correct, classes. ModelError where the model is not a classifier of
    images or does not run; DataError where the images do not fit its input or the labels its classes.
    """
    wanted = image_input(model.proto, model.origin)
    check_images(images, wanted.shape, "the images")
    session = create_session(model.to_bytes(), model.origin, options.threads)
    batch_size = wanted.batch or min(options.batch_size, len(images))
    correct, classes = 0, 0
    start = time.perf_counter()
    for first in range(0, len(images), batch_size):
        pixels = normalization.apply(images.pixels[first : first + batch_size])
        logits = _logits(session, wanted, pixels, model.origin)
        if not classes:
            classes = logits.shape[1]
            check_labels(images, classes)
        labels = images.labels[first : first + batch_size]
        correct += int(np.count_nonzero(logits.argmax(axis=1) == labels))
        done = first + len(labels)
        figures = {
            "accuracy": f"{100 * correct / done:.2f} %",
            "img/s": f"{done / (time.perf_counter() - start):.0f}",
        }
        progress("evaluate", done / len(images), figures)
    accuracy = 100 * correct / len(images)
    totals = {"accuracy": accuracy, "images": len(images), "correct": correct, "classes": classes}
    few = f"the data has {len(images.classes)} classes, the network {classes}: labels follow the data's order"
    other = bool(images.classes) and len(images.classes) != classes
    return Report("evaluate", totals, notes=(*model.notes, *((few,) if other else ())))


def _logits(
    session: InferenceSession, wanted: ImageInput, pixels: NDArray[np.float32], origin: str
) -> NDArray[np.float32]:
    """(images, classes) for pixels (images, channels, height, width); a batch of fixed size is filled up."""
    count = len(pixels)
    if wanted.batch and count < wanted.batch:
        filling = np.zeros((wanted.batch - count, *pixels.shape[1:]), np.float32)
        pixels = np.concatenate([pixels, filling])
    with ort_errors(origin, "onnxruntime cannot run it on these images"):
        logits: NDArray[np.float32] = session.run([wanted.output], {wanted.name: pixels})[0]
    if logits.ndim != 2 or len(logits) != len(pixels):
        found = " x ".join(map(str, logits.shape))
        raise ModelError(
            f"{origin}: output {wanted.output} is {found} for {len(pixels)} images",
            "give a model whose output is batch x classes",
        )
    if np.isnan(logits[:count]).any():
        raise ModelError(
            f"{origin}: output {wanted.output} holds NaN", "check --mean and --std, or train it again"
        )
    return logits[:count]
