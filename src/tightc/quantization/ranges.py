"""What of a value's distribution int8 is to span: onnxruntime's own tools for it, on a few images."""

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
_QUANTISED_BINS = 128  # of what entropy compares it with: 127 magnitudes and zero


def spans(
    model: Model,
    values: Sequence[str],
    calibration: Calibration,
    options: QuantizeOptions,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """For each of the `values` the largest magnitude that int8 shall reach, 0 where it is always zero."""
    seen = _seen(model, values, calibration, progress)
    if options.calibration == "min-max":
        largest = dict.fromkeys(values, 0.0)
        for found in seen:
            for name in values:
                largest[name] = max(largest[name], float(np.abs(found[name]).max(initial=0)))
        return largest
    return _spans_of_histograms(seen, values, options, progress)


def _seen(
    model: Model, values: Sequence[str], calibration: Calibration, progress: Progress
) -> Iterator[Values]:
    """What the `values` are for each batch of images, the first half of the work."""
    probe = calibration.probe(model, values)
    batches = calibration.batches
    for done, found in enumerate(ordered_map(probe, batches), 1):
        yield found
        progress("quantize", done / len(batches) / 2, {"images": f"{batches[done - 1][1]:,}"})


def _spans_of_histograms(
    seen: Iterator[Values], values: Sequence[str], options: QuantizeOptions, progress: Progress
) -> dict[str, float]:
    """A collector for each value, so that it can be said how many are done: entropy takes seconds for each."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    method, percentile = options.calibration, options.percentile
    collectors = {
        name: HistogramCollector(method, True, _BINS, _QUANTISED_BINS, percentile, "same") for name in values
    }
    largest = {}
    with redirect_stdout(io.StringIO()):  # it says what it does
        for found in seen:
            for name, collector in collectors.items():
                collector.collect({name: np.asarray(found[name], np.float32)})
        for done, (name, collector) in enumerate(collectors.items(), 1):
            limits = collector.compute_collection_result()[name][:2]
            largest[name] = max(abs(float(limit)) for limit in limits)
            progress("quantize", (1 + done / len(collectors)) / 2, {"input": name})
    return largest
