"""A metric of the user's own, `package.module:function`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from tightc.data.function import imported_function, takes
from tightc.errors import DataError

Values = Mapping[str, NDArray[Any]]


def own_metric(metric: str, outputs: Values, labels: NDArray[Any] | None, inputs: Values) -> dict[str, float]:
    """What the function `metric` returns: a number, as `value`, or a mapping of names to numbers.

    It is called as `function(outputs, labels)`, or with the inputs too where it takes three. Outputs and inputs are an
    array where the network has one, else a mapping of names to arrays. DataError where the function fails.
    """
    with imported_function(metric) as function:
        given = (_one_or_all(outputs), labels, _one_or_all(inputs))
        found = function(*given) if takes(function, 3) else function(*given[:2])
        try:
            return (
                {str(name): float(value) for name, value in found.items()}
                if isinstance(found, Mapping)
                else {"value": float(found)}
            )
        except (TypeError, ValueError):
            raise DataError(
                f"{metric}: expected a number or a mapping of names to numbers, got a {type(found).__name__}",
                "return a float",
            ) from None


def _one_or_all(values: Values) -> NDArray[Any] | Values:
    return next(iter(values.values())) if len(values) == 1 else values
