"""An ONNX graph as a torch module, with its parameters by their ONNX names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from tightc.bridge.constant import from_array, to_array
from tightc.bridge.micro_batches import ONLY_SIZES, join, map_batches, run_on_all, split
from tightc.bridge.operator import Operator, unsupported
from tightc.bridge.operators import CONSTANT_INPUTS, DEPENDS_ON_TRAINING, OPERATORS, OUTPUTS
from tightc.bridge.parameters import Role, running_statistics, trained_tensors
from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Graph, Node, is_identity, is_standard


@dataclass(frozen=True)
class _Operation:
    """A node that is run, and its operator."""

    node: Node
    operator: Operator


@dataclass(frozen=True)
class _Step:
    """One operator call; an input is the name of a value, a constant tensor, or None where omitted."""

    name: str
    operator: Operator
    inputs: tuple[str | Tensor | None, ...]
    outputs: tuple[str, ...]
    depends_on_training: bool
    last_uses: tuple[str, ...]


class TorchGraph(nn.Module):
    """Runs `graph` in torch: takes its inputs in order, returns a tuple of its outputs.

    Weights, biases, scales and slopes are parameters; running statistics and other float constants are buffers.
    `roles`, `parameter` and `trained` use ONNX names, since torch names permit no dots. Shapes, axes and pads stay on
    the CPU. Values that depend on constants only are computed once, when the module is built. ModelError names the
    operator and node that is not supported.

    With a `micro_batch` any number of samples is run as batches of that size, side by side; only normalizations in
    training see all samples at once.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.micro_batch = graph.micro_batch
        self.roles: dict[str, Role] = trained_tensors(graph)
        self._statistics = running_statistics(graph)
        _check_one_role(set(self.roles), set(self._statistics))
        self._inputs = graph.inputs
        self._parameter_names: dict[str, str] = {}
        self._buffer_names: dict[str, str] = {}
        for index, name in enumerate(self.roles):
            self._parameter_names[name] = f"trained_{index}"
            self.register_parameter(f"trained_{index}", nn.Parameter(from_array(graph.tensors[name])))
        for index, name in enumerate(self._statistics):
            self._buffer_names[name] = f"running_{index}"
            self.register_buffer(f"running_{index}", from_array(graph.tensors[name]))
        aliases = _aliases(graph)
        self._outputs = tuple(aliases.get(name, name) for name in graph.outputs)
        operations, constants = _fold(graph, aliases, trained=frozenset((*self.roles, *self._statistics)))
        self._steps = _steps(operations, constants, aliases, self._outputs)
        self._host: dict[str, Tensor] = {}
        for name in _data_names(self._steps, self._outputs):
            if name in constants and constants[name].is_floating_point():
                self._buffer_names[name] = registered = f"constant_{len(self._buffer_names)}"
                self.register_buffer(registered, constants[name])
            elif name in constants:
                self._host[name] = constants[name]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs for its `inputs`, in the graph's order, with shapes and dtypes as in ONNX."""
        if self.micro_batch is None:
            return self._run(inputs, stacked=set())
        stacked = set(self._inputs)
        found = self._run(split(inputs, self.micro_batch), stacked)
        return tuple(
            join(output, len(inputs[0]), self.micro_batch) if name in stacked else output
            for name, output in zip(self._outputs, found, strict=True)
        )

    def _run(self, inputs: Sequence[Tensor], stacked: set[str]) -> tuple[Tensor, ...]:
        """The outputs for `inputs`; the values named in `stacked` have an axis of batches before those of the graph."""
        values: dict[str, Any] = dict(zip(self._inputs, inputs, strict=True))
        values.update(self._host)
        values.update((name, self._parameters[key]) for name, key in self._parameter_names.items())
        values.update((name, self._buffers[key]) for name, key in self._buffer_names.items())
        for step in self._steps:
            arguments = [values[given] if isinstance(given, str) else given for given in step.inputs]
            operator = (
                partial(step.operator, training=self.training) if step.depends_on_training else step.operator
            )
            marks = [isinstance(given, str) and given in stacked for given in step.inputs]
            if not any(marks):
                found = operator(*arguments)
            elif step.name in ONLY_SIZES:
                found = operator(*(argument[0] for argument in arguments if argument is not None))
            else:
                run = run_on_all if step.depends_on_training else map_batches
                found = run(operator, arguments, marks)
                stacked.update(step.outputs)
            values.update(zip(step.outputs, (found,) if isinstance(found, Tensor) else found, strict=False))
            for name in step.last_uses:
                del values[name]
        return tuple(values[name] for name in self._outputs)

    def parameter(self, name: str) -> nn.Parameter:
        """The parameter that holds the ONNX tensor `name`."""
        return self.get_parameter(self._parameter_names[name])

    def weights(self) -> list[nn.Parameter]:
        """The Conv, Gemm and MatMul weights, each once."""
        return [self.parameter(name) for name, role in self.roles.items() if role == "weight"]

    def running_statistics(self) -> list[tuple[Tensor, float]]:
        """Running means and variances that training updates, and the update rate of each, above 0 to 1."""
        return [
            (self.get_buffer(self._buffer_names[name]), rate)
            for name, rate in self._statistics.items()
            if rate > 0
        ]

    def trained(self) -> dict[str, NDArray[Any]]:
        """The parameters and running statistics as arrays, by ONNX name."""
        tensors = {name: self.parameter(name).data for name in self.roles}
        tensors.update({name: self.get_buffer(self._buffer_names[name]) for name in self._statistics})
        return {name: to_array(tensor) for name, tensor in tensors.items()}


def _check_one_role(trained: set[str], statistics: set[str]) -> None:
    for name in sorted(trained & statistics):
        raise ModelError(
            f"tensor {name}: expected a trained tensor or a running statistic, got one that is both",
            "export the model without sharing equal tensors",
        )


def _aliases(graph: Graph) -> dict[str, str]:
    """The output of each Identity, and the value that it passes on."""
    aliases: dict[str, str] = {}
    for node in graph.nodes:
        if is_identity(node.op, node.domain):
            aliases[node.outputs[0]] = aliases.get(node.inputs[0], node.inputs[0])
    return aliases


def _fold(
    graph: Graph, aliases: dict[str, str], trained: frozenset[str]
) -> tuple[list[_Operation], dict[str, Tensor]]:
    """The nodes that depend on inputs or `trained` tensors, with their operators, and all other values as constants."""
    constants = {name: _constant(name, array) for name, array in graph.tensors.items() if name not in trained}
    operations = []
    for node in graph.nodes:
        operator = _operator(node)
        if node.op == "Identity" or (node.op == "Constant" and node.outputs[0] in graph.tensors):
            continue
        arguments = [constants.get(aliases.get(name, name)) for name in node.inputs]
        known = all(found is not None or not name for found, name in zip(arguments, node.inputs, strict=True))
        if known and node.op not in DEPENDS_ON_TRAINING:
            found = operator(*arguments)
            values = (found,) if isinstance(found, Tensor) else found
            constants.update(zip(node.outputs, values, strict=False))
        else:
            operations.append(_Operation(node, operator))
    return operations, constants


def _constant(name: str, array: NDArray[Any]) -> Tensor:
    try:
        return from_array(array)
    except TypeError:
        raise ModelError(
            f"tensor {name}: expected a dtype that torch computes with, got {array.dtype}",
            "finetune before the model is quantized",
        ) from None


def _operator(node: Node) -> Operator:
    if not is_standard(node.domain):
        unsupported(node, "an operator of the ONNX domain", f"domain {node.domain}")
    if node.op not in OPERATORS:
        unsupported(node, "an operator that finetune supports", node.op)
    most = OUTPUTS.get(node.op, 1)
    if most is not None and any(node.outputs[most:]):
        unsupported(node, f"no output {most + 1}", node.outputs[most])
    return OPERATORS[node.op](node)


def _steps(
    operations: Sequence[_Operation],
    constants: dict[str, Tensor],
    aliases: dict[str, str],
    outputs: tuple[str, ...],
) -> list[_Step]:
    """The operator calls in order, each with the values that no later call reads."""
    needed = set(outputs)
    steps: list[_Step] = []
    for operation in reversed(operations):
        node = operation.node
        constant_inputs = CONSTANT_INPUTS.get(node.op, frozenset())
        inputs: list[str | Tensor | None] = []
        for place, name in enumerate(aliases.get(name, name) for name in node.inputs):
            inputs.append(constants[name] if place in constant_inputs and name in constants else name or None)
        names = {name for name in inputs if isinstance(name, str)}
        made = {name for name in node.outputs if name}
        last_uses = (names - needed) | (made - needed)
        needed |= names
        steps.append(
            _Step(
                name=node.op,
                operator=operation.operator,
                inputs=tuple(inputs),
                outputs=node.outputs,
                depends_on_training=node.op in DEPENDS_ON_TRAINING,
                last_uses=tuple(sorted(last_uses)),
            )
        )
    return steps[::-1]


def _data_names(steps: Sequence[_Step], outputs: tuple[str, ...]) -> list[str]:
    """The values that a step or the caller reads as tensors."""
    names = [name for step in steps for name in step.inputs if isinstance(name, str)]
    return list(dict.fromkeys((*names, *outputs)))
