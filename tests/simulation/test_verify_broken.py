"""Verify finds what is broken: each test breaks one input, step or output of the engine."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers import models
from helpers.layer_forms import FORMS
from helpers.loading import loaded
from helpers.verifying import ARRAY, permuted, verified
from tightc.cli.main import run
from tightc.errors import VerifyError
from tightc.model.file import Model
from tightc.simulation import verify as verify_module
from tightc.simulation.engine.run import EngineResult
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.packing import EMPTY

OURS = "; this is a fault of tightc, not of the model: please report it with the model"

TWO = """net (float[2, 9] x) => (float[2, 5] y) {
    [one] a = MatMul(x, v)
    [two] y = MatMul(a, w)
}"""


def two_layers() -> onnx.ModelProto:
    return models.build(TWO, v=models.sparse(9, 7), w=models.sparse(7, 5, seed=1))


def wrong(model: Model, **options: object) -> str:
    with pytest.raises(VerifyError) as caught:
        simulate(model, SimulateOptions(verify=True, **options))
    assert caught.value.exit_code == 1
    assert caught.value.remedy == OURS[2:]
    return caught.value.sentence


def breaking(
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[EngineResult], EngineResult],
    layer: str,
    dtype: type = np.float32,
) -> None:
    """Changes the engine's result for a layer, in one of its two runs."""
    own = verify_module._run

    def broken(workload, operands, *rest):  # type: ignore[no-untyped-def]
        result = own(workload, operands, *rest)
        return change(result) if workload.layer.name == layer and operands.vectors.dtype == dtype else result

    monkeypatch.setattr(verify_module, "_run", broken)


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("layer", ["one", "two"])
def test_wrong_values(monkeypatch: pytest.MonkeyPatch, layer: str, tight: bool) -> None:
    breaking(monkeypatch, lambda result: replace(result, outputs=1.5 * result.outputs), layer)
    model = loaded(two_layers())
    words = rf"{layer}: expected engine values within \S+e-0[5-8] of the largest output, got 0\.\d+"
    assert re.fullmatch(words, wrong(permuted(model) if tight else model))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    def spoiled(result: EngineResult) -> EngineResult:
        outputs = result.outputs.copy()
        outputs[1, 2] = value
        return replace(result, outputs=outputs)

    breaking(monkeypatch, spoiled, "two")
    words = rf"two: expected engine values within \S+e-0[5-8] of the largest output, got {value}"
    assert re.fullmatch(words, wrong(loaded(two_layers())))


@pytest.mark.parametrize(("factor", "found"), [(1 + 1e-7, False), (1 + 2e-4, True)])
def test_values_are_off_where_rounding_does_not_explain_them(
    monkeypatch: pytest.MonkeyPatch, factor: float, found: bool
) -> None:
    breaking(monkeypatch, lambda result: replace(result, outputs=result.outputs * np.float32(factor)), "two")
    if found:
        assert re.fullmatch(
            r"two: expected engine values within \S+e-0[5-8] of the largest output, got 0.0002",
            wrong(loaded(two_layers())),
        )
    else:
        assert verified(loaded(two_layers())).layers[1]["value_error"] < 1e-6


def positive(inputs: int, halves: bool = False) -> onnx.ModelProto:
    """A product of positive numbers, so that no sum is smaller than those of its magnitudes."""
    rng = np.random.default_rng(4)
    weight = rng.integers(1, 120, (inputs, 8))
    if not halves:
        text = f"net (float[8, {inputs}] x) => (float[8, 8] y) {{ a = Abs(x) [two] y = MatMul(a, w) }}"
        return models.build(text, w=weight.astype(np.float32))
    text = f"""net (float16[8, {inputs}] x) => (float16[8, 8] y) {{
        a = Abs(x)
        w = DequantizeLinear<axis = 1>(q, s, z)
        [two] y = MatMul(a, w)
    }}"""
    scales = rng.uniform(1e-4, 1e-3, 8).astype(np.float16)
    return models.build(text, 19, 9, q=weight.astype(np.int8), s=scales, z=np.zeros(8, np.int8))


@pytest.mark.parametrize(("part", "found"), [(0.8, False), (1.2, True)])
@pytest.mark.parametrize("inputs", [1, 60, 500])
def test_float32_may_be_off_by_the_probabilistic_bound(
    monkeypatch: pytest.MonkeyPatch, inputs: int, part: float, found: bool
) -> None:
    """Both of two sums are off by less than exp(10 sqrt(n) u + n u^2 / (1 - u)) - 1, and one is rounded once more."""
    count, u = inputs + 4, 2.0**-24  # 4 more operations: scales, a bias, the factors of a Gemm
    bound = 2 * math.expm1(10 * math.sqrt(count) * u + count * u * u / (1 - u)) + u
    off = 1 + part * bound
    breaking(
        monkeypatch, lambda result: replace(result, outputs=result.outputs.astype(np.float64) * off), "two"
    )
    if found:
        assert "two: expected engine values within" in wrong(loaded(positive(inputs)))
    else:
        verified(loaded(positive(inputs)))


@pytest.mark.parametrize(("off", "found"), [(0.0, False), (0.0008, True)])
def test_float16_may_be_off_by_a_rounding_of_the_weights_and_one_of_the_sums(
    monkeypatch: pytest.MonkeyPatch, off: float, found: bool
) -> None:
    """Each rounding is of 2**-11, and both together are 0.00098: the largest of 64 differences leaves no 0.0008."""
    breaking(
        monkeypatch,
        lambda result: replace(result, outputs=result.outputs.astype(np.float64) * (1 + off)),
        "two",
    )
    model = loaded(positive(60, halves=True))
    if found:
        assert "two: expected engine values within" in wrong(model)
    else:
        simulate(model, SimulateOptions(verify=True))


def test_wrong_int8_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_off(result: EngineResult) -> EngineResult:
        outputs = result.outputs.copy()
        outputs[-1, -1] += 1
        return replace(result, outputs=outputs)

    breaking(monkeypatch, one_off, "two", np.int32)
    assert (
        wrong(loaded(two_layers()))
        == "two: expected the int8 values of onnxruntime, got different ones from the engine"
    )


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("more", [-1, 1])
def test_wrong_cycles(monkeypatch: pytest.MonkeyPatch, more: int, dtype: type) -> None:
    breaking(monkeypatch, lambda result: replace(result, cycles=result.cycles + more), "two", dtype)
    cycles = simulate(loaded(two_layers()), SimulateOptions()).layers[1]["cycles"]
    assert (
        wrong(loaded(two_layers()))
        == f"two: expected {cycles} cycles, by the closed form, got {cycles + more} from the engine"
    )


def test_a_wrong_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    own = verify_module.schedule_layer

    def one_more(*given):  # type: ignore[no-untyped-def]
        schedule = own(*given)
        return replace(schedule, cycles=replace(schedule.cycles, compute=schedule.cycles.compute + 1))

    monkeypatch.setattr(verify_module, "schedule_layer", one_more)
    cycles = simulate(loaded(two_layers()), SimulateOptions()).layers[0]["cycles"]
    assert (
        wrong(loaded(two_layers()))
        == f"one: expected {cycles + 1} cycles, by the closed form, got {cycles} from the engine"
    )


@pytest.mark.parametrize("dataflow", ["ws", "os", "is", "tight"])
@pytest.mark.parametrize("form", sorted({*FORMS} - {"empty layer"}))  # whose other layer reads zeros only
def test_a_wrong_weight_is_found_in_every_form(
    form: str, dataflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = verify_module._operands

    def broken(layer, node, value, weight):  # type: ignore[no-untyped-def]
        """The largest weight, half as large."""
        weight = weight.copy()
        at = np.abs(weight).argmax()
        weight.flat[at] = weight.flat[at] / 2
        return own(layer, node, value, weight)

    monkeypatch.setattr(verify_module, "_operands", broken)
    model = loaded(FORMS[form]())
    given = {} if dataflow == "tight" else {"array": ARRAY, "dataflow": dataflow}
    sentence = wrong(permuted(model) if dataflow == "tight" else model, **given)
    assert re.fullmatch(r"\w+: expected engine values within \S+ of the largest output, got \S+", sentence)


@pytest.mark.parametrize(
    ("form", "broken"),
    [
        *product(("cnn", "grouped", "depthwise", "matmul left", "MobileNet"), ("weight lost", "input")),
        *product(("cnn", "matmul left", "MobileNet"), ("filter",)),  # one that reads the same inputs
    ],
)
def test_a_wrong_packing_is_found(form: str, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = verify_module.run_packing

    def with_broken(packing, *rest):  # type: ignore[no-untyped-def]
        tile = packing.tiles[0]
        lane, column = (int(axis[0]) for axis in np.nonzero(tile.select != EMPTY))
        if broken == "weight lost":
            select = tile.select.copy()
            select[lane, column] = EMPTY
            tile = replace(tile, select=select)
        elif broken == "filter":
            tile = replace(tile, filters=np.roll(tile.filters, 1) if tile.columns > 1 else tile.filters + 1)
        else:
            size = packing.inputs
            inputs = tile.inputs.copy()
            inputs[0] = inputs[0] // size * size + (inputs[0] + 1) % size
            tile = replace(tile, inputs=inputs)
        return own(replace(packing, tiles=(tile, *packing.tiles[1:])), *rest)

    model = permuted(loaded(FORMS[form]()))
    monkeypatch.setattr(verify_module, "run_packing", with_broken)
    assert re.search(r"expected engine values within \S+ of the largest output", wrong(model))


def test_a_tile_too_many_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = permuted(loaded(two_layers()))
    own = verify_module.run_packing

    def twice(packing, operands, *rest):  # type: ignore[no-untyped-def]
        # the same tile again, with no weight in it, costs cycles and changes no value
        last = packing.tiles[-1]
        blank = replace(last, select=np.full_like(last.select, EMPTY))
        return own(replace(packing, tiles=(*packing.tiles, blank)), operands, *rest)

    monkeypatch.setattr(verify_module, "run_packing", twice)
    cycles = simulate(model, SimulateOptions()).layers[0]["cycles"]
    pass_cycles = ARRAY.pass_cycles(2)
    assert (
        wrong(model)
        == f"one: expected {cycles} cycles, by the closed form, got {cycles + pass_cycles} from the engine"
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (np.float32, "two: expected engine values within "),
        (np.int32, "two: expected the int8 values of onnxruntime, got different ones from the engine"),
    ],
)
def test_on_the_command_line_it_ends_with_one(
    kind: type,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models.save(two_layers(), tmp_path / "net.onnx")

    def half_more(result: EngineResult) -> EngineResult:
        return replace(result, outputs=result.outputs + result.outputs / 2)

    breaking(monkeypatch, half_more, "two", kind)
    assert run(["simulate", str(tmp_path / "net.onnx"), "--verify"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"tightc: error: {words}") and err.endswith(f"{OURS}\n")
    assert run(["simulate", str(tmp_path / "net.onnx")]) == 0


def test_wrong_cycles_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models.save(two_layers(), tmp_path / "net.onnx")
    breaking(monkeypatch, lambda result: replace(result, cycles=result.cycles + 7), "one")
    assert run(["simulate", str(tmp_path / "net.onnx"), "--array", "8x4", "--verify", "--json"]) == 1
    cycles = simulate(loaded(two_layers()), SimulateOptions(array=ARRAY)).layers[0]["cycles"]
    words = f"one: expected {cycles} cycles, by the closed form, got {cycles + 7} from the engine"
    assert capsys.readouterr() == ("", f"tightc: error: {words}{OURS}\n")
