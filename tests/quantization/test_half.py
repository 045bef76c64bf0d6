"""float16 networks are quantized, packed and verified like others."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from helpers.chains import ARRAY, again, outputs, through
from helpers.loading import loaded
from helpers.weight_forms import half_network
from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.errors import VerifyError
from tightc.model.history import read_history
from tightc.model.layer_view.layers import read_network
from tightc.model.onnx_proto.graph import default_opset
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.simulation import verify as verify_module
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate

VERIFY = SimulateOptions(array=ARRAY, verify=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["float16", "int8 weights", "all int8"])
def test_sound_networks_are_verified(kind: str, seed: int) -> None:
    model = loaded(half_network(20))
    if kind != "float16":
        pixels = np.random.default_rng(seed).normal(size=(20, 3, 9, 9)).astype(np.float32)
        images = NormalizedImages(Images(pixels, np.zeros(20, np.int64)), Normalization())
        model = again(quantize(model, QuantizeOptions(), images if kind == "all int8" else None).model)
    report = simulate(model, VERIFY, seed=seed)
    assert report.totals["verified_layers"] == 3 and report.totals["value_error"] < 4e-3


@pytest.mark.parametrize("opset", [13, 20])
def test_weights_become_int8_with_scales_of_float16(opset: int) -> None:
    proto = half_network(opset)
    quantized, report = quantize(loaded(proto), QuantizeOptions())
    tensors = {t.name: numpy_helper.to_array(t) for t in quantized.proto.graph.initializer}
    assert tensors["w.int8"].dtype == np.int8 and tensors["w.scale"].dtype == np.float16
    assert not tensors["w.zero"].any() and tensors["w.zero"].dtype == np.int8
    assert default_opset(quantized.proto) == max(opset, 19)
    notes = read_history(quantized)[0].get("notes", [])
    assert any("opset raised from 13 to 19" in note for note in notes) == (opset == 13)
    assert any("opset raised from 13 to 19" in note for note in report.notes) == (opset == 13)
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 3, 9, 9)).astype(np.float16)}
    (one,), (other,) = outputs(proto.SerializeToString(), feeds), outputs(quantized.to_bytes(), feeds)
    assert other.dtype == np.float16
    assert np.abs(one - other).max() < 0.03 * np.abs(one).max()
    network = read_network(quantized)
    assert all(network.weights[layer.weight].dtype == np.int8 for layer in network.layers)
    chain = through(quantized.proto)
    (want,) = outputs(chain.pruned.to_bytes(), feeds)
    for stage in (chain.permuted, chain.packed, chain.unpacked):
        # onnxruntime leaves out the rounding between some layers, depending on which tensors are constant
        np.testing.assert_allclose(outputs(stage.to_bytes(), feeds)[0], want, rtol=2e-3, atol=1e-2)


def test_a_wrong_slot_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = through(half_network(20)).packed
    assert simulate(packed, VERIFY).totals["verified_layers"] == 3
    own = verify_module._operands

    def wrong(workload, node, value, weight):  # type: ignore[no-untyped-def]
        if workload.layer.name == "last":
            weight = weight.copy()
            first, second = np.flatnonzero(weight)[:2]
            weight.flat[[first, second]] = weight.flat[[second, first]]
        return own(workload, node, value, weight)

    monkeypatch.setattr(verify_module, "_operands", wrong)
    with pytest.raises(VerifyError, match="last: expected"):
        simulate(packed, VERIFY)
