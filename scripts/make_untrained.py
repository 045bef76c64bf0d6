"""Writes a network with random weights in place of those it was trained to, so that it can be trained without them.

    python scripts/make_untrained.py resnet20-cifar10-bn.onnx untrained.onnx --seed 0

Convolutions after He et al. 2015, "Delving Deep into Rectifiers", section 2.2, from the inputs' side; matrices from a
normal distribution of deviation 0.1; norms become identities and biases zero.
"""

from __future__ import annotations

import argparse
from math import prod, sqrt
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

_NORM = (1, 0, 0, 1)  # scale, shift, mean, variance


def untrained(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """A copy of `model` with new floating-point tensors of one, two or four axes; others stay."""
    randomness = np.random.default_rng(seed)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    norms: dict[str, int] = {}
    for node in made.graph.node:
        if node.op_type == "BatchNormalization":
            norms.update(zip(node.input[1:5], _NORM, strict=True))
    for tensor in made.graph.initializer:
        old = numpy_helper.to_array(tensor)
        if old.dtype != np.float32 or old.ndim not in (1, 2, 4):
            continue
        spread = {4: sqrt(2 / prod(old.shape[1:])), 2: 0.1, 1: 0.0}[old.ndim]
        new = np.full(old.shape, float(norms.get(tensor.name, 0)))
        if spread:
            new = spread * randomness.standard_normal(old.shape)
        tensor.CopyFrom(numpy_helper.from_array(new.astype(np.float32), tensor.name))
    return made


def main() -> None:
    """Reads and writes the files that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    onnx.save(untrained(onnx.load(asked.model), asked.seed), asked.path)


if __name__ == "__main__":
    main()
