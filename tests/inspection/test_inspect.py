"""The table of layers and the fraction of MACs that they cover, by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from helpers import models
from helpers.loading import loaded
from tightc.config.input_sizes import InputSizeOptions
from tightc.inspection.inspect import inspect
from tightc.inspection.options import InspectOptions
from tightc.model.file import Model, load_model, load_model_bytes
from tightc.packing.pack import pack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.report import Report


def inspected(proto: onnx.ModelProto, **options: object) -> Report:
    return inspect(loaded(proto), InspectOptions(**options))


def test_the_options_are_input_sizes() -> None:
    assert issubclass(InspectOptions, InputSizeOptions)


def test_a_row_for_each_layer_by_hand() -> None:
    weight = np.zeros((4, 2, 1, 3), np.float32)
    weight[0, 0, 0, 0] = weight[0, 1, 0, 2] = weight[3, 1, 0, 2] = 1
    proto = models.build(
        "net (float[2, 2, 5, 5] x) => (float[2, 4, 5, 3] y) { [c] y = Conv(x, w) }", w=weight
    )
    (row,) = inspected(proto).layers
    assert row == {
        "name": "c",
        "label": "c",
        "weight": "w",
        "operator": "Conv",
        "filters": 4,
        "inputs": 6,
        "groups": 1,
        "shares": None,
        "type": "float32",
        "vectors": 2 * 5 * 3,
        "weights": 24,
        "nonzeros": 3,
        "density": 3 / 24,
        "empty_filters": 2,
        "dead_filters": 2,
        "empty_inputs": 4,
        "macs": 24 * 30,
    }


def test_groups_are_counted_one_by_one() -> None:
    weight = np.zeros((4, 1, 1, 2), np.float32)
    weight[0, 0, 0, 0] = weight[3, 0, 0, 1] = 1
    proto = models.build(
        "net (float[1, 2, 1, 2] x) => (float[1, 4, 1, 1] y) { [c] y = Conv<group = 2>(x, w) }", w=weight
    )
    (row,) = inspected(proto).layers
    assert (row["filters"], row["inputs"], row["groups"]) == (2, 2, 2)
    assert (row["empty_filters"], row["empty_inputs"]) == (2, 2)
    assert row["macs"] == 4 * 2


# form -> (layer, uncovered operator, MACs inside, MACs outside)
SHARES = {
    "attention": (models.attention, "scores", 5 * 8 * 6, 5 * 6 * 5),
}


def test_each_input_pixel_of_a_transposed_convolution_is_a_vector() -> None:
    """MACs = input pixels x channels x channels out x kernel."""
    report = inspected(models.transposed())
    conv, up = report.layers
    assert (up["vectors"], up["filters"], up["inputs"]) == (16, 2 * 9, 4)
    assert (conv["macs"], up["macs"]) == (4 * 27 * 16, 4 * 16 * 18) and report.totals["macs_covered"] == 1.0


@pytest.mark.parametrize("form", SHARES)
def test_the_fraction_of_macs_by_hand(form: str) -> None:
    make, name, inside, outside = SHARES[form]
    report = inspected(make())
    (entry,) = report.uncovered
    assert (entry["name"], entry["macs"]) == (name, outside)
    assert entry["reason"]
    assert report.totals["macs"] == inside
    assert report.totals["macs_covered"] == pytest.approx(inside / (inside + outside))
    assert report.notes == ()


@pytest.mark.parametrize(
    ("make", "name"), [(models.with_lstm, "rnn"), (lambda: models.with_if("v"), "choice")]
)
def test_unknown_macs_make_the_fraction_unknown(make, name: str) -> None:
    report = inspected(make())
    (entry,) = report.uncovered
    assert (entry["name"], entry["macs"]) == (name, None)
    assert report.totals["macs_covered"] is None
    assert report.notes == (f"MACs of {name} are unknown, and so is the fraction covered",)


def test_all_is_covered_if_nothing_else_multiplies() -> None:
    report = inspected(models.cnn())
    assert report.totals["macs_covered"] == 1.0
    assert report.uncovered == ()


@pytest.mark.parametrize("batch", [1, 5])
def test_the_batch_multiplies_vectors_and_macs(batch: int) -> None:
    report = inspected(models.cnn(), batch=batch)
    assert [row["vectors"] for row in report.layers] == [64 * batch, 9 * batch, batch]
    assert report.totals["macs"] == batch * (8 * 27 * 64 + 8 * 72 * 9 + 4 * 8)


def test_facts_about_the_file() -> None:
    proto = models.cnn(opset=17, ir=8)
    totals = inspected(proto).totals
    assert (totals["opset"], totals["ir_version"]) == (17, 8)
    assert (totals["packed"], totals["history"]) == (False, [])
    assert totals["bytes"] == len(proto.SerializeToString())


def test_a_packed_model_shows_the_layers_behind_it() -> None:
    model = load_model_bytes(models.cnn().SerializeToString())
    packed, _ = pack(permute(model, PermuteOptions(temp_schedule=TemperatureSchedule(moves_per_weight=0)))[0])
    report = inspect(packed, InspectOptions())
    assert report.totals["packed"] is True
    assert report.totals["history"] == ["permute", "pack"]
    assert report.layers == inspected(models.cnn()).layers


def test_a_shared_weight_counts_once_and_its_macs_twice() -> None:
    report = inspected(models.shared_weight())
    assert report.totals["weights"] == 144
    assert report.totals["macs"] == 2 * 144 * 36
    assert [row["shares"] for row in report.layers] == [None, "one"]


def test_vectors_of_layers_whose_labels_agree() -> None:
    proto = models.build(
        "net (float[1,4,6,6] x) => (float[1,4,5,5] y) { same = Conv(x, v)\n [same] y = Conv(same, w) }",
        v=models.sparse(4, 4, 1, 1),
        w=models.sparse(4, 4, 2, 2),
    )
    assert [row["vectors"] for row in inspected(proto).layers] == [36, 25]


def test_the_shared_resnet20(resnet20) -> None:
    model: Model = load_model(resnet20)
    report = inspect(model, InspectOptions())
    assert len(report.layers) == 20
    assert report.totals["macs"] == sum(row["macs"] for row in report.layers) == 40_551_040
    assert report.totals["macs_covered"] == 1.0
