"""Evaluate: accuracy, agreement with a teacher, area under the curve, error or a function's metric, by onnxruntime."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.data.function_name import is_function_name
from tightc.data.images import Images, Normalization, check_images, check_labels, require_labels
from tightc.data.samples import Samples, integer_labels
from tightc.errors import DataError, ModelError, OptionError
from tightc.evaluation.metrics import area_under_curve, mean_by_sample, scores_of
from tightc.evaluation.options import EvaluateOptions
from tightc.evaluation.own_metric import own_metric
from tightc.evaluation.runs import (
    ModelRun,
    Values,
    batches_of,
    output_pairs,
    require_inputs,
    rows_of,
    sizes_text,
)
from tightc.model.file import Model
from tightc.model.layer_view.image_classifier import image_input
from tightc.model.layer_view.network_inputs import are_logits, image_spec
from tightc.model.runtime.float32_copy import bfloat16_notes
from tightc.progress import Progress, no_progress
from tightc.report import Report

_BATCH_HINT = "give a model whose output is batch x classes"


def evaluate(
    model: Model,
    images: Images | Samples,
    normalization: Normalization,
    options: EvaluateOptions,
    *,
    teacher: Model | None = None,
    progress: Progress = no_progress,
) -> Report:
    """The metric of `options` of `model` on `images` or samples, by stock onnxruntime from the model's bytes.

    `normalization` is applied to the pixels of images; `progress` is called once per batch. Totals by metric:

    - accuracy: top-1, in percent; images, correct, classes.
    - agreement with the `teacher`: of a classifier the images of the same class, in percent; of other models the mean
      absolute error, and that relative to the mean magnitude of the teacher's outputs.
    - auc: of labels 0 and 1 and a score for each sample; see `scores_of`.
    - mae: the mean absolute error of the output from the labels.
    - package.module:function: what the function returns.

    ModelError where a model does not fit the metric or does not run; DataError where the data do not fit the model;
    OptionError where metric and teacher do not go together.
    """
    metric = options.metric or ("accuracy" if teacher is None else "agreement")
    if (teacher is not None) != (metric == "agreement"):
        expected = (
            "a teacher with --metric agreement" if teacher is None else "--metric agreement with a teacher"
        )
        raise OptionError(
            f"--metric: expected {expected}, got {'none' if teacher is None else metric}",
            "add --teacher MODEL" if teacher is None else "leave --teacher out, or take --metric agreement",
        )
    evaluation = _Evaluation(model, images, normalization, options, progress)
    if teacher is not None:
        return evaluation.report(evaluation.agreement(teacher))
    if is_function_name(metric):
        return evaluation.report(evaluation.of_function(metric))
    measures = {"accuracy": evaluation.accuracy, "auc": evaluation.auc, "mae": evaluation.mae}
    return evaluation.report(measures[metric]())


class _Evaluation:
    """One evaluation of a model on data; each metric is a method that returns the totals."""

    def __init__(
        self,
        model: Model,
        data: Images | Samples,
        normalization: Normalization,
        options: EvaluateOptions,
        progress: Progress,
    ) -> None:
        self.model, self.data, self.normalization, self.options = model, data, normalization, options
        self.progress = progress
        self.notes = [*model.notes, *bfloat16_notes(model.proto)]
        self.start = time.perf_counter()

    def report(self, totals: Mapping[str, Any]) -> Report:
        """The report with these totals."""
        return Report("evaluate", totals, notes=tuple(self.notes))

    def accuracy(self) -> dict[str, Any]:
        """Top-1 accuracy."""
        if isinstance(self.data, Images):
            shape = image_input(self.model.proto, self.model.origin).shape
            check_images(self.data, shape, "the images")
            truth = require_labels(self.data, "the images")
        else:
            truth = integer_labels(self.data, "the data")
            if self.data.parts > 1:
                raise DataError(
                    f"the data: expected one row per sample, got {self.data.parts}",
                    "give one row per label, or another --metric",
                )
        run = self._run()
        correct, classes = 0, 0
        for rows, outputs in self._outputs(run, "classes"):
            logits = self._logits(outputs, run, rows)
            if not classes:
                classes = logits.shape[1]
                self._check_labels(truth, classes)
            correct += int(np.count_nonzero(logits.argmax(axis=1) == truth[rows]))
            self._step(rows.stop, {"accuracy": f"{100 * correct / rows.stop:.2f} %"})
        names = self.data.classes if isinstance(self.data, Images) else ()
        if names and len(names) != classes:
            self.notes.append(
                f"the data has {len(names)} classes, the network {classes}: labels follow the data's order"
            )
        count = len(self.data)
        return {"accuracy": 100 * correct / count, "images": count, "correct": correct, "classes": classes}

    def agreement(self, teacher: Model) -> dict[str, Any]:
        """How far the outputs are those of the teacher."""
        run, other = self._run(), ModelRun(teacher, self.options.threads)
        self._check_data(teacher)
        require_inputs(self.data, other)
        size = self._batch_size(run, other)
        same, absolute, magnitude, values = 0, 0.0, 0.0, 0
        classifies = False
        for rows, feeds in batches_of(self.data, self.normalization, run.inputs, size):
            own, wanted = run.outputs(feeds), other.outputs(feeds)
            pairs = output_pairs(own, wanted, run, other)
            shapes = [array.shape for array in feeds.values()]
            classifies = len(pairs) == 1 and are_logits(pairs[0][0].shape, shapes)
            for one, two in pairs:
                if classifies:
                    same += int(np.count_nonzero(one.argmax(axis=1) == two.argmax(axis=1)))
                absolute += float(np.abs(one - two).sum())
                magnitude += float(np.abs(two).sum())
                values += one.size
            figures = {"agreement": f"{100 * same / rows.stop:.2f} %"} if classifies else {}
            self._step(rows.stop, figures or {"error": f"{absolute / values:.4g}"})
        count = rows_of(self.data)
        if classifies:
            return {"agreement": 100 * same / count, "images": count, "agreeing": same}
        relative = absolute / magnitude if magnitude else absolute
        return {
            "mean_absolute_error": absolute / values,
            "relative_error": relative,
            "samples": len(self.data),
        }

    def auc(self) -> dict[str, Any]:
        """Area under the ROC curve."""
        labels = self._numbers("labels 0 and 1").reshape(len(self.data), -1)
        if labels.shape[1] != 1 or set(np.unique(labels).tolist()) != {0, 1}:
            raise DataError(
                f"the data: expected labels 0 and 1 for --metric auc, got {_some(np.unique(labels))}",
                "label each sample 0 or 1, with both among them",
            )
        labels = labels[:, 0]
        run = self._run()
        found = []
        for rows, feeds, outputs in self._fed(run):
            output = self._only(outputs, run)
            scores = scores_of(output, list(feeds.values()))
            if scores is None:
                raise ModelError(
                    f"{self.model.origin}: output {run.names[0]}: expected a number or two classes per sample, or "
                    f"the shape of an input, for --metric auc, got {sizes_text(output.shape)}",
                    "give --metric package.module:function",
                )
            found.append(scores)
            self._step(rows.stop, {})
        parts = self.data.parts if isinstance(self.data, Samples) else 1
        area = area_under_curve(mean_by_sample(np.concatenate(found), parts), labels)
        return {"auc": area, "samples": len(self.data), "positives": int(labels.sum())}

    def mae(self) -> dict[str, Any]:
        """Mean absolute error from the labels."""
        labels = self._numbers("labels")
        run = self._run()
        total, values = 0.0, 0
        for rows, outputs in self._outputs(run):
            output = self._only(outputs, run).astype(np.float64)
            wanted = labels[rows]
            if output.size != wanted.size or (isinstance(self.data, Samples) and self.data.parts > 1):
                raise ModelError(
                    f"{self.model.origin}: output {run.names[0]}: expected {sizes_text(wanted.shape)} values, as the "
                    f"labels have, got {sizes_text(output.shape)}",
                    "give labels of the size of the output",
                )
            total += float(np.abs(output - wanted.reshape(output.shape)).sum())
            values += output.size
            self._step(rows.stop, {"error": f"{total / values:.4g}"})
        return {"mean_absolute_error": total / values, "samples": len(self.data)}

    def of_function(self, metric: str) -> dict[str, Any]:
        """What the user's function makes of all outputs, labels and inputs."""
        run = self._run()
        batches = []
        for rows, feeds, outputs in self._fed(run):
            batches.append((feeds, outputs))
            self._step(rows.stop, {})
        inputs, outputs = (
            {name: np.concatenate([batch[side][name] for batch in batches]) for name in batches[0][side]}
            for side in (0, 1)
        )
        return {"metric": metric, **own_metric(metric, outputs, self.data.labels, inputs)}

    def _run(self) -> ModelRun:
        self._check_data(self.model)
        run = ModelRun(self.model, self.options.threads)
        require_inputs(self.data, run)
        return run

    def _check_data(self, model: Model) -> None:
        if isinstance(self.data, Images):
            check_images(self.data, image_spec(model.proto, model.origin)[1], "the images")

    def _batch_size(self, *runs: ModelRun) -> int:
        fixed = [run.batch for run in runs if run.batch is not None]
        return min(fixed) if fixed else min(self.options.batch_size, rows_of(self.data))

    def _fed(self, run: ModelRun, columns: str = "values") -> Iterator[tuple[slice, Values, Values]]:
        for rows, feeds in batches_of(self.data, self.normalization, run.inputs, self._batch_size(run)):
            yield rows, feeds, run.outputs(feeds, columns)

    def _outputs(self, run: ModelRun, columns: str = "values") -> Iterator[tuple[slice, Values]]:
        for rows, _, outputs in self._fed(run, columns):
            yield rows, outputs

    def _step(self, done: int, figures: dict[str, str]) -> None:
        speed = {"img/s": f"{done / (time.perf_counter() - self.start):.0f}"}
        self.progress("evaluate", done / rows_of(self.data), {**figures, **speed})

    def _logits(self, outputs: Mapping[str, NDArray[Any]], run: ModelRun, rows: slice) -> NDArray[Any]:
        """The one output, (rows, classes); ModelError where it is no logits."""
        logits = self._only(outputs, run)
        if logits.ndim != 2:
            raise ModelError(
                f"{self.model.origin}: output {run.names[0]}: expected {rows.stop - rows.start} x classes, "
                f"got {sizes_text(logits.shape)}",
                _BATCH_HINT,
            )
        return logits

    def _only(self, outputs: Mapping[str, NDArray[Any]], run: ModelRun) -> NDArray[Any]:
        """The one output of floats, which are numbers."""
        if len(outputs) != 1:
            raise ModelError(
                f"{self.model.origin}: expected one output, got {len(outputs)} ({', '.join(outputs)})",
                "give --metric package.module:function, which gets all outputs",
            )
        (values,) = outputs.values()
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ModelError(
                f"{self.model.origin}: output {run.names[0]}: expected numbers, got NaN",
                "check --mean and --std, or train it again",
            )
        return values

    def _numbers(self, expected: str) -> NDArray[Any]:
        if self.data.labels is None:
            raise DataError(f"the data: expected {expected}, got none", "store them as y")
        return self.data.labels

    def _check_labels(self, truth: NDArray[np.int64], classes: int) -> None:
        if isinstance(self.data, Images):
            check_labels(self.data, classes)
        else:
            check_labels(Images(np.empty((len(truth), 1, 1, 1), np.uint8), truth), classes)


def _some(values: NDArray[Any]) -> str:
    return ", ".join(map(str, values[:5].tolist())) + (", ..." if len(values) > 5 else "")
