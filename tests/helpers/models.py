"""Small networks, one for each form of layer that exporters write. Nothing is imported from tightc."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

OPSET, IR = 20, 10


def build(text: str, opset: int = OPSET, ir: int = IR, **weights: np.ndarray) -> onnx.ModelProto:
    """A model from the text of one graph and its initializers by name."""
    proto = parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]>\n{text}')
    for name, weight in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(weight, name))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def sparse(*shape: int, density: float = 0.3, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Normally distributed weights with a fraction of about `density` non-zeros, at least one."""
    rng = np.random.default_rng([seed, *shape])
    weights = rng.normal(size=shape) * (rng.random(shape) < density)
    weights.flat[rng.integers(weights.size)] = 0.5
    return (weights + 0.0).astype(dtype)  # no negative zeros


def _kind(dtype: str) -> str:
    return {"float32": "float", "float16": "float16", "float64": "double"}[dtype]


def cnn(opset: int = OPSET, ir: int = IR, dtype: str = "float32", batch: str = "B") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"""net ({t}[{batch}, 3, 8, 8] image) => ({t}[{batch}, 4] logits) {{
            [first] a = Conv<pads = [1, 1, 1, 1]>(image, first_w, first_b)
            b = Relu(a)
            [second] c = Conv<strides = [2, 2]>(b, second_w)
            d = Relu(c)
            e = GlobalAveragePool(d)
            f = Flatten(e)
            [last] logits = Gemm<transB = 1>(f, last_w, last_b)
        }}""",
        opset,
        ir,
        **{
            "first_w": sparse(8, 3, 3, 3, dtype=dtype),
            "first_b": np.linspace(-1, 1, 8, dtype=dtype),
            "second_w": sparse(8, 8, 3, 3, dtype=dtype, seed=1),
            "last_w": sparse(4, 8, dtype=dtype, seed=2, density=0.6),
            "last_b": np.linspace(-1, 1, 4, dtype=dtype),
        },
    )


def grouped(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"""net ({t}[B, 8, 6, 6] x) => ({t}[B, 12, 3, 3] y) {{
            [g] y = Conv<group = 4, pads = [1, 1, 1, 1], strides = [2, 2]>(x, w, bias)
        }}""",
        opset,
        ir,
        w=sparse(12, 2, 3, 3, dtype=dtype),
        bias=np.linspace(0, 1, 12, dtype=dtype),
    )


def depthwise(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"""net ({t}[2, 6, 7, 7] x) => ({t}[2, 12, 3, 5] y) {{
            [dw] y = Conv<group = 6, dilations = [2, 1]>(x, w)
        }}""",
        opset,
        ir,
        w=sparse(12, 1, 3, 3, dtype=dtype, density=0.5),
    )


def gemm(
    opset: int = OPSET, ir: int = IR, dtype: str = "float32", trans_b: int = 0, bias: bool = True
) -> onnx.ModelProto:
    t = _kind(dtype)
    weights = {"w": sparse(*((5, 9) if trans_b else (9, 5)), dtype=dtype)}
    if bias:
        weights["c"] = np.linspace(-1, 1, 5, dtype=dtype)
    return build(
        f"""net ({t}[B, 9] x) => ({t}[B, 5] y) {{
            [fc] y = Gemm<transB = {trans_b}, alpha = 0.5, beta = 2.0>(x, w{", c" if bias else ""})
        }}""",
        opset,
        ir,
        **weights,
    )


def gemm_transposed_activations(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"net ({t}[9, 3] x) => ({t}[3, 5] y) {{ [fc] y = Gemm<transA = 1>(x, w) }}",
        opset,
        ir,
        w=sparse(9, 5, dtype=dtype),
    )


def matmul_right(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"""net ({t}[B, 7, 10] x) => ({t}[B, 7, 6] y) {{
            [mm] a = MatMul(x, w)
            [plus] y = Add(a, c)
        }}""",
        opset,
        ir,
        w=sparse(10, 6, dtype=dtype),
        c=np.linspace(-1, 1, 6, dtype=dtype),
    )


def matmul_left(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"net ({t}[B, 10, 4] x) => ({t}[B, 6, 4] y) {{ [mm] y = MatMul(w, x) }}",
        opset,
        ir,
        w=sparse(6, 10, dtype=dtype),
    )


def shared_weight(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"""net ({t}[B, 4, 6, 6] x) => ({t}[B, 4, 6, 6] y) {{
            [one] a = Conv<pads = [1, 1, 1, 1]>(x, w, bias)
            b = Relu(a)
            [two] y = Conv<pads = [1, 1, 1, 1]>(b, w)
        }}""",
        opset,
        ir,
        w=sparse(4, 4, 3, 3, dtype=dtype),
        bias=np.linspace(-1, 1, 4, dtype=dtype),
    )


def constant_weight(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    proto = matmul_right(opset, ir, dtype)
    (weight,) = (tensor for tensor in proto.graph.initializer if tensor.name == "w")
    node = helper.make_node("Constant", [], ["w"], name="holds_w", value=weight)
    proto.graph.initializer.remove(weight)
    proto.graph.node.insert(0, node)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def identity_weight(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"""net ({t}[B, 4, 6, 6] x) => ({t}[B, 4, 6, 6] y) {{
            again = Identity(w)
            once_more = Identity(again)
            [one] a = Conv<pads = [1, 1, 1, 1]>(x, again)
            [two] y = Conv<pads = [1, 1, 1, 1]>(a, once_more)
        }}""",
        opset,
        ir,
        w=sparse(4, 4, 3, 3, dtype=dtype),
    )


def unnamed_nodes(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"""net ({t}[B, 4, 6] x) => ({t}[B, 3, 6] y) {{
            a = Conv<auto_pad = "SAME_UPPER">(x, v)
            y = Conv(a, w)
        }}""",
        opset,
        ir,
        v=sparse(5, 4, 3, dtype=dtype),
        w=sparse(3, 5, 1, dtype=dtype, density=0.5),
    )


def empty_layer(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"""net ({t}[B, 6] x) => ({t}[B, 4] y) {{
            [nothing] a = MatMul(x, v)
            [something] y = Gemm(a, w, c)
        }}""",
        opset,
        ir,
        v=np.zeros((6, 5), dtype),
        w=sparse(5, 4, dtype=dtype),
        c=np.ones(4, dtype),
    )


def batch_norm(opset: int = OPSET, ir: int = IR, dtype: str = "float32") -> onnx.ModelProto:
    t = _kind(dtype)
    return build(
        f"""net ({t}[B, 3, 6, 6] x) => ({t}[B, 4, 4, 4] y) {{
            [conv] a = Conv(x, w)
            [bn] y = BatchNormalization(a, scale, offset, mean, variance)
        }}""",
        opset,
        ir,
        w=sparse(4, 3, 3, 3, dtype=dtype),
        **{name: np.linspace(0.5, 1.5, 4, dtype=dtype) for name in ("scale", "offset", "mean", "variance")},
    )


FORMS: dict[str, Callable[..., onnx.ModelProto]] = {
    "cnn": cnn,
    "grouped": grouped,
    "depthwise": depthwise,
    "gemm": gemm,
    "gemm transB": lambda *a, **k: gemm(*a, **k, trans_b=1),
    "gemm without bias": lambda *a, **k: gemm(*a, **k, bias=False),
    "gemm transA": gemm_transposed_activations,
    "matmul right": matmul_right,
    "matmul left": matmul_left,
    "shared weight": shared_weight,
    "weight in Constant": constant_weight,
    "weight through Identity": identity_weight,
    "unnamed nodes, 1-D": unnamed_nodes,
    "empty layer": empty_layer,
    "BatchNorm": batch_norm,
}


def attention() -> onnx.ModelProto:
    """A projection with a constant weight, then a product of two activations."""
    return build(
        """net (float[1, 5, 8] x) => (float[1, 5, 5] y) {
            [project] q = MatMul(x, w)
            k = Transpose<perm = [0, 2, 1]>(q)
            [scores] y = MatMul(q, k)
        }""",
        w=sparse(8, 6),
    )


def transposed() -> onnx.ModelProto:
    """A Conv and a ConvTranspose, which is not packed."""
    return build(
        """net (float[1, 3, 6, 6] x) => (float[1, 2, 9, 9] y) {
            [conv] a = Conv(x, w)
            [up] y = ConvTranspose<strides = [2, 2]>(a, v)
        }""",
        w=sparse(4, 3, 3, 3),
        v=sparse(4, 2, 3, 3),
    )


def with_lstm() -> onnx.ModelProto:
    """An LSTM, which is not packed, before a MatMul."""
    return build(
        """net (float[3, 1, 4] x) => (float[3, 1, 1, 2] y) {
            [rnn] a = LSTM<hidden_size = 5>(x, w, r)
            [mm] y = MatMul(a, v)
        }""",
        w=sparse(1, 20, 4),
        r=sparse(1, 20, 5),
        v=sparse(5, 2),
    )


def quantized(
    scale: np.ndarray | float = 0.1,
    zero: np.ndarray | float = 0,
    settings: str = "",
    rest: str = "",
    kind: str = "int8",
) -> onnx.ModelProto:
    """A Conv whose weight comes from DequantizeLinear, with `settings`, before a float one; `rest` are more nodes."""
    return build(
        f"""net (float[1, 2, 6, 6] x) => (float[1, 3, 2, 2] y) {{
            w = DequantizeLinear{settings}(q, scale, zero)
            [quantized] a = Conv(x, w)
            [float] y = Conv(a, v)
            {rest}
        }}""",
        newest_opset() if "block" in settings else OPSET,
        ir_for(newest_opset()) if "block" in settings else IR,
        q=np.arange(4 * 2 * 9).reshape(4, 2, 3, 3).astype(kind),
        scale=np.asarray(scale, np.float32),
        zero=np.asarray(zero, kind),
        v=sparse(3, 4, 3, 3),
    )


def with_if(capture: str = "w") -> onnx.ModelProto:
    """A Conv in both branches of an If. Its kernel is `capture`: w, that of a Conv outside; again, the same through
    an Identity outside; or v, the branch's own.
    """
    weight = sparse(3, 3, 3, 3)
    outer = numpy_helper.from_array(weight, "w")

    def branch(name: str, kernel: str) -> onnx.GraphProto:
        node = helper.make_node("Conv", ["a", kernel], [f"{name}_y"], name=f"{name}_conv")
        inner = [numpy_helper.from_array(weight, "v")] if kernel == "v" else []
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [1, 3, 4, 4])
        return helper.make_graph([node], name, [], [out], inner)

    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="outside"),
            *([helper.make_node("Identity", ["w"], ["again"])] if capture == "again" else []),
            helper.make_node(
                "If",
                ["flag"],
                ["y"],
                name="choice",
                then_branch=branch("then", capture),
                else_branch=branch("else", "v"),
            ),
        ],
        "net",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 4])],
        [outer],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def feeds(proto: onnx.ModelProto, batch: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Random values for the inputs of `proto`; open dimensions become `batch`."""
    rng = np.random.default_rng(seed)
    constants = {tensor.name for tensor in proto.graph.initializer}
    found = {}
    for value in proto.graph.input:
        if value.name not in constants:
            shape = [d.dim_value or batch for d in value.type.tensor_type.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            found[value.name] = rng.normal(size=shape).astype(dtype)
    return found


def save(proto: onnx.ModelProto, path: Path, external_data: bool = False) -> Path:
    """Write `proto` to `path`, with its weights in a second file if `external_data`."""
    if external_data:
        onnx.save_model(
            proto,
            str(path),
            save_as_external_data=True,
            location=path.name + ".data",
            size_threshold=0,
        )
    else:
        path.write_bytes(proto.SerializeToString())
    return path


def newest_opset() -> int:
    """The newest opset that both the installed onnx and the installed onnxruntime know."""
    import onnxruntime

    for opset in range(onnx.defs.onnx_opset_version(), OPSET, -1):
        proto = gemm(opset, helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception:  # noqa: BLE001
            continue
        return opset
    return OPSET


def ir_for(opset: int) -> int:
    """The oldest IR version that may hold `opset`, 8 at least."""
    return max(8, helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))
