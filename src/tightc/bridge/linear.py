"""Matrix products: Gemm, MatMul, Einsum."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import Operator, on_one_device
from tightc.model.onnx_proto.graph import Node


def gemm(node: Node) -> Operator:
    """alpha A B + beta C; A and B may be transposed, C is broadcast and optional."""
    alpha = float(node.attributes.get("alpha", 1.0))
    beta = float(node.attributes.get("beta", 1.0))
    transposed_a = bool(node.attributes.get("transA", 0))
    transposed_b = bool(node.attributes.get("transB", 0))

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        rows = a.t() if transposed_a else a
        filters = b if transposed_b else b.t()
        if alpha == beta == 1.0 and (c is None or c.shape == filters.shape[:1]):
            return functional.linear(rows, filters, c)
        product = functional.linear(rows, filters) * alpha
        return product if c is None else product + c * beta

    return run


def matmul(_node: Node) -> Operator:
    """The product of two stacks of matrices, or of vectors."""
    return torch.matmul


def einsum(node: Node) -> Operator:
    """Products of the operands, summed over the indices that the equation leaves out."""
    equation = str(node.attributes["equation"])
    return lambda *operands: torch.einsum(equation, *on_one_device(*operands))
