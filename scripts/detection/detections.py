"""What detections are worth: mean average precision as COCO measures it."""

from __future__ import annotations

import contextlib
import io
from functools import cache

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LEAST_SCORE = 0.01
_SAME_OBJECT = 0.5  # intersection over union from which the less probable detection of a class is dropped
_MOST_BOXES = 50  # of a class in a scene
SURE = 0.4  # probability from which a detection counts as an object

Floats = NDArray[np.float32]


def detected(outputs: Floats) -> NDArray[np.float64]:
    """The detections in `outputs` of the network, (scenes, 4 + classes, cells), without duplicates.

    (detections, 7) float64: scene, left, top, width, height, probability, class.
    """
    boxes = np.ascontiguousarray(outputs[:, :4].transpose(0, 2, 1))
    scores = np.ascontiguousarray(outputs[:, 4:])
    (chosen,) = _suppression().run(None, {"boxes": boxes[:, :, [1, 0, 3, 2]], "scores": scores})
    scene, kind, cell = chosen.T
    left, top, right, bottom = boxes[scene, cell].astype(np.float64).T
    probability = scores[scene, kind, cell]
    return np.stack((scene, left, top, right - left, bottom - top, probability, kind), 1).astype(np.float64)


@cache
def _suppression() -> onnxruntime.InferenceSession:
    """Non-maximum suppression by onnxruntime."""
    limits = {
        "most": np.int64(_MOST_BOXES),
        "overlap": np.float32(_SAME_OBJECT),
        "least": np.float32(LEAST_SCORE),
    }
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", *limits], ["chosen"])
    graph = helper.make_graph(
        [node],
        "suppression",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["scenes", "cells", 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["scenes", "classes", "cells"]),
        ],
        [helper.make_tensor_value_info("chosen", TensorProto.INT64, ["detections", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in limits.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def mean_average_precision(outputs: Floats, labels: Floats) -> dict[str, float]:
    """Mean average precision in percent: `map` over IoU 0.50 to 0.95, `map50` at 0.50.

    `outputs`: (scenes, 4 + classes, cells). `labels`: (scenes, objects, 5), left, top, right, bottom, class or -1. By
    pycocotools. The function is a metric of `tightc evaluate`.
    """
    scene, place = np.nonzero(labels[:, :, 4] >= 0)
    left, top, right, bottom, kind = labels[scene, place].astype(np.float64).T
    objects = np.stack((scene, left, top, right - left, bottom - top, np.ones(len(scene)), kind), 1)
    return _precision(detected(outputs), objects, len(labels))


def as_labels(outputs: Floats) -> Floats:
    """The sure detections in `outputs` as labels, (scenes, objects, 5): the objects for the agreement with them."""
    rows = detected(outputs)
    rows = rows[rows[:, 5] >= SURE]
    scenes = rows[:, 0].astype(np.int64)
    counts = np.bincount(scenes, minlength=len(outputs))
    order = np.argsort(scenes, kind="stable")
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    labels = np.full((len(outputs), max(int(counts.max()), 1), 5), -1, np.float32)
    left, top, width, height = rows[order, 1:5].T
    labels[scenes[order], place] = np.stack((left, top, left + width, top + height, rows[order, 6]), 1)
    return labels


def _precision(
    detections: NDArray[np.float64], objects: NDArray[np.float64], scenes: int
) -> dict[str, float]:
    if not len(objects):
        raise ValueError("expected objects, got none")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = COCO(), COCO()
    images = [{"id": scene} for scene in range(scenes)]
    categories = [{"id": int(kind)} for kind in np.unique(objects[:, 6])]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        for data, rows in ((truth, objects), (found, detections)):
            data.dataset = {"images": images, "categories": categories, "annotations": _annotations(rows)}
            data.createIndex()
        measured = COCOeval(truth, found, "bbox")
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return {"map": 100 * float(measured.stats[0]), "map50": 100 * float(measured.stats[1])}


def _annotations(rows: NDArray[np.float64]) -> list[dict[str, object]]:
    return [
        {
            "id": number,
            "image_id": int(scene),
            "category_id": int(kind),
            "bbox": [left, top, width, height],
            "area": width * height,
            "score": score,
            "iscrowd": 0,
        }
        for number, (scene, left, top, width, height, score, kind) in enumerate(rows.tolist(), 1)
    ]
