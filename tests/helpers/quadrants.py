"""A network that knows which quadrant is bright, with its data as files, to compress in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from helpers import training
from tightc.model.file import save_model

COUNTS = {"train": 160, "test": 120}
# of compress: trainings of a few steps, packed with few moves
QUICK: dict[str, Any] = {
    "mean": (0.5,), "std": (0.25,), "array": (8, 8), "fan_in": 4, "epochs": 2, "trials": 2, "batch_size": 16,
    "device": "cpu", "dtype": "float32", "temp_schedule": {"steps": 2, "moves_per_weight": 5},
}  # fmt: skip


def arrays() -> dict[str, np.ndarray]:
    """Images and labels of both splits, by the names that a .npz has."""
    found = {}
    for seed, (split, count) in enumerate(COUNTS.items()):
        images = training.quadrants(count, seed)
        found |= {f"x_{split}": images.pixels[:, 0], f"y_{split}": images.labels}
    return found


def write(folder: Path) -> None:
    """`net.onnx`, trained, and `data.npz` in `folder`."""
    model, _ = training.train(training.network("normed"), training.quadrants(200, seed=5), epochs=4)
    save_model(model, folder / "net.onnx")
    np.savez(folder / "data.npz", **arrays())


def classes(model: Path, pixels: np.ndarray) -> np.ndarray:
    """The class of each image, (images, 8, 8), by onnxruntime alone."""
    session = onnxruntime.InferenceSession(model)
    (name,) = [value.name for value in session.get_inputs()]
    scaled = (pixels[:, None].astype(np.float32) / 255 - 0.5) / 0.25
    found: np.ndarray = session.run(None, {name: scaled.astype(np.float32)})[0].argmax(axis=1)
    return found


def held_out(count: int, total: int) -> np.ndarray:
    """Which images are held out: the first of a permutation with seed 0."""
    which = np.zeros(total, bool)
    which[np.random.default_rng(0).permutation(total)[:count]] = True
    return which
