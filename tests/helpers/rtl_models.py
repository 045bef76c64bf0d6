"""Small networks with int8 operands, for the RTL; nothing is imported from tightc."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, parser, shape_inference

from helpers.models import IR, OPSET

Weights = dict[str, np.ndarray]


def graph(text: str, opset: int = OPSET, **tensors: Any) -> onnx.ModelProto:
    """A model from `(inputs) => (outputs) {nodes}` and its initializers; shapes of outputs are inferred."""
    proto = parser.parse_model(f'<ir_version: {IR}, opset_import: ["" : {opset}]>\nnet {text}')
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    for name, tensor in tensors.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(tensor), name))
    inferred = shape_inference.infer_shapes(proto, strict_mode=True)
    onnx.checker.check_model(inferred, full_check=True)
    return inferred


def int8(*shape: int, density: float = 0.5, seed: int = 0, low: int = -127) -> np.ndarray:
    """Random weights from `low` to 127 with a fraction of about `density` non-zeros; the extremes occur."""
    rng = np.random.default_rng([seed, *shape])
    weights = rng.integers(low, 128, shape)
    weights[rng.random(shape) < 0.1] = low
    weights[rng.random(shape) < 0.1] = 127
    return (weights * (rng.random(shape) < density)).astype(np.int8)


@dataclass
class Layer:
    """One layer between QuantizeLinear and QuantizeLinear, whose text is `y = ...(x, w)`.

    `operator`: Conv, Gemm, MatMul or ConvTranspose, with its `settings`. `weight`: int8. `axis`: that of the filters in
    the weight, None for one scale. `zero_point`: of the activations that it reads, of their type. `after`: nodes from a
    to r with their `tensors`.
    """

    operator: str
    shape: tuple[int, ...]
    weight: np.ndarray
    settings: str = ""
    axis: int | None = 0
    zero_point: Any = field(default_factory=lambda: np.int8(0))
    bias: np.ndarray | None = None
    after: str = "r = Relu(a)"
    out_scale: float = 0.05
    out_zero_point: Any = field(default_factory=lambda: np.int8(-128))
    tensors: Weights = field(default_factory=dict)

    def proto(self) -> onnx.ModelProto:
        """The network of this layer."""
        filters = 1 if self.axis is None else self.weight.shape[self.axis]
        scales = np.linspace(0.002, 0.004, filters, dtype=np.float32)
        given = {
            "w": self.weight,
            "ws": scales if self.axis is not None else scales[0],
            "xs": np.float32(0.03),
        }
        given |= {"wz": np.zeros(np.shape(given["ws"]), np.int8), "xz": self.zero_point}
        given |= {"ys": np.float32(self.out_scale), "yz": self.out_zero_point, **self.tensors}
        if self.bias is not None:
            given["b"] = self.bias
        axis = "" if self.axis is None else f"<axis = {self.axis}>"
        return graph(
            f"""(float{list(self.shape)} x) => (float y) {{
                q = QuantizeLinear(x, xs, xz)
                d = DequantizeLinear(q, xs, xz)
                v = DequantizeLinear{axis}(w, ws, wz)
                [layer] a = {self.operator}{self.settings}(d, v{"" if self.bias is None else ", b"})
                {self.after}
                p = QuantizeLinear(r, ys, yz)
                y = DequantizeLinear(p, ys, yz)
            }}""",
            **given,
        )


@dataclass
class Weighted:
    """A step of a network: an `operator` with its `settings` and an int8 `weight`, whose filters are on an `axis`."""

    operator: str
    weight: np.ndarray
    settings: str = ""
    axis: int = 0
    bias: np.ndarray | None = None


def network(
    shape: tuple[int, ...], *steps: Weighted | str, zero_point: Any, scale: float = 0.05
) -> onnx.ModelProto:
    """The `steps` one after the other on an input of `shape`, each of them a Weighted or the text of an operator.

    Activations are quantized with `scale` and `zero_point` before each Weighted, and at the end.
    """
    lines, tensors, value = [], {"s": np.float32(scale), "z": zero_point}, "x"

    def quantized(value: str, number: int) -> str:
        lines.append(f"q{number} = QuantizeLinear({value}, s, z)")
        lines.append(f"d{number} = DequantizeLinear(q{number}, s, z)")
        return f"d{number}"

    for number, step in enumerate(steps):
        if isinstance(step, str):
            name, _, settings = step.partition("<")
            lines.append(f"v{number} = {name}{'<' + settings if settings else ''}({value})")
        else:
            filters = step.weight.shape[step.axis]
            tensors |= {f"w{number}": step.weight, f"z{number}": np.zeros(filters, np.int8)}
            tensors[f"s{number}"] = np.linspace(0.002, 0.004, filters, dtype=np.float32)
            if step.bias is not None:
                tensors[f"b{number}"] = step.bias
            lines.append(f"f{number} = DequantizeLinear<axis = {step.axis}>(w{number}, s{number}, z{number})")
            read = f"{quantized(value, number)}, f{number}{'' if step.bias is None else f', b{number}'}"
            lines.append(f"[layer{number}] v{number} = {step.operator}{step.settings}({read})")
        value = f"v{number}"
    lines.append(
        f"y = DequantizeLinear({quantized(value, len(steps))[0].replace('d', 'q')}{len(steps)}, s, z)"
    )
    text = "\n".join(lines)
    return graph(f"(float{list(shape)} x) => (float y) {{\n{text}\n}}", **tensors)
