"""Records of the comparison, written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from equal_accuracy.folder import SCHEMA

ROOT = Path(__file__).parents[2]
Record = dict[str, Any]


def record(network: str, method: str, rate: float, drop: float, seed: int = 0, **changes: str) -> Record:
    """A record of a run, with the keys that the results page reads."""
    setting = "-".join([network, method, *changes.values()])
    dense = {"stage": "dense", "accuracy": 90.0}
    packed = {
        "stage": "pack", "accuracy": 90.0 - drop, "accuracy_drop": drop, "density": 1 / rate, "tightness": 1.0,
        "matrix_compression_rate": rate, "passes": round(300 / rate), "cycles": round(90_000 / rate),
        "speedup": rate / 2, "energy_gain": rate / 3, "bytes": 100_000,
    }  # fmt: skip
    return {
        "schema": SCHEMA,
        "id": f"{setting}-{seed}",
        "setting": setting,
        "network": network,
        "method": method,
        "changes": {f"finetune.{key}": value for key, value in changes.items()},
        "command": f"python scripts/experiments.py {setting}" + (f" --seeds {seed}" if seed else ""),
        "seed": seed,
        "epochs": 20,
        "rows": [dense, packed],
        "recipe": {"stages": [{"permute": {"method": "tight", "fan_in": 16}}]},
        "versions": {"tightc": "0.1.0"},
        "processor": "a processor",
        "cores": 2,
        "seconds": 1800.0,
    }
