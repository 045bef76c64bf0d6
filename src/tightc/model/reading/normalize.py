"""The reader's work on a model from another tool: one place, which every command passes through."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from tightc.model.reading.bounds import require_bounds
from tightc.model.reading.foreign_quantization import to_standard_quantization
from tightc.model.reading.functions import inline_functions
from tightc.model.reading.initializers import fix_overridable, make_dense
from tightc.model.reading.node_names import make_unique
from tightc.model.reading.opset import raise_opset
from tightc.model.reading.sizes import open_placeholders
from tightc.report import join_names


@dataclass(frozen=True)
class ReadingOptions:
    """How a model is read.

    `keep_overridable`: initializers that are inputs too stay so, and layers that read one as their weight stay dense.
    """

    keep_overridable: bool = False


def normalize(
    proto: onnx.ModelProto, origin: str, options: ReadingOptions, *, is_packed: bool = False
) -> list[str]:
    """Bring the form of `proto` up to what stages work with, in place; returns a sentence for each change.

    A model that needs nothing stays as it is, and so do the functions of one that `is_packed`. ModelError, naming
    `origin`, where it cannot be done, or where it declares sizes that no model needs.
    """
    require_bounds(proto, origin)
    done = []
    inlined = [] if is_packed else inline_functions(proto, origin)
    if inlined:
        done.append(f"functions replaced by their nodes: {join_names(inlined)}")
    shared = make_unique(proto)
    if shared:
        done.append(f"node names that several nodes had are numbered: {join_names(shared)}")
    opened = open_placeholders(proto)
    if opened:
        done.append(f"sizes of -1 or 0 taken as open: {join_names(opened)}")
    if not options.keep_overridable:
        fixed = fix_overridable(proto)
        if fixed:
            done.append(f"initializers that were inputs too are constants now: {fixed}")
    dense = make_dense(proto, origin)
    if dense:
        done.append(f"sparse initializers stored dense: {join_names(dense)}")
    done += filter(None, [to_standard_quantization(proto, origin), raise_opset(proto, origin)])
    return done
