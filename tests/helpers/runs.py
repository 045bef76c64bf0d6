"""Records of the comparison, written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from results.folder import SCHEMA

ROOT = Path(__file__).parents[2]
Record = dict[str, Any]


def record(
    network: str,
    method: str,
    rate: float,
    drop: float,
    seed: int = 1,
    chosen_on: str = "validation",
    **changes: str,
) -> Record:
    """A record of a run, with the keys that the results page reads."""
    row = "-".join([network, method, *changes.values()])
    held_out = {"split": "validation"} if chosen_on == "validation" else {}
    dense = {"stage": "dense", "accuracy": 99.0 if held_out else 90.0, **held_out}
    packed = {
        "stage": "pack", "accuracy": 90.0 - drop, "accuracy_drop": drop, "density": 1 / rate, "tightness": 1.0,
        "matrix_compression_rate": rate, "passes": round(300 / rate), "cycles": round(90_000 / rate),
        "speedup": rate / 2, "energy_gain": rate / 3, "bytes": 100_000,
    }  # fmt: skip
    tested = {"stage": "evaluate", "accuracy": 90.0 - drop, "accuracy_drop": drop, "split": "test"}
    if held_out:
        packed |= {"accuracy": 95.0 - drop, "accuracy_drop": 4.0 + drop, **held_out}
    return {
        "schema": SCHEMA,
        "id": f"{row}-s{seed}",
        "row": row,
        "network": network,
        "method": method,
        "changes": {f"finetune.{key}": value for key, value in changes.items()},
        "seed": seed,
        "chosen_on": chosen_on,
        "epochs": 20,
        "rows": [dense, packed, tested] if held_out else [dense, packed],
        "recipe": {"stages": [{"permute": {"method": "tight", "fan_in": 16}}]},
        "versions": {"tightc": "0.1.0"},
        "processor": "a processor",
        "cores": 2,
        "seconds": 1800.0,
    }
