"""The detector of scripts/detector.py: its scenes, its measures against closed forms, and a short run of all steps."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import detector
import tightc
from detection import detections, network, scenes, training

PHOTOGRAPHS = np.random.default_rng(5).integers(0, 256, (3, 3, 32, 32), np.uint8)


def digits() -> tuple[np.ndarray, np.ndarray]:
    with np.load(tightc.examples() / "digits.npz") as data:
        return data["x_train"], data["y_train"]


def drawn(count: int = 40, seed: int = 0) -> scenes.Scenes:
    return scenes.draw_scenes(count, PHOTOGRAPHS, digits(), np.random.default_rng(seed))


def perfect(labels: np.ndarray, certainty: float = 0.9) -> np.ndarray:
    """Outputs of a network that finds exactly the objects of `labels`, one cell each."""
    outputs = np.zeros((len(labels), 4 + scenes.CLASSES, labels.shape[1]), np.float32)
    for scene, cell in zip(*np.nonzero(labels[:, :, 4] >= 0), strict=True):
        outputs[scene, :4, cell] = labels[scene, cell, :4]
        outputs[scene, 4 + int(labels[scene, cell, 4]), cell] = certainty
    return outputs


def test_scenes_hold_digits_of_both_scales_inside_and_some_overlap() -> None:
    made = drawn(200)
    objects = made.boxes[made.boxes[:, :, 4] >= 0]
    left, top, right, bottom, kinds = objects.T
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= scenes.SIDE and bottom.max() <= scenes.SIDE
    assert set(kinds.astype(int)) == set(range(scenes.CLASSES))
    sides = right - left
    assert np.array_equal(sides, bottom - top)
    small = sides <= scenes.SCALES[0][1]
    assert 0.3 < small.mean() < 0.8 and sides[~small].min() >= scenes.SCALES[1][0]
    overlaps = [
        scenes.overlap(tuple(one[:4]), tuple(other[:4]))
        for boxes in made.boxes
        for place, one in enumerate(boxes)
        for other in boxes[:place]
        if one[4] >= 0
    ]
    assert 0.1 < max(overlaps) <= 0.3


def test_a_digit_changes_only_the_pixels_in_its_box() -> None:
    canvas = np.full((scenes.SIDE, scenes.SIDE, 3), 30, np.uint8)
    before = canvas.copy()
    scenes._draw(canvas, digits()[0][0], (10, 20, 40, 50), np.random.default_rng(1))
    inside = np.zeros(canvas.shape, bool)
    inside[20:50, 10:40] = True
    assert np.array_equal(canvas[~inside], before[~inside])
    assert np.abs(canvas[inside].astype(int) - 30).max() > 60


def test_scenes_follow_from_the_seed() -> None:
    one, same, other = drawn(seed=3), drawn(seed=3), drawn(seed=4)
    assert np.array_equal(one.images, same.images) and np.array_equal(one.boxes, same.boxes)
    assert not np.array_equal(one.images, other.images)


def test_precision_of_perfect_shifted_and_wrong_detections() -> None:
    labels = drawn().boxes
    right = perfect(labels)
    assert detections.mean_average_precision(right, labels) == {
        "map": pytest.approx(100),
        "map50": pytest.approx(100),
    }
    wrong = right.copy()
    wrong[:, 4:] = np.roll(right[:, 4:], 1, axis=1)
    assert detections.mean_average_precision(wrong, labels)["map50"] < 5
    shifted = right.copy()
    side = labels[:, :, 2] - labels[:, :, 0]
    shifted[:, 0] += 0.2 * side
    shifted[:, 2] += 0.2 * side  # 0.8 / 1.2 of the union is common: right at 0.50 to 0.65, wrong from 0.70
    found = detections.mean_average_precision(shifted, labels)
    assert found["map50"] > 95 and 35 < found["map"] < 45


def test_half_of_the_objects_gives_half_the_precision() -> None:
    labels = drawn(400).boxes
    outputs = perfect(labels)
    outputs[::2] = 0
    assert 40 < detections.mean_average_precision(outputs, labels)["map50"] < 60


def test_duplicates_are_dropped_and_other_classes_kept() -> None:
    labels = np.array([[[10, 10, 40, 40, 3], [11, 11, 41, 41, 3], [12, 10, 42, 40, 5]]], np.float32)
    outputs = perfect(labels)
    outputs[0, 4 + 3, 1] = 0.5
    rows = detections.detected(outputs)
    assert sorted(rows[:, 6]) == [3, 5] and np.allclose(rows[rows[:, 6] == 3, 5], 0.9)
    assert np.allclose(rows[rows[:, 6] == 3, 1:5], [[10, 10, 30, 30]])


def test_sure_detections_as_labels() -> None:
    labels = drawn(30).boxes
    outputs = perfect(labels)
    outputs[0, 4:] *= 0.2  # a scene without a sure detection
    again = detections.as_labels(outputs)
    assert (again[0] == -1).all()

    def rows(boxes: np.ndarray) -> set[tuple[float, ...]]:
        return {tuple(row) for row in boxes.tolist() if row[4] >= 0}

    assert all(rows(again[scene]) == rows(labels[scene]) for scene in range(1, 30))
    with pytest.raises(ValueError, match="expected objects, got none"):
        detections.mean_average_precision(outputs, np.full_like(labels, -1))


def test_each_object_is_assigned_to_cells_of_its_scale() -> None:
    labels = torch.tensor(
        [[[8.0, 16, 24, 32, 7], [50, 40, 90, 80, 2], [-1, -1, -1, -1, -1]]], dtype=torch.float32
    )
    small, held = training.assigned(labels, 0)
    assert set(small[held][:, 4].tolist()) == {7}
    rows, columns = (set(part.tolist()) for part in held[0].nonzero(as_tuple=True))
    assert rows == {2, 3} and columns == {1, 2}  # the center is (16, 24), of cells of 8
    large, held = training.assigned(labels, 1)
    assert set(large[held][:, 4].tolist()) == {2} and held.sum() == 4
    perfect_distances = torch.zeros(1, 4, 12, 12)
    left, top, right, bottom = network.box_of(perfect_distances, 8)[0, :, 2, 1].tolist()
    assert (left, top, right, bottom) == (4, 12, 20, 28)  # e^0 cells to each side of (12, 20)


def test_generalized_iou() -> None:
    one = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1]])
    other = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 3, 1]])
    assert training.generalized_iou(one, other).tolist() == pytest.approx([1, 1 / 3, -1 / 3])


def test_the_exported_detector_computes_what_torch_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = network.Detector(4)
    network.export(detector, tmp_path / "detector.onnx")
    images = torch.rand(3, 3, scenes.SIDE, scenes.SIDE)
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": images.numpy()})
    with torch.no_grad():
        wanted = network.decoded(*detector(images)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    produced = {name for node in onnx.load(tmp_path / "detector.onnx").graph.node for name in node.output}
    assert set(network.VALUES) <= produced


def test_a_short_run_prints_all_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs, work = tmp_path / "photographs.npz", tmp_path / "work"
    np.savez(photographs, x=PHOTOGRAPHS, y=np.zeros(len(PHOTOGRAPHS), np.int64))
    sizes = ["--scenes", "64", "--held-out", "8", "--epochs", "1", "--finetune-epochs", "1", "--seeds", "1"]
    command = ["detector.py", "--photographs", str(photographs), "--work", str(work), *sizes]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(detections, "SURE", 0.001)  # one epoch makes no sure detections
    detector.main()
    first = capsys.readouterr()
    rows = [line.split(" | ")[0] for line in first.out.splitlines() if line.startswith("| ")]
    assert rows == ["| network", "| dense", "| pruned", "| finetuned", "| packed"]
    assert first.err.startswith("epoch 1  loss ")
    packed = onnx.load(work / "seed0" / "packed.onnx")
    assert {node.domain for node in packed.graph.node} == {"", "tightc"}
    detector.main()  # from the figures that are there
    again = capsys.readouterr()
    assert again.out == first.out and not again.err
