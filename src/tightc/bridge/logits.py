"""What gradients need of a network: its logits, and tensors in float32."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tightc.errors import ModelError
from tightc.model.graph import Graph

if TYPE_CHECKING:
    from tightc.bridge.module import TorchGraph


def without_softmax(graph: Graph) -> Graph:
    """The graph up to a closing Softmax, which the loss has of its own."""
    last = next((node for node in graph.nodes if graph.outputs[0] in node.outputs), None)
    if last is None or last.op != "Softmax" or len(graph.outputs) != 1:
        return graph
    return replace(graph, outputs=last.inputs[:1])


def check_float32(module: TorchGraph, origin: str, *, needs: str, remedy: str) -> None:
    """ModelError, which says who `needs` it and what to do, where a tensor that gets a gradient is no float32."""
    for name in module.roles:
        dtype = str(module.parameter(name).dtype).removeprefix("torch.")
        if dtype != "float32":
            raise ModelError(f"{origin}: tensor {name} is {dtype}, {needs} float32", remedy)
