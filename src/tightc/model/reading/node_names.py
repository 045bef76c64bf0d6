"""Names of nodes: onnxruntime refuses a graph in which two nodes have the same one."""

from __future__ import annotations

from itertools import count

import onnx

from tightc.model.onnx_proto.naming import walk_graphs


def make_unique(proto: onnx.ModelProto) -> list[str]:
    """Number the later nodes of a name that others in their graph have, in place; returns the shared names."""
    shared = {}
    for graph in walk_graphs(proto.graph):
        taken = {node.name for node in graph.node}
        seen: set[str] = set()
        for node in graph.node:
            if node.name and node.name in seen:
                shared[node.name] = True
                node.name = next(
                    name for number in count(2) if (name := f"{node.name}_{number}") not in taken
                )
                taken.add(node.name)
            seen.add(node.name)
    return list(shared)
