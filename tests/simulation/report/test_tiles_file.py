"""The tiles as arrays: numpy alone rebuilds from them the weights that onnx reads from the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.simulation.report.tiles import export_tiles


def rebuilt(path: Path) -> dict[str, NDArray[np.float64]]:
    """The matrix of each layer, filters x inputs over all groups, by name."""
    found = {}
    with np.load(path, allow_pickle=False) as arrays:
        for layer, key in zip(arrays["layers"].tolist(), arrays["keys"].tolist(), strict=True):
            filters, inputs = arrays[f"{key}.filters"], arrays[f"{key}.inputs"]
            select, weights = arrays[f"{key}.select"], arrays[f"{key}.weights"]
            rows, columns, _ = arrays[f"{key}.shape"]
            matrix = np.zeros((rows, columns))
            tile, lane, column = np.nonzero(select >= 0)
            slots = (filters[tile, column], inputs[tile, lane, select[tile, lane, column]])
            np.add.at(matrix, slots, weights[tile, lane, column])
            found[layer] = matrix
    return found


def dense(proto: onnx.ModelProto) -> dict[str, NDArray[np.float64]]:
    """The matrix of each Conv and Gemm of a plain model, grouped ones block-diagonal."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        if node.op_type == "Conv":
            weight = weights[node.input[1]]
            groups, filters = attributes.get("group", 1), len(weight)
            blocks = weight.reshape(groups, filters // groups, -1)
            matrix = np.zeros((filters, groups * blocks.shape[2]))
            for group, block in enumerate(blocks):
                matrix[
                    group * len(block[:, 0]) : (group + 1) * len(block[:, 0]),
                    group * block.shape[1] : (group + 1) * block.shape[1],
                ] = block
            found[node.name] = matrix
        elif node.op_type in ("Gemm", "MatMul"):
            weight = weights[node.input[1]]
            found[node.name] = weight if attributes.get("transB") else weight.T
    return found


def grouped() -> Model:
    proto = models.build(
        """net (float[1, 3, 8, 8] x) => (float[1, 5] y) {
                a = Conv<pads = [1, 1, 1, 1]>(x, u)
                [grouped] b = Conv<group = 4>(a, v)
                [pool] c = GlobalAveragePool(b)
                d = Flatten(c)
                [last] y = Gemm<transB = 1>(d, z)
            }""",
        u=models.sparse(12, 3, 3, 3),
        v=models.sparse(24, 3, 3, 3),
        z=models.sparse(5, 24),
    )
    proto.graph.node[0].name = "first/conv"
    return loaded(proto)


@pytest.mark.parametrize("method", ["tight", "first-fit", "structured", "dense", "column-combine"])
def test_the_weights_are_rebuilt(method: str, tmp_path: Path) -> None:
    pruned, _ = tightc.prune(grouped(), sparsity=0.7)
    permuted, _ = tightc.permute(pruned, method=method, array="8x4", fan_in=3, alpha=3, temp_schedule="quick")
    for model in (permuted, tightc.pack(permuted).model):
        found = rebuilt(export_tiles(model, tmp_path / "tiles.npz"))
        wanted = dense(tightc.unpack(model).model.proto if model is not permuted else permuted.proto)
        assert set(found) == set(wanted) == {"first/conv", "grouped", "last"}
        for name, matrix in found.items():
            np.testing.assert_array_equal(matrix, wanted[name])


@pytest.mark.parametrize("bits", [None, 4, 2])
def test_integers_and_their_subwords_are_rebuilt(bits: int | None, tmp_path: Path) -> None:
    granularity = {"granularity": "subword", "subword_bits": bits} if bits else {}
    quantized, _ = tightc.quantize(grouped())
    pruned, _ = tightc.prune(quantized, sparsity=0.7, **granularity)
    permuted, _ = tightc.permute(pruned, method="first-fit", array="8x4", fan_in=3, subword_bits=bits)
    found = rebuilt(export_tiles(permuted, tmp_path / "tiles.npz"))
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in permuted.proto.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    ]
    assert len(weights) == len(found) == 3
    for matrix in found.values():
        same = [
            weight
            for weight in weights
            if np.count_nonzero(weight) == np.count_nonzero(matrix)
            and sorted(weight[weight != 0].tolist()) == sorted(matrix[matrix != 0].tolist())
        ]
        assert same
    linear = next(weight for weight in weights if weight.ndim == 2)
    np.testing.assert_array_equal(found["last"], linear if linear.shape == found["last"].shape else linear.T)


def test_what_is_empty_is_minus_one_and_zero(tmp_path: Path) -> None:
    pruned, _ = tightc.prune(grouped(), sparsity=0.7)
    permuted, _ = tightc.permute(pruned, method="first-fit", array="8x4", fan_in=3)
    with np.load(export_tiles(permuted, tmp_path / "t.npz"), allow_pickle=False) as arrays:
        for tile in tightc.tiles(permuted):
            key = dict(zip(arrays["layers"].tolist(), arrays["keys"].tolist(), strict=True))[tile.layer]
            lanes, columns = tile.select.shape
            select = arrays[f"{key}.select"][tile.index]
            assert np.array_equal(select[:lanes, :columns], tile.select)
            assert (select[lanes:] == -1).all() and (select[:, columns:] == -1).all()
            assert np.array_equal(arrays[f"{key}.weights"][tile.index][:lanes, :columns], tile.weights)
            assert (arrays[f"{key}.weights"][tile.index][select == -1] == 0).all()
            assert np.array_equal(arrays[f"{key}.filters"][tile.index][:columns], tile.filters)
            for lane in range(lanes):
                carried = arrays[f"{key}.inputs"][tile.index, lane]
                assert np.array_equal(carried[carried >= 0], tile.lane_inputs(lane))
            assert (arrays[f"{key}.inputs"][tile.index, lanes:] == -1).all()


def test_the_same_tiles_give_the_same_bytes(tmp_path: Path) -> None:
    permuted, _ = tightc.permute(grouped(), method="first-fit", array="8x4", fan_in=3)
    first = export_tiles(permuted, tmp_path / "a.npz").read_bytes()
    assert export_tiles(permuted, tmp_path / "b.npz").read_bytes() == first


def test_a_model_without_tiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"got one without tiles; run tightc permute first, or leave"):
        export_tiles(grouped(), tmp_path / "t.npz")
    assert not list(tmp_path.iterdir())
