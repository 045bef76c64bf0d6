"""Activation ranges: which part of a value's distribution int8 covers, by onnxruntime's calibration on a few images."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout

import numpy as np

from tightc.calibration.calibration import Calibration, Values
from tightc.model.file import Model
from tightc.parallel import ordered_map
from tightc.progress import Progress, no_progress
from tightc.quantization.options import QuantizeOptions

_BINS = 1024  # of a histogram
_QUANTIZED_BINS = 128  # of the distribution that entropy compares with: 127 magnitudes and zero


def activation_ranges(
    model: Model,
    values: Sequence[str],
    calibration: Calibration,
    options: QuantizeOptions,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """The largest magnitude that int8 represents, for each of the named `values`; 0 if it is always zero.

    `model` computes the values on the images of `calibration`; `options` name the method; `progress` is called after
    each batch and value.
    """
    batches = _activations(model, values, calibration, progress)
    if options.calibration == "min-max":
        largest = dict.fromkeys(values, 0.0)
        for found in batches:
            for name in values:
                largest[name] = max(largest[name], float(np.abs(found[name]).max(initial=0)))
        return largest
    return _ranges_of_histograms(batches, values, options, progress)


def _activations(
    model: Model, values: Sequence[str], calibration: Calibration, progress: Progress
) -> Iterator[Values]:
    """The `values` for each batch of images; reports the first half of the progress."""
    probe = calibration.probe(model, values)
    batches = calibration.batches
    for done, found in enumerate(ordered_map(probe, batches), 1):
        yield found
        progress("quantize", done / len(batches) / 2, {"images": f"{batches[done - 1].stop:,}"})


def _ranges_of_histograms(
    batches: Iterator[Values], values: Sequence[str], options: QuantizeOptions, progress: Progress
) -> dict[str, float]:
    """One collector per value, so that progress is reported per value: entropy takes seconds for each."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    method, percentile = options.calibration, options.percentile
    collectors = {
        name: HistogramCollector(
            method=method,
            symmetric=True,
            num_bins=_BINS,
            num_quantized_bins=_QUANTIZED_BINS,
            percentile=percentile,
            scenario="same",
        )
        for name in values
    }
    largest = {}
    with redirect_stdout(io.StringIO()):  # the collector prints
        for found in batches:
            for name, collector in collectors.items():
                collector.collect({name: np.asarray(found[name], np.float32)})
        for done, (name, collector) in enumerate(collectors.items(), 1):
            limits = collector.compute_collection_result()[name][:2]
            largest[name] = max(abs(float(limit)) for limit in limits)
            progress("quantize", (1 + done / len(collectors)) / 2, {"input": name})
    return largest
