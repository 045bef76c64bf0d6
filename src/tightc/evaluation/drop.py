"""The drop of a compressed model on data, in points, with its standard error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tightc.data.images import Images, Normalization
from tightc.data.samples import Samples
from tightc.evaluation.runs import ModelRun, batches_of, output_pairs, require_inputs, rows_of
from tightc.model.file import Model
from tightc.model.layer_view.network_inputs import are_logits
from tightc.progress import Progress, no_progress

Data = Images | Samples
DropKind = Literal["accuracy", "agreement", "outputs"]
_BATCH = 256


@dataclass(frozen=True)
class Drop:
    """`points` that are lost, and their standard `error`, on so many `images`; `kind` says what is lost.

    `accuracy`: top-1 accuracy below the dense model's. `agreement`: images to which the teacher gives another class.
    `outputs`: mean absolute error, in percent of the mean magnitude of the teacher's outputs.
    """

    kind: DropKind
    points: float
    error: float
    images: int

    def __str__(self) -> str:
        return f"{self.points:.2f} ± {self.error:.2f} points"


def accuracy_drop(dense: NDArray[np.bool_], model: NDArray[np.bool_]) -> Drop:
    """The drop of accuracy, given which images the dense model and the compressed model classify right, (images,).

    Both see the same images, so that only those that one of them classifies right count for the error.
    """
    lost, won = int(np.count_nonzero(dense & ~model)), int(np.count_nonzero(~dense & model))
    return _of_counts("accuracy", lost, won, len(dense))


def right_images(model: Model, data: Data, normalization: Normalization) -> NDArray[np.bool_]:
    """Which images `model`, a classifier, classifies right: (images,) bool. `data` has a class number for each."""
    run = ModelRun(model, threads=0)
    require_inputs(data, run)
    found = [
        _classes(next(iter(run.outputs(feeds).values())))
        for _, feeds in batches_of(data, normalization, run.inputs, run.batch or _BATCH)
    ]
    assert data.labels is not None, "the caller checked"
    right: NDArray[np.bool_] = np.concatenate(found) == data.labels.reshape(-1)
    return right


def drop_from_teacher(
    model: Model, teacher: Model, data: Data, normalization: Normalization, progress: Progress = no_progress
) -> Drop:
    """How far the outputs of `model` are not those of `teacher`: classes where both are classifiers, else values."""
    differs: list[NDArray[np.bool_]] = []
    errors: list[NDArray[np.float64]] = []
    magnitudes: list[NDArray[np.float64]] = []
    done = 0
    for shapes, pairs in _outputs_of_both(model, teacher, data, normalization):
        if len(pairs) == 1 and are_logits(pairs[0][0].shape, shapes):
            own, wanted = map(_classes, pairs[0])
            differs.append((own != wanted) | (own < 0))
        else:
            errors.append(_by_row([np.abs(one - two) for one, two in pairs]))
            magnitudes.append(_by_row([np.abs(two) for _, two in pairs]))
        done += len(pairs[0][0])
        progress("evaluate", done / rows_of(data), {})
    if differs:
        other = np.concatenate(differs)
        return _of_counts("agreement", int(np.count_nonzero(other)), 0, len(other))
    return _of_values(np.concatenate(errors), np.concatenate(magnitudes))


def _outputs_of_both(
    model: Model, teacher: Model, data: Data, normalization: Normalization
) -> Iterator[tuple[list[tuple[int, ...]], list[tuple[NDArray[np.float64], NDArray[np.float64]]]]]:
    """For each batch the shapes of the inputs, and pairs of outputs."""
    run, other = ModelRun(model, threads=0), ModelRun(teacher, threads=0)
    for one in (run, other):
        require_inputs(data, one)
    size = min(one.batch or _BATCH for one in (run, other))
    for _, feeds in batches_of(data, normalization, run.inputs, size):
        pairs = output_pairs(run.outputs(feeds), other.outputs(feeds), run, other)
        yield [array.shape for array in feeds.values()], pairs


def _classes(logits: NDArray[Any]) -> NDArray[np.int64]:
    """The class of each row of `logits`, (rows, classes): that of the largest; -1 for a row with NaN."""
    found: NDArray[np.int64] = np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))
    return found


def _by_row(arrays: list[NDArray[Any]]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = sum(array.reshape(len(array), -1).sum(axis=1) for array in arrays)
    return total


def _of_counts(kind: DropKind, lost: int, won: int, images: int) -> Drop:
    """The drop where `lost` images are no longer right and `won` are newly right.

    The error is that of a difference of paired proportions, with half an image added to each of the four counts
    (Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine
    24, 2005). Without that, a model that loses nothing on a few images would have no error.
    """
    total = images + 2
    changed, difference = (lost + won + 1) / total, (lost - won) / total
    error = math.sqrt((changed - difference**2) / total)
    return Drop(kind, 100 * (lost - won) / images, 100 * error, images)


def _of_values(errors: NDArray[np.float64], magnitudes: NDArray[np.float64]) -> Drop:
    """The ratio of the sums, with the standard error of a ratio (Cochran, "Sampling Techniques", chapter 6)."""
    count, magnitude = len(errors), float(magnitudes.sum())
    ratio = float(errors.sum()) / magnitude if magnitude else float(errors.sum())
    residuals = errors - ratio * magnitudes
    spread = math.sqrt(count / max(count - 1, 1) * float(np.square(residuals).sum()))
    return Drop("outputs", 100 * ratio, 100 * spread / (magnitude or 1.0), count)
