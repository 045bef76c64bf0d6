"""A network that grows node by node. onnxruntime computes each value, so that its shape and range are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort

Array = np.ndarray
Choice = TypeVar("Choice")

LOCAL = "local"  # the domain of the model's own functions
MOST_ELEMENTS = 1500
LARGEST = 200.0  # float16 ends at 65504, and a few layers follow
ORT_ERRORS = (
    ort.EPFail,
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.NotImplemented,
    ort.RuntimeException,
)


class RefusedError(Exception):
    """onnxruntime does not run a drawn node, or its values get too many or too large."""


@dataclass(frozen=True)
class Value:
    """A value of the network, and what it is for the feeds."""

    name: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def rank(self) -> int:
        return self.array.ndim


@dataclass
class Network:
    """The nodes and constants drawn so far.

    `known`: what each name is for the feeds. `values`: those that later nodes may read. `weights`: the shape of each
    weight, which other layers may share. `kinds`: what was drawn.
    """

    draw: st.DrawFn
    opset: int
    dtype: np.dtype[Any]
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, onnx.TensorProto] = field(default_factory=dict)
    sparse: dict[str, onnx.SparseTensorProto] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    functions: list[onnx.FunctionProto] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    known: dict[str, Array] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    depth: int = 0
    names: int = 0

    # --- draws; the simple choice comes first

    def choose(self, choices: Sequence[Choice]) -> Choice:
        return choices[0] if len(choices) == 1 else self.draw(st.sampled_from(choices))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def number(self, low: int, high: int) -> int:
        return low if low == high else self.draw(st.integers(low, high))

    def note(self, kind: str) -> None:
        self.kinds.append(kind)

    # --- constants

    def name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"

    def tensor(self, array: Array, stem: str = "t") -> str:
        """An initializer."""
        name = self.name(stem)
        self.tensors[name] = numpy_helper.from_array(np.asarray(array), name)
        self.known[name] = np.asarray(array)
        return name

    def integers(self, *values: int) -> str:
        return self.tensor(np.array(values, np.int64), "n")

    def random(self, shape: tuple[int, ...], dtype: Any, scale: float = 1.0) -> Array:
        return np.asarray(self.rng.normal(size=shape) * scale).astype(dtype)

    # --- nodes

    def add(self, op: str, inputs: Iterable[str], outputs: int = 1, domain: str = "", **settings: Any) -> str:
        """A node; the name of its first output."""
        return self.add_all(op, inputs, outputs, domain, **settings)[0]

    def add_all(
        self, op: str, inputs: Iterable[str], outputs: int = 1, domain: str = "", **settings: Any
    ) -> list[str]:
        """A node; the names of its outputs. RefusedError where onnxruntime does not run it."""
        names = [self.name("v") for _ in range(outputs)]
        node = helper.make_node(op, list(inputs), names, self.name("node"), domain=domain, **settings)
        for name, array in zip(names, self._run(node), strict=True):
            if array.size == 0 or array.size > MOST_ELEMENTS:
                raise RefusedError(f"{op}: {array.size} elements")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise RefusedError(f"{op}: values that are not finite")
            self.known[name] = array
        self.nodes.append(node)
        self.note(f"op: {op}" if not domain else "op: function")
        return names

    def _run(self, node: onnx.NodeProto) -> list[Array]:
        tensors = [numpy_helper.from_array(self.known[name], name) for name in free_names([node])]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "one", [], outputs, tensors)
        try:
            return run(make_model(graph, self.opset, 8, self.functions), {})
        except ORT_ERRORS as fault:
            raise RefusedError(f"{node.op_type}: {fault}") from None

    def value(self, name: str) -> Value:
        """The value `name` for later nodes. RefusedError where it is large."""
        if not (np.abs(self.known[name]) < LARGEST).all():
            raise RefusedError("large values")
        return Value(name, self.known[name])

    # --- going back

    def copied(self) -> Network:
        """Itself as it is now, to which `restore` goes back."""
        lists = {name: copy(value) for name, value in vars(self).items() if isinstance(value, list | dict)}
        return replace(self, **lists)

    def restore(self, earlier: Network) -> None:
        vars(self).update(vars(earlier.copied()))


def make_model(
    graph: onnx.GraphProto, opset: int, ir: int, functions: Sequence[onnx.FunctionProto] = ()
) -> onnx.ModelProto:
    """A model of `graph` in the IR version `ir`, or the oldest that may hold `opset`."""
    imports = [helper.make_opsetid("", opset)]
    oldest = helper.find_min_ir_version_for(imports)
    if functions:
        imports.append(helper.make_opsetid(LOCAL, 1))
    return helper.make_model(
        graph, opset_imports=imports, ir_version=max(oldest, ir), functions=list(functions)
    )


def run(proto: onnx.ModelProto, feeds: dict[str, Array], *, optimized: bool = False) -> list[Array]:
    """The outputs of stock onnxruntime, which optimizes the graph or nothing."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, feeds)]


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g


def read_names(node: onnx.NodeProto) -> list[str]:
    """The names that a node and its subgraphs read from outside."""
    read = [name for name in node.input if name]
    for graph in subgraphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        own.update(name for entry in graph.node for name in entry.output)
        read += [name for name in free_names(graph.node) if name not in own]
        read += [value.name for value in graph.output if value.name not in own]
    return read


def free_names(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """The names that `nodes` read and do not compute, in order, each once."""
    found: dict[str, None] = {}
    inner: set[str] = set()
    for node in nodes:
        found.update((name, None) for name in read_names(node) if name not in inner)
        inner.update(node.output)
    return list(found)


Draw = Callable[[Network, Value], list[str]]
