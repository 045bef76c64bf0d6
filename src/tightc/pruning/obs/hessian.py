"""The layer-wise Hessian X X^T, and the other sums over input and output vectors that a least-squares fit needs."""

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

_ROUNDING = 1e-6  # relative, of float32 sums: an input that varies by less is constant
_BLOCK = 4096  # vectors summed in float32 before their sum is added in float64
_PRODUCTS = """<ir_version: 8, opset_import: ["" : 17]>
products (float[V, G, A] left, float[V, G, B] right) => (float[G, A, B] sums) {
    rows = Transpose<perm = [1, 2, 0]>(left)
    columns = Transpose<perm = [1, 0, 2]>(right)
    sums = MatMul(rows, columns)
}"""


@dataclass
class CalibrationSums:
    """Sums over `count` vectors, for a layer with `groups` groups, N filters and K inputs per group; all float64.

    `hessian`: (groups, K, K), products of inputs with inputs, X X^T. `cross`: (N, K), products of outputs with the
    inputs of their group, Y X^T. `output_squares`: (N,). `input_sums`: (groups, K). `output_sums`: (N,).
    """

    count: int
    hessian: NDArray[np.float64]
    cross: Matrix
    output_squares: NDArray[np.float64]
    input_sums: Matrix
    output_sums: NDArray[np.float64]

    def __iadd__(self, other: CalibrationSums) -> CalibrationSums:
        self.count += other.count
        for name in ("hessian", "cross", "output_squares", "input_sums", "output_sums"):
            array: NDArray[np.float64] = getattr(self, name)
            array += getattr(other, name)
        return self

    def centered(self) -> CalibrationSums:
        """The same for inputs and outputs minus their means: for a layer with a bias that can be corrected."""
        groups, inputs = self.input_sums.shape
        means = self.input_sums / self.count
        hessian = self.hessian - self.input_sums[:, :, None] * means[:, None, :]
        per_group = self.output_sums.reshape(groups, -1)[:, :, None] * means[:, None, :]
        cross = self.cross.reshape(groups, -1, inputs) - per_group
        varies = np.einsum("gkk->gk", hessian) > _ROUNDING * np.einsum("gkk->gk", self.hessian)
        return CalibrationSums(
            count=self.count,
            hessian=np.where(varies[:, :, None] & varies[:, None, :], hessian, 0.0),
            cross=np.where(varies[:, None, :], cross, 0.0).reshape(-1, inputs),
            output_squares=self.output_squares - np.square(self.output_sums) / self.count,
            input_sums=np.zeros_like(self.input_sums),
            output_sums=np.zeros_like(self.output_sums),
        )


def zero_sums(filters: int, inputs: int, groups: int) -> CalibrationSums:
    """The sums over no vectors, for N `filters` and K `inputs` per group of `groups`."""
    return CalibrationSums(
        count=0,
        hessian=np.zeros((groups, inputs, inputs)),
        cross=np.zeros((filters, inputs)),
        output_squares=np.zeros(filters),
        input_sums=np.zeros((groups, inputs)),
        output_sums=np.zeros(filters),
    )


def vector_sums(inputs: Vectors, outputs: Vectors, groups: int) -> CalibrationSums:
    """The sums over `inputs`, (vectors, groups * K) float32, and `outputs`, (vectors, filters) float32."""
    found = zero_sums(outputs.shape[1], inputs.shape[1] // groups, groups)
    found.count = len(inputs)
    for first in range(0, len(inputs), _BLOCK):
        x = inputs[first : first + _BLOCK].reshape(-1, groups, inputs.shape[1] // groups)
        y = outputs[first : first + _BLOCK].reshape(len(x), groups, -1)
        found.hessian += _products(x, x)
        found.cross += _products(y, x).reshape(found.cross.shape)
    found.output_squares += np.square(outputs, dtype=np.float64).sum(axis=0)
    found.input_sums += inputs.sum(axis=0, dtype=np.float64).reshape(groups, -1)
    found.output_sums += outputs.sum(axis=0, dtype=np.float64)
    return found


def _products(left: Vectors, right: Vectors) -> NDArray[np.float32]:
    """left' right of each group: (groups, A, B) from (vectors, groups, A) and (vectors, groups, B).

    By onnxruntime on one thread, since the rounding of numpy's product depends on the number of threads.
    """
    (sums,) = _session().run(None, {"left": left, "right": right})
    return np.asarray(sums)


@cache
def _session() -> InferenceSession:
    return create_session(parser.parse_model(_PRODUCTS).SerializeToString(), "products", threads=1)
