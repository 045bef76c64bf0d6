"""Layers: operators that multiply by a constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.graphs.network import Network, Value
from helpers.graphs.weights import Shape, shared, terms, weight


def divisors(count: int) -> list[int]:
    return [one for one in range(1, count + 1) if count % one == 0]


def _extents(net: Network, x: Value, kernel: tuple[int, ...]) -> dict[str, Any]:
    """Strides, dilations and pads for a window of `kernel` on `x`; none of them, first."""
    settings: dict[str, Any] = {}
    sides = x.shape[2:]
    if net.flag():
        settings["strides"] = [net.choose([1, 2, 3]) for _ in kernel]
    mode = net.choose(["", "pads", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
    if mode == "pads":
        settings["pads"] = [net.number(0, max(0, size - 1)) for size in (*kernel, *kernel)]
    elif mode:
        settings["auto_pad"] = mode
        net.note(f"auto_pad: {mode}")
    if not mode.startswith("SAME") and net.flag():
        room = [
            [step for step in (1, 2) if (size - 1) * step < side]
            for size, side in zip(kernel, sides, strict=True)
        ]
        settings["dilations"] = [net.choose(steps or [1]) for steps in room]
    if net.flag():
        settings["kernel_shape"] = kernel
    return settings


def _kernel(net: Network, x: Value) -> tuple[int, ...]:
    return tuple(net.choose([size for size in (1, 3, 2) if size <= side]) for side in x.shape[2:])


def _with_bias(net: Network, x: Value, inputs: list[str], filters: int) -> list[str]:
    if net.flag():
        inputs.append(net.tensor(net.random((filters,), x.array.dtype, 0.5), "b"))
    return inputs


def conv(net: Network, x: Value) -> list[str]:
    channels, sides = x.shape[1], x.shape[2:]

    def fits(shape: tuple[int, ...]) -> bool:
        groups, rest = divmod(channels, shape[1]) if len(shape) == x.rank else (0, 1)
        within = all(size <= side for size, side in zip(shape[2:], sides, strict=False))
        return rest == 0 and shape[0] % groups == 0 and within

    name = shared(net, fits, x.array.dtype)
    if not name:
        groups = net.choose(divisors(channels))
        each = channels // groups
        kernel = _kernel(net, x)
        shape = (groups * net.choose([1, 2, 3, 4]), each, *kernel)
        name = weight(net, Shape(shape, terms(each, *kernel)), x.array.dtype)
    shape = net.known[name].shape
    settings = _extents(net, x, shape[2:])
    groups = channels // shape[1]
    if groups > 1:
        settings["group"] = groups
        net.note("group: depthwise" if shape[1] == 1 else "group: several")
    net.note(f"Conv: {x.rank - 2}-D")
    return [net.add("Conv", _with_bias(net, x, [x.name, name], shape[0]), **settings)]


def conv_transpose(net: Network, x: Value) -> list[str]:
    channels = x.shape[1]
    groups = net.choose(divisors(channels))
    filters = net.choose([1, 2, 3])
    kernel = tuple(net.choose([1, 2, 3]) for _ in x.shape[2:])
    terms_each = terms(channels // groups, *kernel)
    name = weight(net, Shape((channels, filters, *kernel), terms_each, 1), x.array.dtype)
    settings: dict[str, Any] = {"strides": [net.choose([1, 2, 3]) for _ in kernel]}
    mode = net.choose(["", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if mode == "pads":
        settings["pads"] = [net.number(0, (size - 1) // 2) for size in (*kernel, *kernel)]
    elif mode:
        settings["auto_pad"] = mode
    if not mode.startswith("SAME") and net.flag():
        settings["output_padding"] = [net.number(0, stride - 1) for stride in settings["strides"]]
        if any(settings["output_padding"]):
            net.note("output_padding")
    if not mode.startswith("SAME") and net.flag():
        settings["dilations"] = [net.choose([1, 2]) for _ in kernel]
    if groups > 1:
        settings["group"] = groups
        net.note("ConvTranspose: groups")
    inputs = _with_bias(net, x, [x.name, name], filters * groups)
    return [net.add("ConvTranspose", inputs, **settings)]


def _added(net: Network, rows: int, columns: int, dtype: Any) -> list[str]:
    """What a Gemm adds: nothing, or a tensor that is broadcast to its output."""
    shapes: list[tuple[int, ...] | None] = [(columns,), (rows, columns), (1, columns), (rows, 1), (1,), ()]
    if net.opset >= 11:
        shapes.insert(0, None)
    shape = net.choose(shapes)
    return [] if shape is None else [net.tensor(net.random(shape, dtype, 0.5), "c")]


def _factors(net: Network) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if net.flag():
        settings["alpha"] = net.choose([0.5, 1.0, -1.5])
    if net.flag():
        settings["beta"] = net.choose([2.0, 1.0, 0.0])
    if settings:
        net.note("Gemm: alpha or beta")
    return settings


def gemm(net: Network, x: Value) -> list[str]:
    of_x, of_weight = net.choose([0, 1]), net.choose([1, 0])
    rows, inputs = x.shape[::-1] if of_x else x.shape
    name = shared(
        net, lambda shape: len(shape) == 2 and shape[1 if of_weight else 0] == inputs, x.array.dtype
    )
    if not name:
        filters = net.number(1, 6)
        sides = (filters, inputs) if of_weight else (inputs, filters)
        name = weight(net, Shape(sides, inputs, 0 if of_weight else 1), x.array.dtype)
    filters = net.known[name].shape[0 if of_weight else 1]
    settings = _factors(net) | ({"transA": 1} if of_x else {}) | ({"transB": 1} if of_weight else {})
    if of_x:
        net.note("Gemm: transA")
    return [net.add("Gemm", [x.name, name, *_added(net, rows, filters, x.array.dtype)], **settings)]


def gemm_left(net: Network, x: Value) -> list[str]:
    """The weight is A."""
    of_weight, of_x = net.choose([0, 1]), net.choose([0, 1])
    inputs, columns = x.shape[::-1] if of_x else x.shape
    filters = net.number(1, 6)
    sides = (inputs, filters) if of_weight else (filters, inputs)
    name = weight(net, Shape(sides, inputs, 1 if of_weight else 0), x.array.dtype)
    settings = _factors(net) | ({"transA": 1} if of_weight else {}) | ({"transB": 1} if of_x else {})
    net.note("Gemm: constant A")
    return [net.add("Gemm", [name, x.name, *_added(net, filters, columns, x.array.dtype)], **settings)]


def matmul(net: Network, x: Value) -> list[str]:
    inputs = x.shape[-1]
    name = shared(net, lambda shape: len(shape) == 2 and shape[0] == inputs, x.array.dtype)
    if not name:
        form = net.choose(["matrix", "vector", "stack"])
        sides: tuple[int, ...] = (inputs,)
        if form != "vector":
            sides = (inputs, net.number(1, 6))
        if form == "stack":
            sides = (*(net.choose([size, 1]) for size in (x.shape[:-2] or (2,))), *sides)
        name = weight(net, Shape(sides, inputs, max(0, len(sides) - 1)), x.array.dtype)
        net.note(f"MatMul: {form}")
    return [net.add("MatMul", [x.name, name])]


def matmul_left(net: Network, x: Value) -> list[str]:
    """The weight is the left operand."""
    inputs = x.shape[-2]
    form = net.choose(["matrix", "vector", "stack"])
    sides: tuple[int, ...] = (inputs,) if form == "vector" else (net.number(1, 6), inputs)
    if form == "stack":
        sides = (*(x.shape[:-2] or (2,)), *sides)
    name = weight(net, Shape(sides, inputs, max(0, len(sides) - 2)), x.array.dtype)
    net.note(f"MatMul: constant left {form}")
    return [net.add("MatMul", [name, x.name])]


def square(net: Network, x: Value) -> list[str]:
    """A layer whose output has the shape of its input."""
    if x.rank < 3:
        sides = (x.shape[-1], x.shape[-1])
        return [net.add("MatMul", [x.name, weight(net, Shape(sides, sides[0], 1), x.array.dtype)])]
    kernel = tuple(3 for _ in x.shape[2:])
    channels = x.shape[1]
    name = weight(net, Shape((channels, channels, *kernel), terms(channels, *kernel)), x.array.dtype)
    return [net.add("Conv", _with_bias(net, x, [x.name, name], channels), pads=[1] * 2 * len(kernel))]


# --- integers


def _quantized(net: Network, x: Value, kind: str) -> list[str]:
    """`x` as integers, their scale and zero point."""
    scale = np.float32(np.abs(x.array).max(initial=0.01) / 100)
    zero = net.choose([0, 7]) + (128 if kind == "uint8" else 0)
    rest = [net.tensor(scale, "s"), net.tensor(np.array(zero, kind), "z")]
    return [net.add("QuantizeLinear", [x.name, *rest]), *rest]


def fake_quantize(net: Network, x: Value) -> list[str]:
    kind = net.choose(["int8", "uint8"])
    return [net.add("DequantizeLinear", _quantized(net, x, kind))]


def _integer_weight(net: Network, sides: tuple[int, ...], kind: str) -> tuple[str, int]:
    """Integers and their zero point."""
    zero = net.choose([0, 3]) + (128 if kind == "uint8" else 0)
    values = np.rint(net.rng.normal(size=sides) * 40 + zero)
    limits = np.iinfo(kind)
    net.note(f"integer weight: {kind}")
    return net.tensor(np.clip(values, limits.min, limits.max).astype(kind), "q"), zero


def qlinear_conv(net: Network, x: Value) -> list[str]:
    groups = net.choose(divisors(x.shape[1]))
    kernel = _kernel(net, x)
    shape = (groups * net.choose([1, 2, 3]), x.shape[1] // groups, *kernel)
    kind, of_weight = net.choose([("uint8", "int8"), ("uint8", "uint8"), ("int8", "int8")])
    name, zero = _integer_weight(net, shape, kind=of_weight)
    each: tuple[int, ...] = shape[:1] if net.flag() else ()
    scales = np.linspace(1, 2, shape[0]) / 60 if each else np.array(1 / 60)
    scale = net.tensor(scales.astype(np.float32), "s")
    x_scale = np.abs(x.array).max(initial=0.01) / 100
    out = [net.tensor(np.float32(x_scale * 2), "s"), net.tensor(np.array(12, kind), "z")]
    inputs = [*_quantized(net, x, kind), name, scale, net.tensor(np.full(each, zero, of_weight), "z"), *out]
    if net.flag():
        inputs.append(net.tensor(net.rng.integers(-50, 50, shape[:1]).astype(np.int32), "b"))
    settings = _extents(net, x, kernel)
    if groups > 1:
        settings["group"] = groups
    return [net.add("DequantizeLinear", [net.add("QLinearConv", inputs, **settings), *out])]


def conv_integer(net: Network, x: Value) -> list[str]:
    groups = net.choose(divisors(x.shape[1]))
    kernel = _kernel(net, x)
    shape = (groups * net.choose([1, 2, 3]), x.shape[1] // groups, *kernel)
    name, zero = _integer_weight(net, shape, net.choose(["int8", "uint8"]))
    integers, scale, x_zero = _quantized(net, x, "uint8")
    settings = _extents(net, x, kernel)
    if groups > 1:
        settings["group"] = groups
    zeros = net.tensor(np.array(zero, net.known[name].dtype), "z")
    sums = net.add("ConvInteger", [integers, name, x_zero, zeros], **settings)
    return [_scaled(net, sums, scale)]


def _scaled(net: Network, sums: str, scale: str) -> str:
    factor = net.tensor(np.float32(net.known[scale] / 60), "s")
    return net.add("Mul", [net.add("Cast", [sums], to=1), factor])


def matmul_integer(net: Network, x: Value) -> list[str]:
    name, zero = _integer_weight(net, (x.shape[-1], net.number(1, 5)), net.choose(["int8", "uint8"]))
    integers, scale, x_zero = _quantized(net, x, "uint8")
    zeros = net.tensor(np.array(zero, net.known[name].dtype), "z")
    return [_scaled(net, net.add("MatMulInteger", [integers, name, x_zero, zeros]), scale)]


def qlinear_matmul(net: Network, x: Value) -> list[str]:
    name, zero = _integer_weight(net, (x.shape[-1], net.number(1, 5)), net.choose(["int8", "uint8"]))
    kind = "uint8"
    x_scale = np.abs(x.array).max(initial=0.01) / 100
    out = [net.tensor(np.float32(x_scale * 2), "s"), net.tensor(np.array(120, kind), "z")]
    rest = [
        net.tensor(np.float32(1 / 60), "s"),
        net.tensor(np.array(zero, net.known[name].dtype), "z"),
    ]
    product = net.add("QLinearMatMul", [*_quantized(net, x, kind), name, *rest, *out])
    return [net.add("DequantizeLinear", [product, *out])]
