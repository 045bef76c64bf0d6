"""The batch of a model, and its energy for one input."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.comparison.compare import compare
from tightc.comparison.options import CompareOptions
from tightc.errors import ModelError
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


FORMS |= {
    "a sequence first, by its name": (
        product("float[seq, batch, 6] x", "float[seq, batch, 4] y"),
        {"batch": 3, "input_shape": ("x=5x3x6",)},
        3,
    ),
    "a fixed sequence first, by the batch": (
        product("float[7, 2, 6] x", "float[7, 2, 4] y"),
        {"batch": 2},
        2,
    ),
    "a fixed sequence first": (product("float[7, 2, 6] x", "float[7, 2, 4] y"), {}, 7),
}
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


def test_a_named_batch_multiplies_the_vectors_wherever_it_is() -> None:
    text = "float[{}, 6] x", "float[{}, 4] y"
    for dimensions, shape in (("seq, batch_size", "x=5x1x6"), ("batch_size, seq", "x=1x5x6")):
        model = loaded(product(*(one.format(dimensions) for one in text)))
        vectors = [
            tightc.simulate(model, batch=batch, input_shape=[shape.replace("1", str(batch))]).layers[0][
                "vectors"
            ]
            for batch in (1, 3)
        ]
        assert vectors == [5, 15]


@pytest.mark.parametrize(
    ("dimensions", "sizes", "reported"),
    [
        ("7, 2, 6", {}, "a batch of 7 is assumed, by the first dimension of input x (7)"),
        (
            "seq_len, n, 6",
            {"input_shape": ["x=7x2x6"]},
            "a batch of 7 is assumed, by the first dimension of input x (seq_len)",
        ),
        ("7, 2, 6", {"batch": 2}, None),
        ("7, 2, 6", {"batch": 7}, None),
        ("batch, seq, 6", {"input_shape": ["x=7x2x6"]}, None),
        ("seq, batch, 6", {"input_shape": ["x=7x2x6"]}, None),
        ("1, 7, 6", {}, None),
    ],
)
def test_a_batch_that_may_be_a_sequence_is_told(
    dimensions: str, sizes: dict[str, Any], reported: str | None
) -> None:
    model = loaded(product(f"float[{dimensions}] x", f"float[{dimensions.replace('6', '4')}] y"))
    notes = [note for note in tightc.simulate(model, **sizes).notes if "is assumed, by" in note]
    assert [note.partition(";")[0] for note in notes] == ([reported] if reported else [])
    assert all("give --batch" in note for note in notes)


@pytest.mark.parametrize(("batch", "said"), [(3, "expected 7 for dimension 0 of input x")])
def test_another_batch_than_a_fixed_one_is_refused(batch: int, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        tightc.simulate(loaded(product("float[7, 2, 6] x", "float[7, 2, 4] y")), batch=batch)


def test_the_open_sequence_is_assumed_and_the_named_batch_is_one() -> None:
    report = tightc.simulate(loaded(product("float[seq, batch, 6] x", "float[seq, batch, 4] y")))
    assert (report.totals["batch"], report.layers[0]["vectors"]) == (1, 224)
    assert any("(seqxbatchx6): 224x1x6 is assumed" in note for note in report.notes)


@pytest.mark.parametrize("shape", ["x=1x6", "x=4x6"])
def test_a_batch_beside_a_shape_of_one_sample_or_as_many(shape: str) -> None:
    model = loaded(product("float[N, 6] x", "float[N, 4] y"))
    assert simulate(model, SimulateOptions(batch=4, input_shape=(shape,))).totals["batch"] == 4


def test_a_batch_that_contradicts_the_shape_of_an_input() -> None:
    model = loaded(product("float[N, 6] x", "float[N, 4] y"))
    with pytest.raises(ModelError) as fault:
        simulate(model, SimulateOptions(batch=4, input_shape=("x=2x6",)))
    assert str(fault.value) == (
        "net.onnx: expected 4, as --batch says, for dimension 0 of input x, got 2 in --input-shape; leave --batch out, "
        "or give 1 there"
    )


def test_an_open_batch_that_is_second_is_not_assumed() -> None:
    model = loaded(product("float[7, N, 6] x", "float[7, N, 4] y"))
    report = simulate(model, SimulateOptions(array=ArrayShape(4, 4), batch=3))
    assert (report.totals["batch"], report.layers[0]["vectors"]) == (3, 21)
    assert not any("is assumed" in note for note in report.notes)
