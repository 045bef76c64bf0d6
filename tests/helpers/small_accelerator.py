"""A small accelerator, with models and options for it."""

from __future__ import annotations

import numpy as np

from helpers import models
from helpers.loading import loaded
from tightc.accelerator.hardware import Hardware
from tightc.model.file import Model
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.tile.array import ArrayShape

QUICK = TemperatureSchedule(steps=5, moves_per_weight=50)
SMALL = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=QUICK, jobs=1)

HARDWARE = {
    "name": "small",
    "array": "8x4",
    "arrays": 2,
    "fan_in": 3,
    "operands": "int8",
    "clock": "100 MHz",
    "prefetch_weights": False,
    "activation_buffer": {"size": "64 B", "bandwidth": "4 words/cycle", "double_buffered": True},
    "weight_buffer": {"size": "128 B", "bandwidth": "8 words/cycle", "double_buffered": True},
    "partial_sum_buffer": {"size": "1 KiB", "bandwidth": "16 words/cycle", "double_buffered": False},
    "dram": {"bandwidth": "200 MB/s", "keep_feature_maps": True},
}


def hardware(**changes: object) -> Hardware:
    return Hardware.model_validate({**HARDWARE, **changes})


TIGHT = {"size": "100 B", "bandwidth": "1.5 words/cycle", "double_buffered": False}


def product(matrix: np.ndarray, vectors: int) -> Model:
    """A model of one layer with that matrix and that many vectors."""
    filters, inputs = matrix.shape
    text = (
        f"net (float[{vectors}, {inputs}] x) => (float[{vectors}, {filters}] y) {{ [mm] y = MatMul(x, w) }}"
    )
    return loaded(models.build(text, w=matrix.T.copy()))
