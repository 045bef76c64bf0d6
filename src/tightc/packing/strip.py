"""Strip: a model without what only people read of it."""

from __future__ import annotations

import onnx

from tightc.model.fields import set_field
from tightc.model.file import Model


def stripped(model: Model) -> Model:
    """`model` without notes on nodes and values and without shapes between nodes; it computes the same.

    Names stay, and so do the model's own properties, such as what tightc records.
    """
    proto = model.editable()
    proto.doc_string = ""
    _strip(proto.graph)
    return model.changed(proto)


def _strip(graph: onnx.GraphProto) -> None:
    set_field(graph.value_info, [])
    for noted in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        noted.ClearField("doc_string")
        noted.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _strip(inner)
