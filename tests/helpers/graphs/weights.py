"""The forms in which a file holds a weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from helpers.graphs.network import Array, Network


@dataclass(frozen=True)
class Shape:
    """The shape of a weight, the terms of one output, and the axis over filters."""

    sides: tuple[int, ...]
    terms: int
    filters: int = 0


Form = Callable[[Network, Array, Shape], str]


def weight(net: Network, shape: Shape, dtype: np.dtype[Any]) -> str:
    """A new weight of `shape`: the name of the value that a layer reads."""
    forms = [name for name, (fits, _) in FORMS.items() if fits(net, dtype)]
    form = net.choose(forms)
    array = net.random(shape.sides, dtype, 1 / sqrt(shape.terms))
    if net.choose([False, False, True]):
        array = np.where(net.rng.random(shape.sides) < 0.5, array, 0).astype(dtype)
    name = FORMS[form][1](net, array, shape)
    net.weights[name] = shape.sides
    net.note(f"weight: {form}")
    return name


def shared(net: Network, fits: Callable[[tuple[int, ...]], bool], dtype: np.dtype[Any]) -> str:
    """An earlier weight whose shape fits, or empty."""
    names = [name for name, shape in net.weights.items() if fits(shape) and net.known[name].dtype == dtype]
    if not names or not net.flag():
        return ""
    net.note("weight: shared")
    return net.choose(names[::-1])


def _initializer(net: Network, array: Array, shape: Shape) -> str:
    return net.tensor(array, "w")


def _constant(net: Network, array: Array, shape: Shape) -> str:
    return net.add("Constant", [], value=numpy_helper.from_array(array))


def _cast(net: Network, array: Array, shape: Shape) -> str:
    other = np.float16 if array.dtype == np.float32 else np.float32
    to = helper.np_dtype_to_tensor_dtype(array.dtype)
    return net.add("Cast", [net.tensor(array.astype(other), "w")], to=to)


def _transpose(net: Network, array: Array, shape: Shape) -> str:
    order = tuple(range(array.ndim))[::-1]
    return net.add("Transpose", [net.tensor(np.ascontiguousarray(array.T), "w")], perm=order)


def _reshape(net: Network, array: Array, shape: Shape) -> str:
    return net.add("Reshape", [net.tensor(array.reshape(-1), "w"), net.integers(*array.shape)])


def _product(net: Network, array: Array, shape: Shape) -> str:
    mask = (net.rng.random(array.shape) < 0.6).astype(array.dtype)
    return net.add("Mul", [net.tensor(array, "w"), net.tensor(mask, "mask")])


def _identity(net: Network, array: Array, shape: Shape) -> str:
    return net.add("Identity", [net.tensor(array, "w")])


def _fill(net: Network, array: Array, shape: Shape) -> str:
    value = helper.make_tensor("value", helper.np_dtype_to_tensor_dtype(array.dtype), [1], [0.25])
    return net.add("ConstantOfShape", [net.integers(*array.shape)], value=value)


def _sparse(net: Network, array: Array, shape: Shape) -> str:
    name = net.name("w")
    array = np.where(net.rng.random(array.shape) < 0.5, array, 0).astype(array.dtype)
    places = np.flatnonzero(array)
    if net.flag():
        indices = np.stack(np.unravel_index(places, array.shape), 1).astype(np.int64)
    else:
        indices = places.astype(np.int64)
    net.sparse[name] = helper.make_sparse_tensor(
        helper.make_tensor(name, TensorProto.FLOAT, [len(places)], array.reshape(-1)[places]),
        helper.make_tensor("", TensorProto.INT64, indices.shape, indices.reshape(-1)),
        array.shape,
    )
    net.known[name] = array
    return name


def _listed(net: Network, array: Array, shape: Shape) -> str:
    name = net.tensor(array, "w")
    net.listed.append(name)
    return name


def _scales(net: Network, array: Array, axis: int) -> tuple[Array, dict[str, int]]:
    """A scale, or one for each filter, and the attributes that say which."""
    if net.opset < 13 or not net.flag():
        return np.float32(np.abs(array).max(initial=0.01) / 120), {}
    others = tuple(place for place in range(array.ndim) if place != axis)
    return (np.abs(array).max(axis=others, initial=0.01) / 120).astype(np.float32), {"axis": axis}


def _dequantized(net: Network, array: Array, shape: Shape) -> str:
    kind, zero = net.choose([("int8", 0), ("uint8", 128), ("int8", 5), ("uint8", 100)])
    scale, settings = _scales(net, array, shape.filters)
    spread = scale.reshape([-1 if axis == shape.filters else 1 for axis in range(array.ndim)])
    limits = np.iinfo(kind)
    integers = np.clip(np.rint(array / (spread if scale.ndim else scale)) + zero, limits.min, limits.max)
    inputs = [net.tensor(integers.astype(kind), "q"), net.tensor(scale, "s")]
    if zero or net.flag():
        inputs.append(net.tensor(np.full(scale.shape, zero, kind), "z"))
    net.note(f"weight: dequantized {kind}, {'per filter' if settings else 'per tensor'}")
    return net.add("DequantizeLinear", inputs, **settings)


def _fake_quantized(net: Network, array: Array, shape: Shape) -> str:
    scale, settings = _scales(net, array, shape.filters)
    rest = [net.tensor(scale, "s"), net.tensor(np.zeros(scale.shape, np.int8), "z")]
    integers = net.add("QuantizeLinear", [net.tensor(array, "w"), *rest], **settings)
    return net.add("DequantizeLinear", [integers, *rest], **settings)


def _always(net: Network, dtype: np.dtype[Any]) -> bool:
    return True


def _float32_from(opset: int) -> Callable[[Network, np.dtype[Any]], bool]:
    return lambda net, dtype: dtype == np.float32 and net.opset >= opset


FORMS: dict[str, tuple[Callable[[Network, np.dtype[Any]], bool], Form]] = {
    "initializer": (_always, _initializer),
    "Constant node": (_always, _constant),
    "Identity": (_always, _identity),
    "Cast": (_always, _cast),
    "Transpose": (_always, _transpose),
    "Reshape": (_always, _reshape),
    "Mul": (_always, _product),
    "ConstantOfShape": (lambda net, dtype: net.opset >= 9, _fill),
    "listed as an input": (_always, _listed),
    "sparse": (_float32_from(11), _sparse),
    "dequantized": (_float32_from(10), _dequantized),
    "quantized and dequantized": (_float32_from(10), _fake_quantized),
}


def terms(*sides: int) -> int:
    return max(1, prod(sides))
