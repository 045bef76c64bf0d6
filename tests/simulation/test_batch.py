"""The batch of a model, and its energy for one input."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.comparison.compare import compare
from tightc.comparison.options import CompareOptions
from tightc.simulation.batch import UNKNOWN_BATCH, batch_size
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape


def product(inputs: str, outputs: str, body: str = "y = MatMul(x, w)") -> onnx.ModelProto:
    return models.build(f"net ({inputs}) => ({outputs}) {{ [p] {body} }}", w=models.sparse(6, 4))


FORMS = {
    "open": (product("float[N, 6] x", "float[N, 4] y"), {}, 1),
    "open, given": (product("float[N, 6] x", "float[N, 4] y"), {"batch": 5}, 5),
    "open, by its shape": (product("float[N, 6] x", "float[N, 4] y"), {"input_shape": ("x=3x6",)}, 3),
    "fixed at 1": (product("float[1, 6] x", "float[1, 4] y"), {}, 1),
    "fixed": (product("float[7, 6] x", "float[7, 4] y"), {}, 7),
    "fixed, as given": (product("float[7, 6] x", "float[7, 4] y"), {"batch": 7}, 7),
    "no batch dimension": (product("float[6] x", "float[4] y"), {}, None),
    "an image without a batch": (
        product("float[7, 6] x", "float[4] y", "s = MatMul(x, w) axes = Constant<value_ints = [0]>() "
                "y = ReduceSum<keepdims = 0>(s, axes)"),
        {}, None,
    ),
    "a state with another first dimension": (
        product("float[1, 6] x, float[2, 4] state", "float[2, 4] y", "p = MatMul(x, w) y = Add(p, state)"), {}, None,
    ),
    "an open batch beside a fixed input": (
        product("float[N, 6] x, float[2, 1, 4] state", "float[2, N, 4] y", "p = MatMul(x, w) y = Add(p, state)"),
        {"input_shape": ("x=3x6",)}, 3,
    ),
    "inputs with the same open batch": (
        product("float[N, 6] x, float[N, 4] z", "float[N, 4] y", "p = MatMul(x, w) y = Add(p, z)"), {"batch": 3}, 3,
    ),
    "open sizes that differ": (
        product("float[N, 6] x, float[L, 1, 4] z", "float[L, N, 4] y", "p = MatMul(x, w) y = Add(p, z)"),
        {"input_shape": ("x=3x6", "z=2x1x4")}, None,
    ),
    "an open size that no output has": (
        product("float[N, 6] x", "float[1, 4] y", "s = MatMul(x, w) axes = Constant<value_ints = [0]>() "
                "y = ReduceSum(s, axes)"),
        {"batch": 5}, None,
    ),
    "a scalar beside it": (
        product("float[4, 6] x, float z", "float[4, 4] y", "p = MatMul(x, w) y = Mul(p, z)"), {}, 4,
    ),
}  # fmt: skip


FORMS["a fixed batch, and an output that is no tensor"] = (
    models.build(
        "net (float[7, 6] x) => (seq(float[7, 4]) y) { [p] a = MatMul(x, w) y = SequenceConstruct(a, a) }",
        w=models.sparse(6, 4),
    ),
    {},
    None,
)


@pytest.mark.parametrize("form", FORMS)
def test_the_batch_is_what_the_inputs_say(form: str) -> None:
    proto, sizes, expected = FORMS[form]
    model, options = loaded(proto), SimulateOptions(array=ArrayShape(4, 4), **sizes)
    assert batch_size(model, options) == expected
    report = simulate(model, options)
    assert report.totals["batch"] == expected
    assert (UNKNOWN_BATCH in report.notes) is (expected is None)
    for dense in ("", "dense_"):
        energy = report.totals[f"{dense}energy_pj"] / 1e6 / (expected or 1)
        assert report.totals[f"{dense}energy_per_inference_uj"] == pytest.approx(energy)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_is_the_number_of_outputs_that_onnxruntime_gives(batch: int) -> None:
    proto = models.cnn()
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"image": np.zeros((batch, 3, 8, 8), np.float32)})
    assert batch_size(loaded(proto), SimulateOptions(batch=batch)) == len(outputs)


def test_more_inputs_in_a_run_share_the_weights() -> None:
    model = loaded(models.cnn())
    single, several = (simulate(model, SimulateOptions(batch=batch)).totals for batch in (1, 8))
    assert several["energy_pj"] > 4 * single["energy_pj"]
    assert several["energy_per_inference_uj"] < single["energy_per_inference_uj"]


def test_compare_gives_it_for_each_row_and_says_where_the_batch_is_unknown() -> None:
    options = CompareOptions(array=ArrayShape(4, 4), method=("dense", "first-fit"), fan_in=(2,), batch=2)
    report = compare([loaded(product("float[N, 6] x", "float[N, 4] y"))], options)
    for row in report.layers:
        assert row["energy_per_inference_uj"] == pytest.approx(row["energy_pj"] / 2e6)
    assert UNKNOWN_BATCH not in report.notes
    plain = loaded(product("float[6] x", "float[4] y"))
    assert UNKNOWN_BATCH in compare([plain], options.model_copy(update={"batch": None})).notes


def test_the_text_has_the_unit() -> None:
    text = str(tightc.simulate(loaded(models.cnn()), batch=4))
    (line,) = (line for line in text.splitlines() if line.startswith("energy_per_inference: "))
    assert line.endswith(" nJ") or line.endswith(" uJ")
