"""A network of the zoo through all stages, each of which reads the file of the one before; outputs by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

import tightc
from helpers.chains import outputs

AT_RUN_TIME = "it has no constant weight: both sides are computed at run time"
# of the largest output: sums may be taken in another order
TOLERANCES = {np.dtype(np.float32): 1e-4, np.dtype(np.float16): 5e-3}


def covered_share(report: tightc.Report) -> float:
    """The fraction of the MACs with a constant operand that tightc packs."""
    rest = [row for row in report.uncovered if row["reason"] != AT_RUN_TIME]
    assert all(row["macs"] is not None for row in rest), rest
    return report.macs / (report.macs + sum(row["macs"] for row in rest))


def feeds_of(path: Path) -> dict[str, np.ndarray]:
    """Two random inputs where the batch is open, else one."""
    proto = onnx.load(path)
    constants = {tensor.name for tensor in proto.graph.initializer}
    (value,) = (value for value in proto.graph.input if value.name not in constants)
    shape = [size.dim_value or 2 for size in value.type.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return {value.name: np.random.default_rng(0).standard_normal(shape).astype(dtype)}


def written(model: tightc.Model, path: Path) -> tightc.Model:
    """`model` as the next command reads it."""
    tightc.save(model, path)
    return tightc.load(path)


def assert_equal_outputs(want: Path, got: Path) -> None:
    """The outputs of two files for the same random inputs agree, and are not trivial."""
    feeds = feeds_of(want)
    for one, other in zip(outputs(want.read_bytes(), feeds), outputs(got.read_bytes(), feeds), strict=True):
        assert np.isfinite(one).all() and one.std() > 1e-3 * np.abs(one).max() > 0
        bound = TOLERANCES[one.dtype] * float(np.abs(one).max())
        np.testing.assert_allclose(other.astype(float), one.astype(float), rtol=0, atol=bound)


def check_stages(path: Path, folder: Path) -> None:
    """Prune, permute, pack, unpack and verify the model of `path`, and compare the outputs at every step."""
    model = tightc.load(path)
    assert_equal_outputs(path, _saved(tightc.prune(model, sparsity=0).model, folder / "unpruned.onnx"))
    pruned, report = tightc.prune(model, sparsity=0.8)
    assert abs(report.density - 0.2) < 0.01
    plain = _saved(pruned, folder / "pruned.onnx")
    permuted = tightc.permute(tightc.load(plain), array="8x8", fan_in=4, method="first-fit", jobs=1).model
    permuted = written(permuted, folder / "permuted.onnx")
    packed = written(tightc.pack(permuted).model, folder / "packed.onnx")
    assert packed.proto.functions
    tightc.save(tightc.unpack(packed).model, folder / "unpacked.onnx")
    for stage in ("permuted", "packed", "unpacked"):
        assert_equal_outputs(plain, folder / f"{stage}.onnx")
    verified = tightc.verify(packed, array="8x8")
    assert verified.totals["verified_layers"] == len(verified.layers) == len(report.layers)


def _saved(model: tightc.Model, path: Path) -> Path:
    tightc.save(model, path)
    return path
