"""What follows a layer up to the next: factors, bounds, a pool, and the quantization of its outputs."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Array, Graph, Node
from tightc.model.onnx_proto.weight_operators import WEIGHT_OPERATORS
from tightc.rtl.fixed_point import FixedPoint, fixed_point

# of fixed-point forms: 31 bits of a multiplier, and sums in 64 bits with up to 46 behind the point
_LARGEST_FACTOR, _LARGEST_ADDEND = 2.0**30, 2.0**15
# of a QuantizeLinear without a zero point, by its attribute output_dtype; 0 where that is left out
_OUTPUT_TYPES = {
    0: np.dtype(np.uint8),
    TensorProto.UINT8: np.dtype(np.uint8),
    TensorProto.INT8: np.dtype(np.int8),
}
_RESHAPING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_UNCHANGED = ("Identity", "Dropout")


@dataclass(frozen=True)
class Pool:
    """A pool between two layers: `kind` is "none", "max" or "mean"; sides are (y, x), None for the whole map."""

    kind: str = "none"
    kernel: tuple[int, int] | None = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)


NO_POOL = Pool()


@dataclass(frozen=True)
class Quantization:
    """The scale and zero point of a quantized tensor, and whether its bytes are unsigned."""

    scale: float
    zero_point: int
    unsigned: bool

    @property
    def shift(self) -> int:
        """What is taken from unsigned bytes to make them signed."""
        return 128 if self.unsigned else 0


@dataclass(frozen=True)
class OutputPath:
    """The way from the sums of a layer to the quantized tensors that later layers may read.

    Real outputs = sums x scale x `factor` + `addend`, (filters,), cut to `low`..`high`. `real`: the name of the float
    value before the pool, or of the quantized one where the operator requantizes. `quantization`: None where nothing
    quantizes. `names`: the quantized tensors, each with the pool before it. `is_reshaped`: whether the axes are no
    longer those of the layer's outputs, so that constants and pools mean something else.
    """

    factor: NDArray[np.float64]
    addend: NDArray[np.float64]
    real: str
    low: float = -np.inf
    high: float = np.inf
    pool: Pool = NO_POOL
    quantization: Quantization | None = None
    names: Mapping[str, Pool] = field(default_factory=dict)
    is_reshaped: bool = False

    def representable(self, scale: NDArray[np.float64]) -> OutputPath:
        """This path, without its quantization where that has no fixed-point form for products of `scale`."""
        if self.quantization is None:
            return self
        step = self.quantization.scale
        with np.errstate(all="ignore"):
            factor, addend = np.abs(scale * self.factor / step), np.abs(self.addend / step)
        fits = step > 0 and bool((factor < _LARGEST_FACTOR).all() and (addend < _LARGEST_ADDEND).all())
        return self if fits else replace(self, quantization=None, names={})

    def requantization(self, scale: NDArray[np.float64]) -> FixedPoint:
        """The fixed-point form for sums whose products have `scale`, (filters,)."""
        if self.quantization is None:
            nothing = np.zeros(len(scale))
            return fixed_point(nothing, nothing, -128, 127)
        step, shift = self.quantization.scale, self.quantization.shift
        zero_point = self.quantization.zero_point - shift
        low, high = (
            int(np.clip(np.rint(bound / step) + zero_point, -128, 127)) for bound in (self.low, self.high)
        )
        return fixed_point(scale * self.factor / step, self.addend / step + zero_point, low, high)


def output_path(layer: Layer, node: Node, graph: Graph, consumers: Mapping[str, list[Node]]) -> OutputPath:
    """The way from `layer`, the `node`, as far as it is known how to follow it."""
    path = _own_path(layer, node, graph)
    if path is None:
        nothing = np.zeros(layer.filters)
        return OutputPath(nothing, nothing, layer.output)
    value = layer.output
    while path.quantization is None:
        readers = consumers.get(value, [])
        chosen = next((reader for reader in readers if reader.op == "QuantizeLinear"), None)
        if chosen is None and len(readers) != 1:
            return path
        step = _followed(path, chosen or readers[0], value, layer, graph)
        if step is None:
            return path
        path, value = step, (chosen or readers[0]).outputs[0]
    return replace(path, names=_names_from(path, value, layer, graph, consumers))


def _own_path(layer: Layer, node: Node, graph: Graph) -> OutputPath | None:
    """The path with the bias and factors of the operator itself; None where its output is not followed."""
    operator = WEIGHT_OPERATORS[node.op]
    if layer.weight_is_left or layer.op == "ConvTranspose":
        return None
    ones, zeros = np.ones(layer.filters), np.zeros(layer.filters)
    place = operator.bias
    name = node.inputs[place] if place is not None and place < len(node.inputs) else ""
    bias = _per_filter(graph, name, layer, is_bias=True) if name else zeros
    if bias is None:
        return None
    if operator.is_integer:
        if operator.output is None:
            return OutputPath(ones, zeros, layer.output)
        return _requantized(layer, node, graph, bias)
    factor = float(node.attributes.get("alpha", 1.0)) if layer.op == "Gemm" else 1.0
    addend = bias * (float(node.attributes.get("beta", 1.0)) if layer.op == "Gemm" else 1.0)
    return OutputPath(ones * factor, addend, layer.output)


def _requantized(layer: Layer, node: Node, graph: Graph, bias: NDArray[np.float64]) -> OutputPath | None:
    """The path of an operator that quantizes its own output; its bias is in units of the products."""
    operator = WEIGHT_OPERATORS[node.op]
    assert operator.output is not None
    quantization = _quantization(graph, node, *operator.output)
    if quantization is None:
        return None
    factor = float(node.attributes.get("alpha", 1.0))
    scales = [_scales(graph, node.inputs[place], layer) for place in operator.scales.values()]
    if any(scale is None for scale in scales):
        return None
    addend = bias * factor * np.prod([scale for scale in scales if scale is not None], axis=0)
    ones = np.ones(layer.filters)
    return OutputPath(ones * factor, addend, layer.output, quantization=quantization)


def _followed(path: OutputPath, node: Node, value: str, layer: Layer, graph: Graph) -> OutputPath | None:
    """`path` with the `node` that reads `value`; None where the node is none of those that can be followed."""
    output = node.outputs[0]
    if node.op == "QuantizeLinear":
        quantization = _quantization(graph, node, 1, 2) if node.inputs[0] == value else None
        return None if quantization is None else replace(path, quantization=quantization)
    if node.op in _UNCHANGED:
        return path
    if node.op in _RESHAPING:
        return replace(path, is_reshaped=True)
    if path.is_reshaped:
        return None
    if node.op in ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean"):
        pool = _pool(node, graph, layer)
        is_mean = pool is not None and pool.kind == "mean"
        # the testbench takes the mean of what is not negative and not cut from above
        unfit = pool is None or path.pool.kind != "none" or (is_mean and (path.low, path.high) != (0, np.inf))
        return None if unfit or pool is None else replace(path, pool=pool)
    if path.pool.kind != "none":
        return None
    path = replace(path, real=output)
    if node.op in ("Relu", "Clip"):
        return _bounded(path, node, graph)
    if np.isfinite((path.low, path.high)).any():
        return None
    return _scaled(path, node, value, layer, graph)


def _bounded(path: OutputPath, node: Node, graph: Graph) -> OutputPath | None:
    if node.op == "Relu":
        return replace(path, low=max(path.low, 0.0))
    bounds: list[float] = []
    for place, default in ((1, -np.inf), (2, np.inf)):
        name = node.inputs[place] if place < len(node.inputs) else ""
        if name and name not in graph.tensors:
            return None
        bounds.append(float(graph.tensors[name].reshape(-1)[0]) if name else default)
    low = float(node.attributes.get("min", bounds[0]))
    high = float(node.attributes.get("max", bounds[1]))
    return replace(path, low=max(path.low, low), high=min(path.high, high))


def _scaled(path: OutputPath, node: Node, value: str, layer: Layer, graph: Graph) -> OutputPath | None:
    """`path` with a BatchNormalization, or an addition of or multiplication by constants."""
    if node.op == "BatchNormalization":
        if any(name not in graph.tensors for name in node.inputs[1:5]):
            return None
        gamma, beta, mean, variance = (graph.tensors[name].astype(np.float64) for name in node.inputs[1:5])
        factor = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
        return replace(path, factor=path.factor * factor, addend=(path.addend - mean) * factor + beta)
    if node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    left = node.inputs[0] == value
    constant = _per_filter(graph, node.inputs[1 if left else 0], layer, is_bias=False)
    if constant is None or (not left and node.op in ("Sub", "Div")):
        return None
    if node.op in ("Mul", "Div"):
        constant = constant if node.op == "Mul" else 1 / constant
        return replace(path, factor=path.factor * constant, addend=path.addend * constant)
    return replace(path, addend=path.addend + (constant if node.op == "Add" else -constant))


def _per_filter(graph: Graph, name: str, layer: Layer, *, is_bias: bool) -> NDArray[np.float64] | None:
    """The constant `name` for each filter, (filters,) float64; None where it is none or differs otherwise."""
    if name not in graph.tensors:
        return None
    constant: Array = graph.tensors[name].astype(np.float64)
    if constant.size == 1:
        return np.full(layer.filters, constant.reshape(-1)[0])
    shape = list(constant.shape)
    if not is_bias and layer.is_convolution:  # (..., filters, 1, 1), with a 1 for each axis of the kernel
        sides = len(graph.shape(layer.weight)) - 2
        if shape[-sides:] != [1] * sides or len(shape) == sides:
            return None
        shape = shape[:-sides]
    fits = constant.size == layer.filters and shape[-1] == layer.filters
    return constant.reshape(-1) if fits else None


def _scales(graph: Graph, name: str, layer: Layer) -> NDArray[np.float64] | None:
    if name not in graph.tensors:
        return None
    scale = graph.tensors[name].astype(np.float64).reshape(-1)
    return np.broadcast_to(scale, layer.filters) if scale.size in (1, layer.filters) else None


def _quantization(graph: Graph, node: Node, scale: int, zero_point: int) -> Quantization | None:
    """The quantization by the constants at two places of the inputs of `node`; None where it is not to bytes."""
    names = [node.inputs[place] if place < len(node.inputs) else "" for place in (scale, zero_point)]
    if any(name and (name not in graph.tensors or graph.tensors[name].size != 1) for name in names):
        return None
    default = _OUTPUT_TYPES.get(node.attributes.get("output_dtype", 0))
    dtype = graph.tensors[names[1]].dtype if names[1] else default
    if not names[0] or dtype not in (np.int8, np.uint8):
        return None
    zero = int(graph.tensors[names[1]].reshape(-1)[0]) if names[1] else 0
    return Quantization(float(graph.tensors[names[0]].reshape(-1)[0]), zero, bool(dtype == np.uint8))


def _pool(node: Node, graph: Graph, layer: Layer) -> Pool | None:
    """The pool of `node` over two axes; None where its form is not known to the testbench."""
    if not layer.is_convolution:
        return None
    if node.op in ("GlobalAveragePool", "GlobalMaxPool"):
        return Pool("mean" if node.op == "GlobalAveragePool" else "max", None)
    if node.op == "ReduceMean":
        axes: Any = node.attributes.get("axes")
        if axes is None and len(node.inputs) > 1 and node.inputs[1] in graph.tensors:
            axes = graph.tensors[node.inputs[1]].tolist()
        return Pool("mean", None) if axes is not None and sorted(axes) in ([2, 3], [-2, -1]) else None
    kernel = tuple(node.attributes.get("kernel_shape", ()))
    strides = tuple(node.attributes.get("strides", ())) or (1,) * len(kernel)
    pads = tuple(node.attributes.get("pads", ())) or (0,) * 2 * len(kernel)
    plain = set(node.attributes.get("dilations", ())) <= {1} and not node.attributes.get("ceil_mode", 0)
    if (
        len(kernel) != 2
        or not plain
        or node.attributes.get("auto_pad", "NOTSET") != "NOTSET"
        or len(node.outputs) > 1
    ):
        return None
    if node.op == "AveragePool" and (any(pads) and node.attributes.get("count_include_pad", 0)):
        return None
    kind = "max" if node.op == "MaxPool" else "mean"
    return Pool(kind, (kernel[0], kernel[1]), (strides[0], strides[1]), (pads[0], pads[1]))


def _names_from(
    path: OutputPath, name: str, layer: Layer, graph: Graph, consumers: Mapping[str, list[Node]]
) -> dict[str, Pool]:
    """The quantized tensors that hold the outputs, each with the pool before it.

    They may be reshaped, and go through one MaxPool: as bytes, or as real numbers that are quantized again by the same
    scale.
    """
    found, pending = {}, [(name, path.pool, True, path.is_reshaped)]
    while pending:
        name, pool, is_quantized, is_reshaped = pending.pop()
        if is_quantized:
            found[name] = pool
        for node in consumers.get(name, []):
            after = pool
            if node.op == "MaxPool":
                own = _pool(node, graph, layer)
                if own is None or pool.kind != "none" or is_reshaped:
                    continue
                after = own
            elif node.op in ("DequantizeLinear", "QuantizeLinear"):
                if (node.op == "DequantizeLinear") != is_quantized or node.inputs[0] != name:
                    continue
                if _quantization(graph, node, 1, 2) != path.quantization:
                    continue
            elif node.op not in (*_RESHAPING, *_UNCHANGED):
                continue
            becomes = {"DequantizeLinear": False, "QuantizeLinear": True}.get(node.op, is_quantized)
            pending.append((node.outputs[0], after, becomes, is_reshaped or node.op in _RESHAPING))
    return found


def with_dequantized_lists(graph: Graph) -> Graph:
    """`graph` with the lists that DequantizeLinear makes of constants, such as biases, as constants."""
    found: dict[str, Array] = {}
    for node in graph.nodes:
        names = [name for name in node.inputs if name]
        if node.op != "DequantizeLinear" or any(name not in graph.tensors for name in names):
            continue
        if len(names) < 2 or any(len(graph.shape(name)) > 1 for name in names):
            continue
        values, scale, *zero = (graph.tensors[name].astype(np.float64) for name in names)
        found[node.outputs[0]] = (values - (zero[0] if zero else 0.0)) * scale
    return replace(graph, tensors=ChainMap(found, graph.tensors)) if found else graph  # type: ignore[arg-type]
