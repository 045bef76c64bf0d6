"""Weights with several readers: all readers keep working, and the weight is stored once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser

from helpers import models
from helpers.chains import assert_sound, constants, outputs, stored, through
from helpers.loading import loaded
from helpers.models import build, sparse
from tightc.cli.main import run

W, V = sparse(6, 6, density=0.9), sparse(6, 6, density=0.9, seed=4)
X = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
SQUARE = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)
FLAG = np.array(True)
AXIS = np.array([0])

# name: graph, constants, what is fed
TWICE = {
    "Gemm, transB": (
        "net (float[2, 6] x) => (float[2, 6] y) { [a] h = Gemm(x, w) [b] y = Gemm<transB = 1>(h, w) }",
        {"w": W},
        {"x": X},
    ),
    "x@w, w@x": (
        "net (float[6, 6] x) => (float[6, 6] y) { [a] h = MatMul(x, w) [b] y = MatMul(w, h) }",
        {"w": W},
        {"x": SQUARE},
    ),
    "w@x, x@w": (
        "net (float[6, 6] x) => (float[6, 6] y) { [a] h = MatMul(w, x) [b] y = MatMul(h, w) }",
        {"w": W},
        {"x": SQUARE},
    ),
    "groups": (
        """net (float[1, 8, 4, 4] x, float[1, 2, 4, 4] z) => (float[1, 8, 4, 4] y, float[1, 8, 4, 4] t) {
            [a] y = Conv<group = 4>(x, w) [b] t = Conv(z, w) }""",
        {"w": sparse(8, 2, 1, 1, density=0.9)},
        {"x": np.ones((1, 8, 4, 4), np.float32), "z": np.ones((1, 2, 4, 4), np.float32)},
    ),
    "through Identity": (
        """net (float[2, 6] x) => (float[2, 6] y) {
            i = Identity(w) j = Identity(i) [a] h = Gemm(x, i) [b] y = Gemm<transB = 1>(h, j) }""",
        {"w": W},
        {"x": X},
    ),
    "three readers": (
        """net (float[2, 6] x) => (float[2, 6] y, float[6, 6] z) { [a] h = Gemm(x, w) [c] g = Gemm(h, w)
            [b] y = Gemm<transB = 1>(g, w) t = Transpose(y) s = MatMul(t, y) [d] z = MatMul(w, s) }""",
        {"w": W},
        {"x": X},
    ),
}

# name: nodes that read w besides [a], outputs more, why [a] stays plain
STAYS = {
    "a sum over the weight": ("[r] c = ReduceSum<keepdims = 0>(w, ax) y = Add(g, c)", "", "also feeds r"),
    "an output": ("u = Identity(w) y = Identity(g)", ", float[6, 6] u", "is also an output of the model"),
    "an output through Identity nodes": (
        "t = Identity(w) u = Identity(t) y = Identity(g)",
        ", float[6, 6] u",
        "is also an output of the model",
    ),
    "a branch": (
        """[r] c = If(flag) <then_branch = one () => (float[2, 6] p) { p = MatMul(g, w) },
            else_branch = two () => (float[2, 6] q) { q = Identity(g) }> y = Add(g, c)""",
        "",
        "also feeds r",
    ),
    "a loop": (
        """[r] y = Loop(n, flag, g) <body = body (int64 i, bool k, float[2, 6] s) => (bool l, float[2, 6] t) {
            l = Identity(k) t = MatMul(s, w) }>""",
        "",
        "also feeds r",
    ),
    "a Loop, through an Identity outside": (
        """o = Identity(w) [r] y = Loop(n, flag, g)
            <body = body (int64 i, bool k, float[2, 6] s) => (bool l, float[2, 6] t) {
            l = Identity(k) t = MatMul(s, o) }>""",
        "",
        "also feeds r",
    ),
    "the bias of another": ("[r] y = Gemm(g, v, z0) z0 = ReduceMax<keepdims = 0>(w, ax)", "", "also feeds"),
}


def staying(kind: str) -> onnx.ModelProto:
    nodes, more, _ = STAYS[kind]
    if "z0 =" in nodes:
        nodes = "z0 = ReduceMax<keepdims = 0>(w, ax) [r] y = Gemm(g, v, z0)"
    return build(
        f"""net (float[2, 6] x, bool flag) => (float[2, 6] y{more}) {{
            [a] h = MatMul(x, w) [b] g = MatMul(h, v) {nodes} }}""",
        w=W,
        v=V,
        ax=AXIS,
        n=np.array(2),
    )


@pytest.mark.parametrize("strip", [False, True], ids=["", "strip"])
@pytest.mark.parametrize("method", ["first-fit", "tight"])
@pytest.mark.parametrize("kind", TWICE)
def test_a_weight_that_two_layers_read_differently_is_rebuilt_once_for_both(
    kind: str, method: str, strip: bool
) -> None:
    graph, weights, feeds = TWICE[kind]
    chain = through(build(graph, **weights), method, strip=strip)
    if not strip:  # else the tensors go by other names
        assert_sound(chain, feeds)
        assert stored(chain.packed.proto) == ["w"]
    want = outputs(chain.pruned.to_bytes(), feeds)
    for one, other in zip(want, outputs(chain.packed.to_bytes(), feeds), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(stored(chain.packed.proto)) == 1
    assert [node.domain for node in chain.packed.proto.graph.node].count("tightc") == 1


@pytest.mark.parametrize("kind", TWICE)
def test_the_second_layer_is_named_with_the_reason(kind: str) -> None:
    graph, weights, _ = TWICE[kind]
    rows = through(build(graph, **weights)).pruning.uncovered
    reason = "its weight w is shared with a, which reads it as another matrix"
    assert {row["name"]: row["reason"] for row in rows}["b"] == reason


def test_a_weight_in_a_constant_node_is_rebuilt_once() -> None:
    graph, weights, feeds = TWICE["Gemm, transB"]
    proto = build(graph, **weights)
    node = onnx.helper.make_node("Constant", [], ["w"], value=proto.graph.initializer[0])
    del proto.graph.initializer[:]
    proto.graph.node.insert(0, node)
    chain = through(proto)
    assert stored(chain.packed.proto) == ["w"]
    assert "w" not in constants(chain.packed.proto)
    assert_sound(chain, feeds)


@pytest.mark.parametrize("kind", STAYS)
def test_a_layer_whose_weight_something_else_reads_stays_and_is_named(kind: str) -> None:
    chain = through(staying(kind))
    assert_sound(chain, {"x": X, "flag": FLAG})
    rows = {row["name"]: row["reason"] for row in chain.pruning.uncovered}
    assert STAYS[kind][2] in rows["a"]
    packed = constants(chain.packed.proto)
    np.testing.assert_array_equal(packed["w"], W)
    assert stored(chain.packed.proto) == ["v"]


def foreign(nodes: str) -> onnx.ModelProto:
    """Two layers, and an operator that onnxruntime does not know."""
    proto = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20, "com.example" : 1]>\n'
        f"net (float[2, 6] x) => (float[2, 6] y) {{ [a] h = MatMul(x, w) {nodes} }}"
    )
    proto.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in [("w", W), ("v", V)]
    )
    return proto


def test_a_foreign_operator_that_reads_a_weight_keeps_it() -> None:
    chain = through(
        foreign("[c] c = com.example.Twice(w) [b] g = MatMul(h, v) y = Add(g, c)"), simulated=False
    )
    np.testing.assert_array_equal(constants(chain.packed.proto)["w"], W)
    assert stored(chain.packed.proto) == ["v"]
    rows = {row["name"]: row["reason"] for row in chain.pruning.uncovered}
    assert rows["a"] == "its weight w also feeds c"
    assert "com.example" in rows["c"]


def test_a_model_with_an_operator_that_onnxruntime_does_not_know_is_packed() -> None:
    chain = through(foreign("[c] c = com.example.Twice(h) [b] y = MatMul(c, v)"), simulated=False)
    assert stored(chain.packed.proto) == ["w", "v"]
    assert [node.op_type for node in chain.unpacked.proto.graph.node] == ["MatMul", "Twice", "MatMul"]
    onnx.checker.check_model(chain.packed.proto, full_check=True)


def test_a_foreign_operator_of_the_name_identity_is_none() -> None:
    chain = through(foreign("[i] i = com.example.Identity(v) [b] y = MatMul(h, i)"), simulated=False)
    assert "Identity" in [node.op_type for node in chain.packed.proto.graph.node]


@pytest.mark.parametrize(
    ("opset", "weights", "domains"), [(19, ["v"], ["mine"]), (20, ["w", "v"], [])], ids=["another", "inlined"]
)
def test_a_function_that_is_not_inlined_keeps_the_weight_that_it_reads(
    opset: int, weights: list[str], domains: list[str]
) -> None:
    proto = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20, "mine" : 1]>
        net (float[2, 6] x) => (float[2, 6] y) {{ [a] h = MatMul(x, w) [c] g = mine.Twice(h, w) [b] y = MatMul(g, v) }}
        <domain: "mine", opset_import: ["" : {opset}]> Twice (x, w) => (y) {{ a = MatMul(x, w) y = Add(a, a) }}"""
    )
    proto.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in [("w", W), ("v", V)]
    )
    chain = through(proto)
    assert_sound(chain, {"x": X})
    assert stored(chain.packed.proto) == weights
    assert [function.domain for function in chain.unpacked.proto.functions] == domains


@settings(max_examples=25)
@given(
    readers=st.lists(
        st.sampled_from(["Gemm", "Gemm<transB = 1>", "MatMul", "left", "sum"]), min_size=1, max_size=5
    ),
    identities=st.integers(0, 2),
)
def test_any_readers_of_one_weight_compute_the_same_after_the_chain(
    readers: list[str], identities: int
) -> None:
    nodes, weight, value = [], "w", "x"
    for i in range(identities):
        nodes.append(f"i{i} = Identity({weight})")
        weight = f"i{i}"
    for i, reader in enumerate(readers):
        read = weight if i % 2 else "w"
        call = {
            "left": f"MatMul({read}, {value})",
            "sum": f"Add({value}, {read})",
        }.get(reader, f"{reader}({value}, {read})")
        nodes.append(f"[n{i}] a{i} = {call}")
        value = f"a{i}"
    text = f"net (float[6, 6] x) => (float[6, 6] y) {{ {' '.join(nodes)} [last] y = MatMul({value}, v) }}"
    chain = through(build(text, w=W, v=V))
    assert_sound(chain, {"x": SQUARE})
    assert sorted(stored(chain.packed.proto)) == (["v"] if "sum" in readers else ["v", "w"])


def test_the_transpose_of_a_weight_becomes_a_weight_of_its_own_with_a_note() -> None:
    proto = build(
        "net (float[2, 6] x) => (float[2, 6] y) { [a] h = MatMul(x, w) t = Transpose(w) [b] y = MatMul(h, t) }",
        w=W,
    )
    model = loaded(proto)
    assert model.notes[1] == "untied by folding, so stored twice and trained separately: t"
    assert_sound(through(proto), {"x": np.ones((2, 6), np.float32)})
    untied = build("net (float[2, 6] x) => (float[2, 6] y) { t = Transpose(w) [b] y = MatMul(x, t) }", w=W)
    assert len(loaded(untied).notes) == 1


def test_the_commands_write_what_onnxruntime_runs(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, weights, feeds = TWICE["Gemm, transB"]
    source = str(models.save(build(graph, **weights), tmp_path / "net.onnx"))
    steps = {name: str(tmp_path / f"{name}.onnx") for name in ("p", "q", "k", "u")}
    options = ["--array", "8x8", "--fan-in", "4", "--method", "first-fit", "-q"]
    assert run(["prune", source, "--sparsity", "0.5", "-q", "-o", steps["p"]]) == 0
    assert run(["permute", steps["p"], *options, "-o", steps["q"]]) == 0
    assert run(["pack", steps["q"], "-q", "-o", steps["k"]]) == 0
    assert run(["unpack", steps["k"], "-q", "-o", steps["u"]]) == 0
    assert capsys.readouterr() == ("", "")
    want, *others = (outputs(Path(path).read_bytes(), feeds) for path in steps.values())
    for other in others:
        np.testing.assert_array_equal(want[0], other[0])
