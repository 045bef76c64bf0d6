"""Second moments of what flows into and out of a layer: all that its weights have to be fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from onnx import parser

from tightc.model.runtime.session import create_session
from tightc.pruning.obs.factor import Matrix

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Vectors = NDArray[np.float32]

_BLOCK = 4096  # vectors that are multiplied in float32 before their sum is added in float64
_PRODUCTS = """<ir_version: 8, opset_import: ["" : 17]>
products (float[V, G, A] left, float[V, G, B] right) => (float[G, A, B] sums) {
    rows = Transpose<perm = [1, 2, 0]>(left)
    columns = Transpose<perm = [1, 0, 2]>(right)
    sums = MatMul(rows, columns)
}"""


@dataclass
class Moments:
    """Sums over vectors. Of a layer with `groups` blocks, N filters and K inputs of each group, all float64:

    `count` of vectors; `inputs`: (groups, K, K), products of inputs; `across`: (N, K), of outputs with the inputs of
    their group; `outputs`: (N,), squares of outputs; `input_sums`: (groups, K); `output_sums`: (N,).
    """

    count: int
    inputs: NDArray[np.float64]
    across: Matrix
    outputs: NDArray[np.float64]
    input_sums: Matrix
    output_sums: NDArray[np.float64]

    def __iadd__(self, other: Moments) -> Moments:
        self.count += other.count
        for name in ("inputs", "across", "outputs", "input_sums", "output_sums"):
            array: NDArray[np.float64] = getattr(self, name)
            array += getattr(other, name)
        return self

    def centerd(self) -> Moments:
        """The same of inputs and outputs less their means: what is left to fit where a constant is free."""
        groups, inputs = self.input_sums.shape
        means = self.input_sums / self.count
        inner = self.inputs - self.input_sums[:, :, None] * means[:, None, :]
        per_group = self.output_sums.reshape(groups, -1)[:, :, None] * means[:, None, :]
        outer = self.across - per_group.reshape(-1, inputs)
        squares = self.outputs - np.square(self.output_sums) / self.count
        zeros = np.zeros_like(self.input_sums), np.zeros_like(self.output_sums)
        return Moments(self.count, inner, outer, squares, *zeros)


def empty_moments(filters: int, inputs: int, groups: int) -> Moments:
    """Of no vectors."""
    return Moments(
        0,
        np.zeros((groups, inputs, inputs)),
        np.zeros((filters, inputs)),
        np.zeros(filters),
        np.zeros((groups, inputs)),
        np.zeros(filters),
    )


def moments_of(inputs: Vectors, outputs: Vectors, groups: int) -> Moments:
    """Of vectors: `inputs` (vectors, groups * K) float32, `outputs` (vectors, filters) float32."""
    found = empty_moments(outputs.shape[1], inputs.shape[1] // groups, groups)
    found.count = len(inputs)
    for first in range(0, len(inputs), _BLOCK):
        into = inputs[first : first + _BLOCK].reshape(-1, groups, inputs.shape[1] // groups)
        out = outputs[first : first + _BLOCK].reshape(len(into), groups, -1)
        found.inputs += _products(into, into)
        found.across += _products(out, into).reshape(found.across.shape)
    found.outputs += np.square(outputs, dtype=np.float64).sum(axis=0)
    found.input_sums += inputs.sum(axis=0, dtype=np.float64).reshape(groups, -1)
    found.output_sums += outputs.sum(axis=0, dtype=np.float64)
    return found


def _products(left: Vectors, right: Vectors) -> NDArray[np.float32]:
    """left' right of each group: (groups, A, B) from (vectors, groups, A) and (vectors, groups, B).

    By onnxruntime on one thread: numpy's product rounds differently with each number of threads.
    """
    (sums,) = _session().run(None, {"left": left, "right": right})
    return np.asarray(sums)


@cache
def _session() -> InferenceSession:
    return create_session(parser.parse_model(_PRODUCTS).SerializeToString(), "products", threads=1)
