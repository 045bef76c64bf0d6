"""Runs of recipes: the files of a folder, what is run again, and the measured columns."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from helpers import models
from helpers.recipes import CHAIN, HEAD, NAMES
from tightc.config.yaml import parse_options
from tightc.errors import ConfigError, OutputError, TightcError
from tightc.example import RECIPE
from tightc.model.file import load_model
from tightc.permutation.permute import permute
from tightc.recipe import stage_runner
from tightc.recipe.recipe import Recipe
from tightc.recipe.run import run_recipe
from tightc.report import Interrupted, Result
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape


@pytest.fixture
def place(tmp_path: Path) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "r.yaml").write_text(CHAIN)
    return tmp_path


def test_pruning_and_combining_in_turns_ends_with_the_weights_of_the_last_permute(place: Path) -> None:
    combine = "permute: {array: 8x8, method: column-combine, gamma: 0.5}"
    stages = ["prune: {sparsity: 0.5}", combine, "prune: {sparsity: 0.8}", combine, "pack"]
    (place / "r.yaml").write_text(HEAD + "".join(f"  - {stage}\n" for stage in stages))
    rows = run_recipe(place / "r.yaml", place / "out").layers
    once, dropped, again = rows[2], rows[3], rows[4]
    assert once["matrix_compression_rate"] < again["matrix_compression_rate"]
    assert dropped["matrix_compression_rate"] is None and dropped["density"] == pytest.approx(0.2, abs=0.01)
    assert rows[-1]["matrix_compression_rate"] == again["matrix_compression_rate"]


def test_any_dataflow_is_accepted_where_prune_dropped_the_tiles(place: Path) -> None:
    stages = ["permute", "prune: {sparsity: 0.5}", "simulate: {array: 16x16, dataflow: os}", "permute"]
    text = HEAD + "".join(f"  - {stage}\n" for stage in stages)
    assert len(parse_options(text, "r.yaml", Recipe).stages) == 4


def states(place: Path) -> dict[str, str]:
    report = run_recipe(place / "r.yaml", place / "out")
    return {row["stage"]: row["state"] for row in report.layers}


def states_after(done: int) -> dict[str, str]:
    """`done` stages unchanged, the rest done."""
    names = [name.partition("-")[2] for name in NAMES]
    return {name: "unchanged" if i < done else "done" for i, name in enumerate(names)}


def test_a_row_for_the_dense_model_and_for_each_stage(place: Path) -> None:
    report = run_recipe(place / "r.yaml", place / "out")
    rows = report.layers
    assert [row["stage"] for row in rows] == ["dense", "prune", "permute", "pack", "simulate"]
    dense, prune, permute, pack, simulate = rows
    assert dense["density"] > prune["density"] == permute["density"] == pack["density"]
    assert dense["speedup"] == prune["speedup"] == 1.0 < permute["speedup"] == simulate["speedup"]
    assert dense["cycles"] == prune["cycles"] > pack["cycles"] == simulate["cycles"]
    assert dense["matrix_compression_rate"] is None and pack["matrix_compression_rate"] > 1
    assert all(row["accuracy"] is None for row in rows)
    for row, name in zip(rows[:4], NAMES, strict=False):
        assert row["bytes"] == (place / "out" / f"{name}.onnx").stat().st_size
    assert report.totals["array"] == "8x8" and report.totals["seed"] == 3


def test_the_folder_holds_models_that_pass_the_checker_records_and_the_recipe(place: Path) -> None:
    run_recipe(place / "r.yaml", place / "out")
    found = sorted(os.listdir(place / "out"))
    expected = [f"{name}.json" for name in NAMES] + [f"{name}.onnx" for name in NAMES[:4]]
    assert found == sorted([".lock", *expected, "recipe.yaml"])
    for name in NAMES[:4]:
        onnx.checker.check_model(str(place / "out" / f"{name}.onnx"), full_check=True)
    assert (
        json.loads((place / "out" / "03-simulate.json").read_text())["report"]["schema"]
        == "tightc.simulate/2"
    )
    assert parse_options((place / "out" / "recipe.yaml").read_text(), "recipe.yaml", Recipe).seed == 3


def test_the_resolved_recipe_runs_in_its_folder(place: Path) -> None:
    first = run_recipe(place / "r.yaml", place / "out")
    again = run_recipe(place / "out" / "recipe.yaml", place / "out")
    assert {row["state"] for row in again.layers} == {"unchanged"}
    assert [row["cycles"] for row in again.layers] == [row["cycles"] for row in first.layers]


def test_a_second_run_finds_everything_unchanged_with_the_same_figures(place: Path) -> None:
    first = run_recipe(place / "r.yaml", place / "out")
    before = {
        path.name: path.stat().st_mtime_ns for path in (place / "out").iterdir() if path.name != "recipe.yaml"
    }
    second = run_recipe(place / "r.yaml", place / "out")
    assert {row["state"] for row in second.layers} == {"unchanged"}
    strip = lambda rows: [{k: v for k, v in row.items() if k != "state"} for row in rows]  # noqa: E731
    assert strip(first.layers) == strip(second.layers)
    after = {
        path.name: path.stat().st_mtime_ns for path in (place / "out").iterdir() if path.name != "recipe.yaml"
    }
    assert before == after


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("sparsity: 0.8", "sparsity: 0.9", 1),
        ("fan_in: 3", "fan_in: 4", 2),
        ("moves_per_weight: 30", "moves_per_weight: 31", 2),
        ("  - simulate", "  - simulate: {batch: 2}", 4),
        ("seed: 3", "seed: 4", 2),
        ("array: 8x8", "array: 4x4", 2),
    ],
)
def test_a_changed_option_runs_its_stage_and_those_after_it(
    place: Path, old: str, new: str, kept: int
) -> None:
    states(place)
    (place / "r.yaml").write_text(CHAIN.replace(old, new))
    assert states(place) == states_after(kept)
    assert set(states(place).values()) == {"unchanged"}


def test_another_model_runs_everything(place: Path) -> None:
    states(place)
    other = models.cnn()
    other.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(models.sparse(8, 3, 3, 3, seed=9), other.graph.initializer[0].name)
    )
    models.save(other, place / "net.onnx")
    assert states(place) == states_after(0)


@pytest.mark.parametrize(
    ("number", "end"), [*((number, end) for number in range(4) for end in ("json", "onnx")), (4, "json")]
)
def test_a_deleted_file_is_made_again(place: Path, number: int, end: str) -> None:
    states(place)
    path = place / "out" / f"{NAMES[number]}.{end}"
    content = path.read_bytes()
    path.unlink()
    expected = dict.fromkeys(states_after(0), "unchanged") | {NAMES[number].partition("-")[2]: "done"}
    assert states(place) == expected
    if end == "onnx":
        assert path.read_bytes() == content


@pytest.mark.parametrize("number", range(1, 4))
@pytest.mark.parametrize("damage", [lambda c: c[:-10], lambda c: b"", lambda c: c[:50] + b"x" + c[51:]])
@pytest.mark.parametrize("end", ["json", "onnx"])
def test_a_damaged_file_is_made_again(
    place: Path, number: int, damage: Callable[[bytes], bytes], end: str
) -> None:
    states(place)
    path = place / "out" / f"{NAMES[number]}.{end}"
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert states(place)[NAMES[number].partition("-")[2]] == "done"
    assert set(states(place).values()) == {"unchanged"}


@pytest.mark.parametrize("text", ["3", "null", "[]", "{}"])
def test_a_malformed_record_is_made_again(place: Path, text: str) -> None:
    states(place)
    (place / "out" / "01-prune.json").write_text(text)
    assert states(place)["prune"] == "done"


@pytest.mark.parametrize(
    ("lost", "state"), [("row", "unchanged"), ("report", "done"), ("model_sha256", "done")]
)
def test_an_incomplete_record_is_made_again_and_one_without_its_row_measured(
    lost: str, state: str, place: Path
) -> None:
    states(place)
    path = place / "out" / "01-prune.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in record.items() if key != lost}))
    assert states(place)["prune"] == state
    assert json.loads(path.read_text()) == record


def test_damaged_external_data_is_made_again(place: Path) -> None:
    models.save(models.cnn(), place / "net.onnx", external_data=True)
    states(place)
    (path,) = (place / "out").glob("01-prune.onnx.*.data")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))
    assert states(place)["prune"] == "done"


def test_deleted_external_data_is_made_again(place: Path) -> None:
    models.save(models.cnn(), place / "net.onnx", external_data=True)
    states(place)
    next((place / "out").glob("01-prune.onnx.*.data")).unlink()
    assert states(place)["prune"] == "done"


def test_an_interrupted_run_continues(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_recipe(place / "r.yaml", place / "whole")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage_runner, "pack", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(place / "r.yaml", place / "out")
    assert not (place / "out" / "03-pack.onnx").exists()
    assert states(place) == states_after(3)
    for name in NAMES[:4]:
        one, other = (place / folder / f"{name}.onnx" for folder in ("whole", "out"))
        assert one.read_bytes() == other.read_bytes()
    assert whole.layers[-1]["cycles"] == run_recipe(place / "r.yaml", place / "out").layers[-1]["cycles"]


def test_an_interrupted_search_is_run_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **settings: object) -> None:
        raise Interrupted(Result(*permute(*arguments, **settings)))

    with monkeypatch.context() as patch:
        patch.setattr(stage_runner, "permute", interrupt)
        with pytest.raises(Interrupted):
            run_recipe(place / "r.yaml", place / "out")
    assert sorted(path.name for path in (place / "out").glob("02*")) == []
    assert states(place) == states_after(2)


def test_a_run_that_stops_between_model_and_record_does_the_stage_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states(place)
    (place / "out" / "02-permute.json").unlink()
    assert states(place)["permute"] == "done"


def test_external_data_stays_external(place: Path) -> None:
    models.save(models.cnn(), place / "net.onnx", external_data=True)
    states(place)
    assert len(list((place / "out").glob("01-prune.onnx.*.data"))) == 1
    assert set(states(place).values()) == {"unchanged"}


def test_relative_paths_start_at_the_recipe(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    run_recipe(Path("..") / "r.yaml", Path("out"))
    assert (place / "elsewhere" / "out" / "03-pack.onnx").is_file()


def test_a_folder_that_cannot_be_made(place: Path) -> None:
    with pytest.raises(
        OutputError, match=r"net.onnx: cannot be made \(File exists\); give another folder with -o"
    ):
        run_recipe(place / "r.yaml", place / "net.onnx")


def test_a_missing_model_is_named(place: Path) -> None:
    (place / "net.onnx").unlink()
    with pytest.raises(TightcError, match=r"net.onnx: no such file"):
        run_recipe(place / "r.yaml", place / "out")


def test_progress_names_the_stages(place: Path) -> None:
    reported: list[str] = []
    progress = lambda task, done, figures, /: reported.append(task)  # noqa: E731
    run_recipe(place / "r.yaml", place / "out", progress=progress)
    assert any("02-permute" in task for task in reported)
    reported.clear()
    run_recipe(place / "r.yaml", place / "out", progress=progress)
    assert [task for task in reported if "00" not in task and task != "run"] == NAMES[1:]


@pytest.mark.parametrize(
    "stages",
    [
        pytest.param("simulate: {array: 32x32}|permute: {array: 8x8}", id="simulated dense on another array"),
        pytest.param("permute: {array: 8x8}|permute: {array: 16x16}", id="permuted twice"),
        pytest.param(
            "simulate: {dataflow: os}|permute: {array: 8x8}", id="simulated dense in another dataflow"
        ),
    ],
)
def test_a_valid_recipe_runs_to_its_end(place: Path, stages: str) -> None:
    (place / "r.yaml").write_text(HEAD + "".join(f"  - {stage}\n" for stage in stages.split("|")))
    assert len(run_recipe(place / "r.yaml", place / "out").layers) == 3


@pytest.mark.parametrize("simulate", ["{array: 32x32}", "{dataflow: os}"])
def test_a_simulation_that_does_not_fit_the_tiles_is_refused_before_any_work(
    place: Path, simulate: str
) -> None:
    (place / "r.yaml").write_text(HEAD + f"  - permute: {{array: 8x8}}\n  - simulate: {simulate}\n")
    with pytest.raises(ConfigError, match=r"r.yaml:4: stages.1"):
        run_recipe(place / "r.yaml", place / "out")


# --- what is measured


def test_a_network_of_open_size_is_measured_as_simulate_says(place: Path) -> None:
    proto = models.cnn()
    for dimension in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.Clear()
        dimension.dim_param = "side"
    del proto.graph.value_info[:]
    models.save(proto, place / "net.onnx")
    name = proto.graph.input[0].name
    simulate = f"  - simulate: {{batch: 2, input_shape: ['{name}=1x3x8x8']}}\n"
    (place / "r.yaml").write_text(HEAD + "  - prune: {sparsity: 0.5}\n" + simulate)
    rows = run_recipe(place / "r.yaml", place / "out").layers
    assert rows[0]["cycles"] == rows[1]["cycles"] == rows[2]["cycles"]


def test_an_evaluation_in_between_changes_nothing_else(place: Path) -> None:
    states(place)
    (place / "r.yaml").write_text(CHAIN.replace("  - pack", "  - simulate\n  - pack"))
    report = run_recipe(place / "r.yaml", place / "out")
    assert [row["state"] for row in report.layers] == ["unchanged"] * 3 + ["done"] + ["unchanged"] * 2


def test_a_missing_model_is_named_as_the_recipe_has_it(place: Path) -> None:
    (place / "net.onnx").unlink()
    with pytest.raises(TightcError) as caught:
        run_recipe(place / "r.yaml", place / "out")
    assert str(caught.value).startswith(f"{place / 'net.onnx'}: no such file")


def test_quantize_rounds_weights_and_on_demand_activations(tmp_path: Path) -> None:
    for name in ("digits.onnx", "digits.npz"):
        shutil.copy(RECIPE.parent / name, tmp_path / name)
    stages = ["prune: {sparsity: 0.5}", "quantize: %s", "permute: {array: 8x8}", "pack"]
    text = "model: digits.onnx\ndata: {data: digits.npz}\nstages:\n" + "".join(
        f"  - {stage}\n" for stage in stages
    )
    for options, pairs in (
        ("{}", 0),
        ("{activations: true, calibration_images: 64, calibration: min-max}", 5),
    ):
        (tmp_path / "r.yaml").write_text(text % options)
        rows = run_recipe(tmp_path / "r.yaml", tmp_path / "out").layers
        assert [row["stage"] for row in rows] == ["dense", "prune", "quantize", "permute", "pack"]
        nodes = [node.op_type for node in load_model(tmp_path / "out" / "02-quantize.onnx").proto.graph.node]
        assert (nodes.count("DequantizeLinear") - nodes.count("QuantizeLinear"), nodes.count("QuantizeLinear")) == (
            5, pairs,
        )  # fmt: skip
        assert (
            rows[2]["bytes"] < 0.5 * rows[1]["bytes"] and abs(rows[1]["accuracy"] - rows[-1]["accuracy"]) < 2
        )


def test_before_subwords_are_permuted_the_array_is_that_of_whole_weights(place: Path) -> None:
    stages = ["quantize", "permute: {array: 4x16, subword_bits: 2, objective: area}", "pack: {strip: true}"]
    (place / "r.yaml").write_text(HEAD + "".join(f"  - {stage}\n" for stage in stages))
    rows = run_recipe(place / "r.yaml", place / "out").layers
    words = simulate(load_model(place / "net.onnx"), SimulateOptions(array=ArrayShape(4, 4))).totals
    assert [row["stage"] for row in rows] == ["dense", "quantize", "permute", "pack"]
    for row in rows[:2]:
        assert (row["passes"], row["cycles"], row["speedup"]) == (words["passes"], words["cycles"], 1)
    assert rows[2]["cycles"] * rows[2]["speedup"] == pytest.approx(words["cycles"])
    assert not load_model(place / "out" / "03-pack.onnx").proto.graph.value_info


# --- stages ended early, and uncovered operators


def test_a_stage_ended_by_its_time_limit_is_marked_also_when_reused(tmp_path: Path) -> None:
    text = "net (float[1, 256] x) => (float[1, 64] y) { [one] y = MatMul(x, w) }"
    models.save(models.build(text, w=models.sparse(256, 64, density=0.2)), tmp_path / "net.onnx")
    endless = "temp_schedule: {moves_per_weight: 10000000}"
    stages = f"  - permute: {{array: 16x16, fan_in: 6, time_limit: 0.2s, {endless}}}\n  - pack\n"
    (tmp_path / "r.yaml").write_text(HEAD + stages)
    assert states(tmp_path) == {"dense": "done", "permute": "done, ended by time limit", "pack": "done"}
    again = {"dense": "unchanged", "permute": "unchanged, ended by time limit", "pack": "unchanged"}
    assert states(tmp_path) == again


def test_what_is_not_covered_is_in_the_report(tmp_path: Path) -> None:
    text = """net (float[1, 4, 8, 8] x, float[8, 4, 2, 2] v) => (float[1, 4, 16, 16] y) {
        [c] a = Conv<pads = [1, 1, 1, 1]>(x, w)
        [up] y = ConvTranspose<strides = [2, 2]>(a, v)
    }"""
    models.save(models.build(text, w=models.sparse(8, 4, 3, 3)), tmp_path / "net.onnx")
    (tmp_path / "r.yaml").write_text(HEAD + "  - prune: {sparsity: 0.5}\n")
    report = run_recipe(tmp_path / "r.yaml", tmp_path / "out")
    convolution, transposed = 64 * 8 * 36, 8 * 64 * 16  # output pixels x N x K; input pixels x N x K
    (row,) = report.uncovered
    assert (row["name"], row["macs"]) == ("up", transposed)
    assert row["macs_share"] == transposed / (convolution + transposed)
    assert report.totals["macs_covered"] == convolution / (convolution + transposed)
