"""Evaluate: top-1 accuracy, measured by onnxruntime."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tightc.data.images import Images, Normalization, check_images, check_labels, require_labels
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

    `normalization` is applied to the pixels; `options` set batch size and threads; `progress` is called once per batch.
    Totals: accuracy (percent), images, correct, classes. ModelError where the model is not an image classifier or does
    not run; DataError where the images do not fit its input or the labels its classes.
    """
    network_input = image_input(model.proto, model.origin)
    check_images(images, network_input.shape, "the images")
    session = create_session(model.to_bytes(), model.origin, options.threads)
    batch_size = network_input.batch or min(options.batch_size, len(images))
    correct, classes = 0, 0
    start = time.perf_counter()
    for first in range(0, len(images), batch_size):
        pixels = normalization.apply(images.pixels[first : first + batch_size])
        logits = _logits(session, network_input, pixels, model.origin)
        if not classes:
            classes = logits.shape[1]
            check_labels(images, classes)
        labels = require_labels(images, "the images")[first : first + batch_size]
        correct += int(np.count_nonzero(logits.argmax(axis=1) == labels))
        done = first + len(labels)
        figures = {
            "accuracy": f"{100 * correct / done:.2f} %",
            "img/s": f"{done / (time.perf_counter() - start):.0f}",
        }
        progress("evaluate", done / len(images), figures)
    accuracy = 100 * correct / len(images)
    totals = {"accuracy": accuracy, "images": len(images), "correct": correct, "classes": classes}
    notes = list(model.notes)
    if images.classes and len(images.classes) != classes:
        notes.append(
            f"the data has {len(images.classes)} classes, the network {classes}: labels follow the data's order"
        )
    return Report("evaluate", totals, notes=tuple(notes))


def _logits(
    session: InferenceSession, network_input: ImageInput, pixels: NDArray[np.float32], origin: str
) -> NDArray[np.float32]:
    """Logits, (images, classes), for `pixels`, (images, channels, height, width); a fixed batch size is padded.

    ModelError, naming `origin`, where the model does not run or its output is no logits.
    """
    count = len(pixels)
    if network_input.batch and count < network_input.batch:
        padding = np.zeros((network_input.batch - count, *pixels.shape[1:]), np.float32)
        pixels = np.concatenate([pixels, padding])
    with ort_errors(origin, "onnxruntime cannot run it on these images"):
        logits: NDArray[np.float32] = session.run([network_input.output], {network_input.name: pixels})[0]
    if logits.ndim != 2 or len(logits) != len(pixels):
        found = " x ".join(map(str, logits.shape))
        raise ModelError(
            f"{origin}: output {network_input.output}: expected {len(pixels)} x classes, got {found}",
            "give a model whose output is batch x classes",
        )
    if np.isnan(logits[:count]).any():
        raise ModelError(
            f"{origin}: output {network_input.output}: expected numbers, got NaN",
            "check --mean and --std, or train it again",
        )
    return logits[:count]
