"""The bridge against onnxruntime on whole graphs, and what of them it trains."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, parser
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from tightc.bridge.module import TorchGraph
from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import read_graph

SHARED_MODELS = Path(__file__).parents[2].parent / "shared" / "models"

# Nodes in onnx.parser's text, the input's shape, and the shapes of the constants, all float32 and random.
GRAPHS = {
    "depthwise": (
        "y = Conv <group = 4, pads = [1, 1, 1, 1]> (x, w, b)",
        (2, 4, 6, 6),
        {"w": (4, 1, 3, 3), "b": (4,)},
    ),
    "grouped": ("y = Conv <group = 2, strides = [2, 1]> (x, w)", (2, 4, 7, 6), {"w": (6, 2, 3, 2)}),
    "dilated": (
        "y = Conv <dilations = [2, 3], pads = [2, 3, 2, 3]> (x, w)",
        (1, 3, 9, 9),
        {"w": (5, 3, 3, 3)},
    ),
    "asymmetric": ("y = Conv <pads = [0, 1, 2, 0]> (x, w)", (1, 2, 5, 5), {"w": (3, 2, 3, 3)}),
    "same_upper": (
        'y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w)',
        (1, 2, 6, 7),
        {"w": (3, 2, 3, 4)},
    ),
    "same_lower": (
        'y = Conv <auto_pad = "SAME_LOWER", strides = [3, 2]> (x, w)',
        (1, 2, 6, 7),
        {"w": (3, 2, 4, 2)},
    ),
    "valid": ('y = Conv <auto_pad = "VALID", strides = [2, 2]> (x, w)', (1, 2, 6, 7), {"w": (3, 2, 3, 3)}),
    "conv1d": ("y = Conv <pads = [1, 2]> (x, w, b)", (2, 3, 8), {"w": (4, 3, 3), "b": (4,)}),
    "conv3d": (
        "y = Conv <strides = [1, 2, 1], pads = [0, 1, 0, 1, 1, 0]> (x, w)",
        (1, 2, 4, 5, 4),
        {"w": (3, 2, 2, 3, 2)},
    ),
    "gemm": ("y = Gemm (x, w, b)", (3, 5), {"w": (5, 4), "b": (4,)}),
    "gemm_transB": (
        "y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, b)",
        (3, 5),
        {"w": (4, 5), "b": (4,)},
    ),
    "gemm_transA": ("y = Gemm <transA = 1> (x, w)", (5, 3), {"w": (5, 4)}),
    "matmul_add": ("h = MatMul (x, w)\ny = Add (b, h)", (3, 5), {"w": (5, 4), "b": (4,)}),
    "matmul_left": ("y = MatMul (w, x)", (5, 3), {"w": (4, 5)}),
    "shared": ("h = Gemm <transB = 1> (x, w)\ny = MatMul (h, w)", (3, 5), {"w": (4, 5)}),
    "behind_identity": (
        "i = Identity (w)\nt = Transpose <perm = [1, 0]> (i)\ny = MatMul (x, t)",
        (3, 5),
        {"w": (4, 5)},
    ),
    "prelu": ("y = PRelu (x, s)", (2, 3, 4, 4), {"s": (3, 1, 1)}),
    "pools": (
        "a = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [0, 1, 1, 0], ceil_mode = 1> (x)\n"
        "b = AveragePool <kernel_shape = [3, 2], pads = [1, 0, 2, 1], strides = [2, 1]> (a)\n"
        "c = AveragePool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (b)\n"
        "y = AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1> (c)",
        (2, 3, 11, 12),
        {},
    ),
    "activations": (
        "a = HardSwish (x)\nb = Sigmoid (x)\nc = HardSigmoid <alpha = 0.3> (x)\n"
        "d = LeakyRelu <alpha = 0.1> (x)\n"
        "e = Mul (a, b)\nf = Sub (c, d)\ng = Add (e, f)\ny = Softmax <axis = 1> (g)",
        (2, 3, 4, 5),
        {},
    ),
    "transposed": (
        "y = ConvTranspose <strides = [2, 2], pads = [1, 0, 0, 1], output_padding = [1, 1]> (x, w, b)",
        (2, 4, 5, 6),
        {"w": (4, 3, 3, 2), "b": (3,)},
    ),
    "transposed_grouped": (
        "y = ConvTranspose <group = 2, dilations = [2, 1], strides = [3, 2]> (x, w)",
        (1, 4, 5, 4),
        {"w": (4, 2, 2, 3)},
    ),
    "transposed_1d": (
        'y = ConvTranspose <auto_pad = "SAME_UPPER", strides = [3]> (x, w)',
        (2, 3, 5),
        {"w": (3, 2, 4)},
    ),
    "transposed_3d": (
        "y = ConvTranspose <strides = [2, 1, 2]> (x, w, b)",
        (1, 2, 2, 3, 2),
        {"w": (2, 3, 2, 2, 3), "b": (3,)},
    ),
    "layer_norm": ("y = LayerNormalization <axis = -1> (x, s, t)", (2, 5, 8), {"s": (8,), "t": (8,)}),
    "instance_norm": ("y = InstanceNormalization (x, s, t)", (2, 4, 5, 6), {"s": (4,), "t": (4,)}),
    "group_norm": (  # one scale per group, as up to opset 20
        "y = GroupNormalization <num_groups = 2> (x, s, t)",
        (2, 6, 3, 4),
        {"s": (2,), "t": (2,)},
    ),
    "shuffle": (
        "a, b = Split <axis = 1, num_outputs = 2> (x)\nc = Conv (b, w)\nd = Concat <axis = 1> (a, c)\n"
        "s = Constant <value_ints = [0, 2, 2, 5, 6]> ()\ne = Reshape (d, s)\n"
        "f = Transpose <perm = [0, 2, 1, 3, 4]> (e)\nt = Constant <value_ints = [0, 4, 5, 6]> ()\n"
        "y = Reshape (f, t)",
        (2, 4, 5, 6),
        {"w": (2, 2, 1, 1)},
    ),
    "lrn": (
        "h = Conv (x, w)\ny = LRN <size = 3, alpha = 0.5, beta = 0.6> (h)",
        (2, 3, 4, 5),
        {"w": (6, 3, 1, 1)},
    ),
    "attention": (
        "q = MatMul (x, wq)\nk = MatMul (x, wk)\nt = Transpose <perm = [0, 2, 1]> (k)\n"
        "r = Constant <value_float = 0.35> ()\na = MatMul (q, t)\nb = Mul (a, r)\n"
        "p = Softmax <axis = -1> (b)\nv = MatMul (x, wv)\ny = MatMul (p, v)",
        (2, 5, 8),
        {"wq": (8, 8), "wk": (8, 8), "wv": (8, 8)},
    ),
    "decomposed_norm_and_gelu": (  # as exporters wrote them before opsets 17 and 20
        "ax = Constant <value_ints = [-1]> ()\nm = ReduceMean (x, ax)\nd = Sub (x, m)\n"
        "two = Constant <value_float = 2.0> ()\nq = Pow (d, two)\nv = ReduceMean (q, ax)\n"
        "e = Constant <value_float = 1e-5> ()\nw1 = Add (v, e)\ns = Sqrt (w1)\nn = Div (d, s)\nh = MatMul (n, w)\n"
        "c = Constant <value_float = 1.4142135> ()\ng = Div (h, c)\nf = Erf (g)\n"
        "one = Constant <value_float = 1.0> ()\ni = Add (f, one)\nj = Mul (h, i)\n"
        "half = Constant <value_float = 0.5> ()\ny = Mul (j, half)",
        (2, 5, 8),
        {"w": (8, 16)},
    ),
    "smooth_activations": (
        "h = MatMul (x, w)\na = Tanh (h)\nb = Softplus (h)\nc = Mul (a, b)\nd = Elu <alpha = 0.7> (c)\n"
        "e = Selu (d)\nf = Celu <alpha = 2.0> (e)\ng = Mish (f)\ny = LogSoftmax <axis = 1> (g)",
        (3, 5),
        {"w": (5, 6)},
    ),
    "rearranged": (
        "h = Conv (x, w)\na = DepthToSpace <blocksize = 2> (h)\nb = SpaceToDepth <blocksize = 2> (a)\n"
        "s = Constant <value_ints = [2, 8, 5, 6]> ()\nc = Expand (b, s)\n"
        "r = Constant <value_ints = [1, 1, 1, 2]> ()\nd = Tile (c, r)\nz = Constant <value_float = 0.0> ()\n"
        "m = Greater (d, z)\ne = Neg (d)\nf = Where (m, d, e)\n"
        "y = ReduceSum <keepdims = 0> (f)",
        (2, 3, 5, 6),
        {"w": (8, 3, 1, 1)},
    ),
    "arithmetic_of_shapes": (
        "n = Shape <start = 0, end = 1> (x)\nr = Constant <value_ints = [-1]> ()\n"
        "s = Concat <axis = 0> (n, r)\ny = Reshape (x, s)",
        (2, 3, 4),
        {},
    ),
}


def build(
    text: str, shape: tuple[int, ...], constants: dict[str, tuple[int, ...]], opset: int = 18
) -> onnx.ModelProto:
    """A model from parser text with random constants; its input is x, its output y."""
    random = np.random.default_rng(1)
    sizes = ", ".join(map(str, shape))
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[{sizes}] x) => (float y) {{ {text} }}'
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    for name, size in constants.items():
        array = random.standard_normal(size).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


def by_onnxruntime(proto: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def by_bridge(proto: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return TorchGraph(read_graph(proto)).eval()(torch.from_numpy(image))[0].numpy()


@pytest.mark.parametrize("name", GRAPHS)
def test_small_graph_agrees_with_onnxruntime(name: str) -> None:
    text, shape, constants = GRAPHS[name]
    proto = build(text, shape, constants)
    image = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(by_bridge(proto, image), by_onnxruntime(proto, image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in GRAPHS if GRAPHS[name][2]])
def test_every_float_constant_of_a_layer_is_trained_and_gets_a_gradient(name: str) -> None:
    text, shape, constants = GRAPHS[name]
    module = TorchGraph(read_graph(build(text, shape, constants)))
    assert set(module.roles) == set(constants)
    module(torch.randn(shape))[0].pow(3).sum().backward()
    for constant in constants:
        gradient = module.parameter(constant).grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


@given(
    st.sampled_from([(1, (5,)), (2, (4, 3)), (3, (2, 3, 4))]).flatmap(
        lambda case: st.tuples(
            st.just(case[1]),
            *(
                st.lists(st.integers(low, high), min_size=case[0], max_size=case[0])
                for low, high in ((1, 3), (1, 3), (1, 2), (0, 1), (0, 1))
            ),
        )
    ),
    st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", "output_shape"]),
)
@settings(max_examples=150, deadline=None)
def test_any_transposed_convolution_agrees_with_onnxruntime(
    case: tuple[tuple[int, ...], list[int], list[int], list[int], list[int], list[int]], padding: str
) -> None:
    sizes, kernel, strides, dilations, pads, added = case
    if any(step > 1 for step in dilations):
        added = [0] * len(sizes)
    attributes = {
        "strides": strides,
        "dilations": dilations,
        "output_padding": [min(more, step - 1) for more, step in zip(added, strides, strict=True)],
    }
    if padding == "NOTSET":
        attributes["pads"] = [*pads, *pads[::-1]]
    elif padding == "output_shape":
        attributes["output_shape"] = [size * step + 1 for size, step in zip(sizes, strides, strict=True)]
    else:
        attributes["auto_pad"] = padding
    random = np.random.default_rng(3)
    weight, bias = random.standard_normal((2, 3, *kernel)), random.standard_normal(3)
    tensors = [numpy_helper.from_array(a.astype(np.float32), n) for a, n in ((weight, "w"), (bias, "b"))]
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 2, *sizes))
    graph = helper.make_graph([node], "g", [value], [helper.make_empty_tensor_value_info("y")], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    image = random.standard_normal((2, 2, *sizes)).astype(np.float32)
    try:
        wanted = by_onnxruntime(proto, image)
    except (Fail, InvalidArgument, RuntimeException):
        return
    np.testing.assert_allclose(by_bridge(proto, image), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet20-cifar10.onnx", "resnet20-cifar10-bn.onnx"])
def test_real_network_agrees_with_onnxruntime(name: str) -> None:
    path = SHARED_MODELS / name
    if not path.is_file():
        pytest.skip(f"{name} is not beside the project")
    proto = onnx.load(path)
    image = np.random.default_rng(3).standard_normal((4, 3, 32, 32)).astype(np.float32)
    wanted = by_onnxruntime(proto, image)
    assert np.abs(by_bridge(proto, image) - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["resnet20-cifar10.onnx", "resnet20-cifar10-bn.onnx"])
def test_every_parameter_of_a_real_network_gets_a_gradient(name: str) -> None:
    path = SHARED_MODELS / name
    if not path.is_file():
        pytest.skip(f"{name} is not beside the project")
    module = TorchGraph(read_graph(onnx.load(path))).train()
    module(torch.randn(4, 3, 32, 32))[0].logsumexp(1).sum().backward()
    assert [p for p in module.parameters() if p.grad is None or not p.grad.any()] == []
    weights = [role for role in module.roles.values() if role == "weight"]
    assert len(weights) == 20


def test_trained_tensors_come_back_as_they_were() -> None:
    text, shape, constants = GRAPHS["depthwise"]
    graph = read_graph(build(text, shape, constants))
    module = TorchGraph(graph).to(memory_format=torch.channels_last)
    for name, array in module.trained().items():
        assert array.dtype == graph.tensors[name].dtype
        assert array.tobytes() == graph.tensors[name].tobytes()


def test_running_statistics_follow_the_batch_in_training_only() -> None:
    norm = dict.fromkeys(("scale", "shift", "mean", "variance"), (3,))
    text = "y = BatchNormalization <momentum = 0.75, epsilon = 0.001> (x, scale, shift, mean, variance)"
    graph = read_graph(build(text, (8, 3, 5, 5), norm))
    module = TorchGraph(graph)
    image = torch.randn(8, 3, 5, 5) + 7
    with torch.no_grad():
        module.eval()(image)
        assert module.trained()["mean"].tobytes() == graph.tensors["mean"].tobytes()
        (y,) = module.train()(image)
    wanted = 0.75 * graph.tensors["mean"] + 0.25 * image.mean((0, 2, 3)).numpy()
    np.testing.assert_allclose(module.trained()["mean"], wanted, rtol=1e-5)
    shifted = (y - torch.tensor(graph.tensors["shift"])[:, None, None]).mean((0, 2, 3))
    np.testing.assert_allclose(shifted.numpy(), 0, atol=1e-5)
    assert set(module.roles) == {"scale", "shift"}


def test_bias_that_is_its_own_running_mean_is_refused() -> None:
    text = "y = BatchNormalization (x, scale, zeros, zeros, variance)"
    proto = build(text, (8, 3, 5, 5), dict.fromkeys(("scale", "zeros", "variance"), (3,)))
    with pytest.raises(
        ModelError,
        match=r"^tensor zeros: expected a trained tensor or a running statistic, got one that is both",
    ):
        TorchGraph(read_graph(proto))


def test_all_parts_of_a_split_constant_are_constants() -> None:
    text = "a, b = Split <axis = 0, num_outputs = 2> (k)\nh = Mul (x, a)\ny = Add (h, b)"
    proto = build(text, (2, 3), {"k": (4, 3)})
    image = np.random.default_rng(2).standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_allclose(by_bridge(proto, image), by_onnxruntime(proto, image), rtol=1e-6)


def test_dropout_drops_in_training_only() -> None:
    proto = build("r = Constant <value_float = 0.25> ()\ny = Dropout (x, r)", (100, 100), {})
    module = TorchGraph(read_graph(proto))
    ones = torch.ones(100, 100)
    assert torch.equal(module.eval()(ones)[0], ones)
    dropped = module.train()(ones)[0]
    assert 0.2 < (dropped == 0).float().mean() < 0.3
    assert dropped.max() == pytest.approx(1 / 0.75)


def test_a_number_added_to_a_convolution_is_no_bias() -> None:
    text = "h = Conv (x, w)\na = Add (h, three)\nc = Clip (a, low, high)\nm = Mul (h, c)\ny = Div (m, high)"
    proto = build(text, (1, 2, 4, 4), {"w": (3, 2, 1, 1)})
    for name, value in (("three", 3.0), ("low", 0.0), ("high", 6.0)):
        proto.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    image = np.random.default_rng(2).standard_normal((1, 2, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(by_bridge(proto, image), by_onnxruntime(proto, image), rtol=1e-4, atol=1e-6)
    assert TorchGraph(read_graph(proto)).roles == {"w": "weight"}


def test_weight_in_a_constant_node_is_trained() -> None:
    proto = build("y = MatMul (x, w)", (3, 5), {})
    held = numpy_helper.from_array(np.ones((5, 4), np.float32))
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=held))
    module = TorchGraph(read_graph(proto))
    assert module.roles == {"w": "weight"}
    assert set(module.trained()) == {"w"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("y = Det (x)", "operator Det of node y: expected an operator that finetune supports, got Det"),
        (
            "y = my.Relu (x)",
            "operator Relu of node y: expected an operator of the ONNX domain, got domain my",
        ),
        (
            'y = Pad <mode = "mirror"> (x, x)',
            "operator Pad of node y: expected mode constant, reflect, edge or wrap, got mirror",
        ),
        (
            "y, i = MaxPool <kernel_shape = [2]> (x)",
            "operator MaxPool of node y: expected no output 2, got i",
        ),
    ],
)
def test_unsupported_nodes_are_refused_before_training(text: str, sentence: str) -> None:
    with pytest.raises(ModelError) as refusal:
        TorchGraph(read_graph(build(text, (1, 2, 4), {})))
    assert refusal.value.sentence == sentence
    assert refusal.value.remedy == "finetune before the export, or export the model without it"


def test_type_that_torch_lacks_is_refused_by_tensor() -> None:
    proto = build("c = Cast <to = 1> (w)\ny = Add (x, c)", (1, 4), {})
    proto.graph.initializer.append(
        helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, [4], [1.0, 2.0, 3.0, 4.0])
    )
    with pytest.raises(
        ModelError, match=r"^tensor w: expected a dtype that torch computes with, got float8_e4m3fn"
    ):
        TorchGraph(read_graph(proto))
