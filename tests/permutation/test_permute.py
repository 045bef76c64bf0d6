"""The permute stage on small networks: same weights, same bytes for the same seed, threads or not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oracle
from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import product
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.packing.pack import pack
from tightc.permutation import fan_in_choice
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.methods import structured
from tightc.permutation.methods.tight import pack as tight
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import _notes, permute
from tightc.report import Interrupted
from tightc.tile.array import ArrayShape

SHORT = TemperatureSchedule(steps=5, moves_per_weight=50)
SMALL = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=SHORT, jobs=1)


def test_an_interrupt_carries_the_result_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    own = fan_in_choice.pack_layers

    def cut_short(*given):  # type: ignore[no-untyped-def]
        return replace(own(*given), interrupted=True, cut_short=("first",))

    monkeypatch.setattr(fan_in_choice, "pack_layers", cut_short)
    model = loaded(models.cnn())
    with pytest.raises(Interrupted) as caught:
        permute(model, SMALL)
    permuted, report = caught.value.result
    assert set(read_packings(permuted)) == {layer.weight for layer in read_network(model).owners}
    assert "the interrupt ended the search in first before all moves were tried" in report.notes


@pytest.mark.parametrize("method", ["tight", "first-fit", "structured", "dense"])
@pytest.mark.parametrize("form", models.FORMS)
def test_every_form_of_layer_is_arranged_losslessly(form: str, method: str) -> None:
    model = loaded(models.FORMS[form]())
    options = SMALL.model_copy(update={"method": method})
    permuted, report = permute(model, options, seed=1)
    network = read_network(permuted)
    packings = read_packings(permuted)
    assert set(packings) == {layer.weight for layer in network.owners}
    allowed = 3 if method in ("tight", "first-fit") else 1
    for layer in network.owners:
        matrix = layer_matrix(network, layer)
        tiles = oracle.plain(packings[layer.weight])
        assert oracle.packing_faults(tiles, matrix.values, matrix.groups, (8, 4), allowed) == []
    assert [row["name"] for row in report.layers] == [layer.name for layer in network.owners]
    assert report.totals["passes"] == sum(len(packing.tiles) for packing in packings.values())


def test_the_gap_of_a_layer_that_needs_no_fan_in_is_to_the_bound_of_the_array(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fall_back(matrix, problem, **given):  # type: ignore[no-untyped-def]
        return replace(structured.pack(matrix, problem), method="tight")

    monkeypatch.setattr(tight, "pack", fall_back)
    model = product(np.eye(8, dtype=np.float32), 5)
    options = SMALL.model_copy(update={"array": ArrayShape(2, 4), "fan_in": 2})
    shown = []

    def progress(task: str, _done: float, figures: dict[str, str], /) -> None:
        if task != "permute":
            shown.append(figures)

    permuted, report = permute(model, options, progress=progress)
    assert [packing.fan_in for packing in read_packings(permuted).values()] == [1]
    row, totals = report.layers[0], report.totals
    assert (row["passes"], row["passes_lower_bound"], row["gap"]) == (8, 2, 6)
    assert (totals["passes_lower_bound"], totals["gap"]) == (2, 6)
    assert shown[-1] == {"passes": "8", "gap": "6"}
    for other in ({"method": "structured"}, {"method": "dense"}):
        totals = permute(model, options.model_copy(update=other)).report.totals
        assert (totals["passes_lower_bound"], totals["gap"]) == (4, 4)


def test_permute_changes_nothing_but_the_metadata() -> None:
    proto = models.cnn()
    permuted, _ = permute(loaded(proto), SMALL)
    stripped = permuted.copy_proto()
    del stripped.metadata_props[:]
    assert stripped.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)
    onnx.checker.check_model(permuted.proto, full_check=True)


def test_history_records_the_options_and_the_seed() -> None:
    model = loaded(models.cnn())
    permuted, _ = permute(model, SMALL, seed=17)
    properties = {entry.key: entry.value for entry in permuted.proto.metadata_props}
    (entry,) = json.loads(properties["tightc.history"])
    assert entry["stage"] == "permute"
    assert entry["seed"] == 17
    assert entry["input"] == model.sha256
    assert entry["options"]["array"] == "8x4"
    assert entry["options"]["temp_schedule"]["moves_per_weight"] == 50
    assert "jobs" not in entry["options"]


@pytest.mark.parametrize("form", ["cnn", "grouped", "shared weight"])
def test_serial_and_parallel_give_the_same_bytes(form: str) -> None:
    model = loaded(models.FORMS[form]())
    serial, _ = permute(model, SMALL, seed=3)
    parallel, _ = permute(model, SMALL.model_copy(update={"jobs": 4}), seed=3)
    assert serial.to_bytes() == parallel.to_bytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    model = loaded(models.cnn())
    assert permute(model, SMALL, seed=3)[0].to_bytes() == permute(model, SMALL, seed=3)[0].to_bytes()
    one, two = (read_packings(permute(model, SMALL, seed=seed)[0]) for seed in (3, 4))
    assert any(
        a.select.tolist() != b.select.tolist() or a.inputs.tolist() != b.inputs.tolist()
        for name in one
        for a, b in zip(one[name].tiles, two[name].tiles, strict=False)
    )


def test_layers_of_the_same_weights_are_searched_with_seeds_of_their_own() -> None:
    weight = models.sparse(16, 40, density=0.5)
    proto = models.build(
        "net (float[1, 40] x) => (float[1, 16] y, float[1, 16] z) { y = MatMul(x, v)\n z = MatMul(x, w) }",
        v=weight.T.copy(),
        w=weight.T.copy(),
    )
    packings = read_packings(permute(loaded(proto), SMALL)[0])
    one, two = (b"".join(tile.inputs.tobytes() for tile in packings[name].tiles) for name in "vw")
    assert one != two


def test_permuting_again_replaces_the_arrangement() -> None:
    once, _ = permute(loaded(models.cnn()), SMALL)
    wider = SMALL.model_copy(update={"array": ArrayShape(16, 16)})
    again, _ = permute(once, wider)
    direct, _ = permute(loaded(models.cnn()), wider)
    assert {str(packing.array) for packing in read_packings(again).values()} == {"16x16"}
    ours, theirs = ({e.key: e.value for e in m.proto.metadata_props} for m in (again, direct))
    assert {k: v for k, v in ours.items() if "packing" in k} == {
        k: v for k, v in theirs.items() if "packing" in k
    }


def test_a_packed_model_can_be_permuted_again() -> None:
    packed, _ = pack(permute(loaded(models.cnn()), SMALL)[0])
    again, _ = permute(packed, SMALL)
    weights = {t.name: numpy_helper.to_array(t) for t in again.proto.graph.initializer}
    for tensor in models.cnn().graph.initializer:
        np.testing.assert_array_equal(weights[tensor.name], numpy_helper.to_array(tensor))


@pytest.mark.parametrize(
    "fan_in",
    [
        16,
        3,
    ],
)
def test_progress_is_reported_for_every_layer_up_to_the_end(fan_in: int) -> None:
    reports: dict[str, list[float]] = {}
    figures: dict[str, set[str]] = {}

    def progress(task: str, done: float, values: dict[str, str], /) -> None:
        reports.setdefault(task, []).append(done)
        figures.setdefault(task, set()).update(values)

    permute(loaded(models.cnn()), SMALL.model_copy(update={"fan_in": fan_in}), progress=progress)
    assert set(reports) == {"first", "second", "last", "permute"}
    assert all(steps == sorted(steps) and steps[-1] == 1.0 for steps in reports.values())
    assert {"cost", "temperature", "moves/s", "passes"} <= figures["second"]


@pytest.mark.parametrize(
    "schedule",
    [
        TemperatureSchedule(moves_per_weight=0),
        TemperatureSchedule(steps=1),
        TemperatureSchedule(t_start=1e6, t_end=1e-300),
    ],
)
def test_extreme_schedules_still_pack_losslessly(schedule: TemperatureSchedule) -> None:
    options = SMALL.model_copy(update={"temp_schedule": schedule})
    _, report = permute(loaded(models.cnn()), options)
    assert report.totals["dropped_weights"] == 0


@pytest.mark.parametrize("objective", ["passes", "cycles", "area", "inputs"])
def test_a_network_without_weights_is_arranged_in_no_tiles(objective: str) -> None:
    proto = models.build(
        "net (float[1, 8] x) => (float[1, 4] y) { y = MatMul(x, w) }", w=np.zeros((8, 4), np.float32)
    )
    _, report = permute(loaded(proto), SMALL.model_copy(update={"objective": objective, "time_limit": 60.0}))
    assert report.totals["passes"] == report.totals["lane_inputs"] == 0


def test_the_shared_resnet20_is_packed_in_the_fewest_passes_of_every_layer(resnet20) -> None:
    from tightc.model.file import load_model
    from tightc.pruning.options import PruneOptions
    from tightc.pruning.prune import prune

    pruned, _ = prune(load_model(resnet20), PruneOptions(sparsity=0.9))
    permuted, report = permute(pruned, PermuteOptions(), seed=0)
    assert report.totals["dropped_weights"] == 0
    assert len(report.layers) == 20
    for row in report.layers:
        assert row["passes"] == row["passes_lower_bound"], row["name"]
        assert row["fan_in_max"] <= 16
    network = read_network(permuted)
    packings = read_packings(permuted)
    for layer in network.owners:
        matrix = layer_matrix(network, layer)
        tiles = oracle.plain(packings[layer.weight])
        assert oracle.packing_faults(tiles, matrix.values, matrix.groups, (32, 32), 16) == []


@pytest.mark.parametrize(("passes", "noted"), [(6, False), (7, True)])
def test_only_a_layer_above_its_bound_is_noted(passes: int, noted: bool) -> None:
    rows = [{"name": "n", "label": "a", "passes": passes, "passes_lower_bound": 6}]
    notes = _notes({"dropped_weights": 0}, rows, SMALL)
    assert notes == (("a: more passes than the bound; a fan-in above 3 may take fewer",) if noted else ())
    for other in ({"method": "dense"}, {"fan_in": "auto"}):
        assert _notes({"dropped_weights": 0}, rows, SMALL.model_copy(update=other)) == ()
