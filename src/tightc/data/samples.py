"""Samples: arrays for the inputs of a network, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.config.input_spec import InputSpec
from tightc.errors import DataError

LABELS = ("y", "labels")

Array = NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """Arrays for the inputs of a network, by name, with one row per run of the network along the first axis.

    `labels`: one number or array of numbers per sample, None without. A sample is `parts` consecutive rows, such as the
    windows of a recording.
    """

    inputs: Mapping[str, Array]
    labels: Array | None = None
    parts: int = 1

    def __len__(self) -> int:
        """The number of samples."""
        return len(next(iter(self.inputs.values()))) // self.parts

    @property
    def rows(self) -> int:
        """The number of rows of each array."""
        return len(self) * self.parts

    def chosen(self, which: Array) -> Samples:
        """The samples at `which`: bools, or numbers of samples."""
        inputs = {}
        for name, array in self.inputs.items():
            by_sample = array.reshape(len(self), self.parts, *array.shape[1:])[which]
            inputs[name] = by_sample.reshape(-1, *array.shape[1:])
        return Samples(inputs, None if self.labels is None else self.labels[which], self.parts)


def samples_of(arrays: Mapping[str, Array], inputs: tuple[InputSpec, ...], origin: str) -> Samples:
    """The arrays of `inputs` among `arrays`, checked against them, with the labels `y` or `labels`, if there are any.

    An array of one axis more than its input holds several rows for each sample: (samples, rows, ...). DataError, naming
    `origin`, where the arrays do not fit.
    """
    missing = [spec for spec in inputs if spec.name not in arrays]
    if missing:
        raise DataError(
            f"{origin}: expected an array for each input of the network ({', '.join(spec.name for spec in inputs)}), "
            f"got {', '.join(arrays) or 'none'}",
            f"add {missing[0]}",
        )
    found = {spec.name: _of_input(np.asarray(arrays[spec.name]), spec, origin) for spec in inputs}
    first = next(iter(found))
    counts = {name: array.shape[:2] if parts else array.shape[:1] for name, (array, parts) in found.items()}
    odd = next((name for name in counts if counts[name] != counts[first]), None)
    if odd is not None:
        raise DataError(
            f"{origin}: expected as many samples of {odd} as of {first}, {_times(counts[first])}, "
            f"got {_times(counts[odd])}",
            "give the same number of each",
        )
    if 0 in counts[first] or not any(array.size for array, _ in found.values()):
        raise DataError(f"{origin}: expected samples, got none", "give arrays with samples")
    parts = counts[first][1] if len(counts[first]) == 2 else 1
    rows = {
        name: array.reshape(-1, *array.shape[2:]) if several else array
        for name, (array, several) in found.items()
    }
    names = {spec.name for spec in inputs}
    labels = next((arrays[name] for name in LABELS if name in arrays and name not in names), None)
    if labels is not None:
        labels = _labels(np.asarray(labels), counts[first][0], origin)
    return Samples(rows, labels, parts)


def integer_labels(samples: Samples, origin: str) -> NDArray[np.int64]:
    """The labels as class numbers, (samples,) int64; DataError where they are others, or there are none."""
    labels = samples.labels
    if labels is not None and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iub":
        found = "none" if labels is None else f"{labels.dtype} {labels.shape}"
        raise DataError(
            f"{origin}: expected one integer per sample as label, got {found}",
            "store the class numbers, from 0, as integers in y",
        )
    return labels.astype(np.int64)


def _of_input(array: Array, spec: InputSpec, origin: str) -> tuple[Array, bool]:
    """The array in the dtype of its input, and whether it has several rows per sample."""
    several = spec.sizes is not None and array.ndim == len(spec.sizes) + 1
    if not array.ndim or not spec.admits(array.shape[1:] if several else array.shape):
        raise DataError(
            f"{origin}: expected {spec}, samples first, got {' x '.join(map(str, array.shape)) or 'one number'}",
            f"correct the shape of {spec.name}",
        )
    wanted = np.dtype(spec.dtype)
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and wanted.kind != "f"):
        raise DataError(
            f"{origin}: expected {spec.dtype} for {spec.name}, got {array.dtype}",
            f"convert {spec.name} with astype",
        )
    converted = array.astype(wanted, copy=False)
    if wanted.kind == "f" and np.isnan(converted).any():
        row = int(np.flatnonzero(np.isnan(converted).reshape(len(converted), -1).any(axis=1))[0])
        raise DataError(f"{origin}: expected numbers for {spec.name}, got NaN in sample {row}", "remove it")
    limits = np.iinfo(wanted) if wanted.kind in "iu" else None
    if limits and array.size and (array.max() > limits.max or array.min() < limits.min):
        raise DataError(
            f"{origin}: expected {spec.dtype} for {spec.name}, got {array.dtype} values beyond it",
            "correct the values",
        )
    return np.ascontiguousarray(converted), several


def _labels(labels: Array, samples: int, origin: str) -> Array:
    if labels.dtype.kind not in "biuf" or not labels.ndim or len(labels) != samples:
        raise DataError(
            f"{origin}: expected one label per sample, {samples}, got {labels.dtype} {labels.shape}",
            "give one number or array of numbers per sample",
        )
    return labels


def _times(counts: tuple[int, ...]) -> str:
    return " x ".join(map(str, counts))
