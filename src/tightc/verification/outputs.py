"""The outputs of two models on the same inputs, by stock onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.model.file import Model
from tightc.model.layer_view.network_inputs import network_inputs
from tightc.model.runtime.session import create_session, ort_errors
from tightc.verification.options import HALF_TOLERANCE, TOLERANCE

Row = dict[str, Any]
Values = Mapping[str, NDArray[Any]]


def outputs_of(model: Model, feeds: Values) -> Values:
    """The outputs of one run of `model` on `feeds`, by name; ModelError where onnxruntime cannot run it."""
    names = [value.name for value in model.proto.graph.output]
    session = create_session(model.to_bytes(), model.origin)
    with ort_errors(model.origin, "onnxruntime cannot run it"):
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def feeds_for(other: Model, model: Model, feeds: Values) -> Values | None:
    """`feeds` of `model` by the names of the inputs of `other`; None where it takes other inputs.

    Inputs are matched by name, or in order where the names differ.
    """
    mine, others = network_inputs(model.proto, model.origin), network_inputs(other.proto, other.origin)
    if len(mine) != len(others):
        return None
    if {spec.name for spec in mine} != {spec.name for spec in others}:
        feeds = {two.name: feeds[one.name] for one, two in zip(mine, others, strict=True)}
    fits = all(
        spec.admits(feeds[spec.name].shape) and feeds[spec.name].dtype == np.dtype(spec.dtype)
        for spec in others
    )
    return feeds if fits else None


def output_rows(a: Values, b: Values, tolerance: float | None) -> Iterator[Row]:
    """A row for each output of either run: by name, or in order where the names differ."""
    if a.keys() != b.keys() and len(a) == len(b):
        b = dict(zip(a, b.values(), strict=True))
    for name in dict.fromkeys((*a, *b)):
        if name in a and name in b:
            yield _row(name, a[name], b[name], tolerance)
        else:
            found = a.get(name, b.get(name))
            yield _failed(name, found, f"only in {'a' if name in a else 'b'}")


def _row(name: str, a: Any, b: Any, tolerance: float | None) -> Row:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):  # a sequence or a map
        return _failed(name, a, None if repr(a) == repr(b) else "other values")
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        texts = (f"{array.dtype.name} {'x'.join(map(str, array.shape))}" for array in (a, b))
        return _failed(name, a, " in a, ".join(texts) + " in b")
    differing = int(np.count_nonzero((a != b) & ~((a != a) & (b != b))))
    if a.dtype.kind not in "fV":
        return _filled(name, a, differing, None, "other values" if differing else None)
    error = output_error(a, b)
    permitted = _tolerance(a.dtype) if tolerance is None else tolerance
    reason = None
    if error is None:
        reason = "NaN or infinity in one of them"
    elif a.size and not np.isfinite(a.astype(np.float64)).any():
        reason = "no finite value in either, so nothing was compared; give --inputs"
    elif error > permitted:
        reason = f"an error of {error:.1e}, above the tolerance {permitted:g}"
    return _filled(name, a, differing, error, reason)


def output_error(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """The largest difference / the largest magnitude in `a`; the difference itself where all of `a` is 0.

    None where NaN or infinity is in one of them, or of another sign.
    """
    before, after = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(before) & np.isfinite(after)
    if not np.array_equal(before[~finite], after[~finite], equal_nan=True):
        return None
    before, after = before[finite], after[finite]
    if not before.size:
        return 0.0
    scale = float(np.abs(before).max())
    return float(np.abs(before - after).max()) / (scale or 1.0)


def _tolerance(dtype: np.dtype[Any]) -> float:
    return HALF_TOLERANCE if dtype.itemsize <= 2 else TOLERANCE


def _failed(name: str, values: Any, reason: str | None) -> Row:
    return _filled(name, values, None, None, reason)


def _filled(name: str, values: Any, differing: int | None, error: float | None, reason: str | None) -> Row:
    is_array = isinstance(values, np.ndarray)
    return {
        "name": name,
        "kind": "output",
        "type": values.dtype.name if is_array else type(values).__name__,
        "values": values.size if is_array else None,
        "differing": differing,
        "largest_difference": None,
        "error": error,
        "result": "ok" if reason is None else "failed",
        "reason": reason,
    }
