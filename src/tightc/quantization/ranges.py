"""What of a value's distribution int8 is to span: onnxruntime's own tools for it, on a few images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout

import numpy as np

from tightc.calibration.hands import side_by_side
from tightc.calibration.images import Calibration
from tightc.model.file import Model
from tightc.quantization.options import QuantizeOptions

_BINS, _QUANTISED_BINS = (
    1024,
    128,
)  # of a histogram, and of what entropy compares it with: 127 magnitudes and zero


def spans(
    model: Model, values: Sequence[str], calibration: Calibration, options: QuantizeOptions
) -> dict[str, float]:
    """For each of the `values` the largest magnitude that int8 shall reach, 0 where it is always zero."""
    probe = calibration.probe(model, values)
    if options.calibration == "min-max":
        largest = dict.fromkeys(values, 0.0)
        for found in side_by_side(probe, calibration.batches):
            for name in values:
                largest[name] = max(largest[name], float(np.abs(found[name]).max(initial=0)))
        return largest
    from onnxruntime.quantization.calibrate import HistogramCollector

    collector = HistogramCollector(
        options.calibration, True, _BINS, _QUANTISED_BINS, options.percentile, "same"
    )
    with redirect_stdout(io.StringIO()):  # it says what it does
        for found in side_by_side(probe, calibration.batches):
            collector.collect({name: np.asarray(found[name], np.float32) for name in values})
        thresholds = collector.compute_collection_result()
    return {name: max(abs(float(limit)) for limit in thresholds[name][:2]) for name in values}
