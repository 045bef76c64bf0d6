"""Weights computed from constants, as torch and others export them, are folded when the file is read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import parser
from torch import nn
from torch.nn.utils import prune as torch_prune

from helpers.chains import assert_sound, constants, outputs, stored, through
from helpers.loading import loaded
from helpers.models import build, sparse
from tightc.model.file import load_model_bytes
from tightc.model.layer_view.layers import read_network
from tightc.model.reading.normalize import ReadingOptions

W, V = sparse(6, 6, density=0.9), sparse(6, 6, density=0.9, seed=4)
Q = (10 * W).astype(np.int8)
MASK = np.random.default_rng(0).random((6, 6)) < 0.5
X = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)

# nodes that compute the weight c, and the constants that they need besides w
FOLDED = {
    "Mul": ("c = Mul(w, m)", {"m": MASK.astype(np.float32)}),
    "Mul, Identity": ("d = Mul(w, m) c = Identity(d)", {"m": MASK.astype(np.float32)}),
    "Where": ("c = Where(m, w, z)", {"m": MASK, "z": np.float32(0)}),
    "Cast, Mul": ("n = Cast<to = 1>(m) c = Mul(w, n)", {"m": MASK}),
    "Cast from float16": ("c = Cast<to = 1>(half)", {"half": W.astype(np.float16)}),
    "Transpose": ("c = Transpose(w)", {}),
    "Reshape": ("c = Reshape(r, shape)", {"r": W.reshape(-1), "shape": np.array([6, 6])}),
    "Concat": ("c = Concat<axis = 0>(t, t)", {"t": W[:3]}),
    "Slice": ("c = Slice(long, s, e)", {"long": np.vstack([W, W]), "s": np.array([3]), "e": np.array([9])}),
    "Constant with a number": ("k = Constant<value_float = 2.0>() c = Mul(w, k)", {}),
    "ConstantOfShape": ("o = ConstantOfShape(s) q = Add(o, w) c = Mul(q, q)", {"s": np.array([6, 6])}),
    "norm": ("n = ReduceL2<axes = [1]>(w)".replace("<axes = [1]>(w)", "(w, ax)") + " d = Div(w, n) c = Mul(d, g)",
             {"ax": np.array([1]), "g": np.linspace(1, 2, 6, dtype=np.float32).reshape(6, 1)}),
    "DequantizeLinear": ("d = DequantizeLinear(q, s) c = Transpose(d)", {"q": Q, "s": np.float32(0.1)}),
    "Split": ("c, rest = Split<axis = 0, num_outputs = 2>(long)", {"long": np.vstack([W, V])}),
}  # fmt: skip

# the same for weights that are not folded
UNFOLDED = {
    "drawn": ("d = RandomUniformLike(w) c = Mul(w, d)", {}),
    "from the input": ("t = ReduceMax<keepdims = 0>(x, ax) c = Mul(w, t)", {"ax": np.array([0])}),
}  # fmt: skip


def computing(nodes: str, further: dict[str, np.ndarray]) -> onnx.ModelProto:
    return build(
        f"net (float[2, 6] x) => (float[2, 6] y) {{ {nodes} [a] h = MatMul(x, c) [b] y = MatMul(h, v) }}",
        **({"w": W} if "w" in nodes.replace("(", " ").replace(",", " ").replace(")", " ").split() else {}),
        v=V,
        **{name: np.asarray(array) for name, array in further.items()},
    )


@pytest.mark.parametrize("kind", FOLDED)
def test_a_weight_computed_from_constants_is_a_layer(kind: str) -> None:
    proto = computing(*FOLDED[kind])
    model = loaded(proto)
    assert [layer.name for layer in read_network(model).layers] == ["a", "b"]
    assert (
        model.notes[-1]
        == model.normalized[-1]
        == "weights folded from constants: " + read_network(model).layers[0].weight
    )
    for one, other in zip(
        outputs(proto.SerializeToString(), {"x": X}), outputs(model.to_bytes(), {"x": X}), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    chain = through(proto)
    assert chain.pruning.uncovered == () and chain.pruning.totals["macs_covered"] == 1.0
    assert_sound(chain, {"x": X})
    assert len(stored(chain.packed.proto)) == 2


@pytest.mark.parametrize("kind", FOLDED)
def test_what_only_the_computation_read_is_removed(kind: str) -> None:
    model = loaded(computing(*FOLDED[kind]))
    kept = {node.op_type for node in model.proto.graph.node}
    assert kept <= {"MatMul", "Identity"}
    read = {name for node in model.proto.graph.node for name in node.input}
    assert set(constants(model.proto)) <= read


@pytest.mark.parametrize("kind", UNFOLDED)
def test_a_weight_that_is_not_constant_stays_and_is_named(kind: str) -> None:
    proto = computing(*UNFOLDED[kind])
    model = loaded(proto)
    assert model.notes == () and model.to_bytes() == proto.SerializeToString(deterministic=True)
    chain = through(proto)
    assert [row["name"] for row in chain.pruning.uncovered] == ["a"]
    assert chain.pruning.totals["macs_covered"] == 0.5
    if kind != "drawn":
        assert_sound(chain, {"x": X})


def test_inputs_with_a_default_are_not_folded() -> None:
    proto = computing(*FOLDED["Mul"])
    proto.graph.input.append(onnx.helper.make_tensor_value_info("m", onnx.TensorProto.FLOAT, [6, 6]))
    kept = load_model_bytes(proto.SerializeToString(), options=ReadingOptions(keep_overridable=True))
    assert [layer.name for layer in read_network(kept).layers] == ["b"]
    assert [layer.name for layer in read_network(loaded(proto)).layers] == ["a", "b"]


def test_operators_of_other_domains_are_not_folded() -> None:
    proto = parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20, "com.example" : 1]>
        net (float[2, 6] x) => (float[2, 6] y) { c = com.example.Mul(w, w)
            [a] h = MatMul(x, c) [b] y = MatMul(h, v) }"""
    )
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in [("w", W), ("v", V)])
    assert [layer.name for layer in read_network(loaded(proto)).layers] == ["b"]


def test_a_constant_that_is_read_elsewhere_too_stays() -> None:
    nodes = "c = Mul(w, m) [a] h = MatMul(x, c) g = MatMul(h, v) y = MatMul(g, m)"
    proto = build(
        f"net (float[2, 6] x) => (float[2, 6] y) {{ {nodes} }}", w=W, v=V, m=MASK.astype(np.float32)
    )
    chain = through(proto)
    assert set(constants(chain.unpacked.proto)) == {"c", "v", "m"}
    assert_sound(chain, {"x": X})


def test_the_other_part_of_a_split_that_is_read_stays() -> None:
    nodes = (
        "c, r = Split<axis = 0, num_outputs = 2>(w) [a] h = MatMul(x, c) q = ReduceMax<keepdims = 0>(r, ax)"
    )
    proto = build(
        f"net (float[2, 6] x) => (float[2, 6] y) {{ {nodes} y = Add(h, q) }}",
        w=np.vstack([W, V]),
        ax=np.array([0]),
    )
    chain = through(proto)
    assert [node.op_type for node in chain.unpacked.proto.graph.node] == [
        "Split",
        "MatMul",
        "ReduceMax",
        "Add",
    ]
    assert_sound(chain, {"x": X})


def test_a_weight_of_a_weight_leaves_no_constant_behind() -> None:
    proto = build(
        "net (float[2, 6] x) => (float[2, 6] y) { t = Transpose(w) c = MatMul(t, v) [a] y = MatMul(x, c) }",
        w=W,
        v=V,
    )
    assert set(constants(loaded(proto).proto)) == {"c"}


def test_the_history_names_folded_weights() -> None:
    chain = through(computing(*FOLDED["Mul"]))
    history = next(e.value for e in chain.pruned.proto.metadata_props if e.key == "tightc.history")
    assert '"notes": ["weights folded from constants: c"]' in history


# --- as torch exports them


class Masked(nn.Module):
    """A linear layer with a bool mask."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 12))
        self.register_buffer("mask", torch.rand(8, 12) > 0.5)
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "where":
            return nn.functional.linear(x, torch.where(self.mask, self.weight, torch.zeros(())))
        return nn.functional.linear(x, self.weight * self.mask.to(torch.float32))


class Autoencoder(nn.Module):
    """Its decoder is the transpose of its encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(12, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(torch.relu(self.encode(x)), self.encode.weight.t())


class Twice(nn.Module):
    """Two linear layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(12, 12), nn.Linear(12, 12)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.relu(self.one(x)))


class Spectral(nn.Module):
    """A linear layer divided by an estimate of its largest singular value."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 12))
        self.register_buffer("u", nn.functional.normalize(torch.randn(8), dim=0))
        self.register_buffer("v", nn.functional.normalize(torch.randn(12), dim=0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight / torch.dot(self.u, torch.mv(self.weight, self.v)))


def convnet(change: Callable[[nn.Module], object], *places: int) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    for place in places:
        change(net[place])
    return net


def unstructured(layer: nn.Module) -> None:
    torch_prune.random_unstructured(layer, "weight", 0.5)


def structured(layer: nn.Module) -> None:
    torch_prune.ln_structured(layer, "weight", 0.5, n=2, dim=0)


NETS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"{change.__name__} {places}": lambda change=change, places=places: convnet(change, *places)
        for change in (unstructured, structured)
        for places in ((0,), (3,), (0, 3))
    },
    "weight_norm": lambda: convnet(nn.utils.parametrizations.weight_norm, 0, 3),
    "weight_norm, old": lambda: convnet(nn.utils.weight_norm, 0, 3),
    "spectral_norm, old": lambda: convnet(nn.utils.spectral_norm, 0, 3),
    "spectral constants": Spectral,
    "Where": lambda: Masked("where"),
    "Cast and Mul": lambda: Masked("cast"),
    "tied autoencoder": Autoencoder,
    "one weight in two linear layers": Twice,
}


def exported(kind: str, *, folding: bool) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    torch.manual_seed(0)
    net = NETS[kind]().eval()
    x = torch.randn(2, 3, 6, 6) if isinstance(net, nn.Sequential) else torch.randn(3, 12)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), file, dynamo=False, input_names=["x"], do_constant_folding=folding)
    return onnx.load_from_string(file.getvalue()), {"x": x.numpy()}


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("folding", [False, True], ids=["as written", "folded by torch"])
@pytest.mark.parametrize("kind", NETS)
def test_what_torch_exports_is_covered_and_comes_out_equal(kind: str, folding: bool) -> None:
    proto, feeds = exported(kind, folding=folding)
    for one, other in zip(
        outputs(proto.SerializeToString(), feeds), outputs(loaded(proto).to_bytes(), feeds), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    chain = through(proto)
    assert_sound(chain, feeds)
    assert chain.pruning.totals["macs_covered"] == (0.5 if kind == "tied autoencoder" else 1.0)
    matrices = {"tied autoencoder": 1, "one weight in two linear layers": 1}
    alone = ("Where", "Cast and Mul", "spectral constants")
    assert len(stored(chain.packed.proto)) == matrices.get(kind, 1 if kind in alone else 2)
    for name in stored(chain.packed.proto):
        assert name not in constants(chain.packed.proto)


def test_a_model_that_is_folded_counts_its_own_zeros() -> None:
    """Prune continues from the non-zeros that the mask leaves."""
    proto, _ = exported("structured (0, 3)", folding=False)
    weights = read_network(loaded(proto)).weights.values()
    assert [round(float(np.mean(weight == 0)), 1) for weight in weights] == [0.5, 0.4]
