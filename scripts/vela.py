"""Bytes that Vela, Arm's compiler for Ethos-U NPUs, stores the int8 weights of models in, as one JSON object.

    make vela
    .venv-vela/bin/python scripts/vela.py MODEL.onnx [...] [--accelerator ethos-u55-256]

Needs models of tightc quantize, plain or permuted. Their weights go into a TensorFlow Lite file unchanged, zeros
included. `bytes` are those of the encoded weights alone, without biases and scales, over all layers.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tightc
from tensorflow_lite.file import file_bytes
from tensorflow_lite.operators import lite_network

_TOTALS = {"weights": "total_original_weights", "bytes": "total_npu_encoded_weights"}
_SETTINGS = ("accelerator_configuration", "system_config", "memory_mode")
_LAST = 5  # lines of what a failed run says


class VelaError(Exception):
    """Vela failed, or stored other weights than it was given."""


def stored(path: Path, accelerator: str) -> dict[str, Any]:
    """The model's file, the settings that Vela used, the number of weights and the bytes they are stored in.

    VelaError where it fails, or leaves an operator with weights to the CPU.
    """
    network = lite_network(tightc.load(path))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "network.tflite"
        source.write_bytes(file_bytes(network))
        command = [sys.executable, "-m", "ethosu.vela", source.name, "--output-dir", "out"]
        done = subprocess.run(
            [*command, "--accelerator-config", accelerator],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stdout + done.stderr).strip().splitlines()[-_LAST:]
            raise VelaError(
                f"{path}: expected Vela to end with exit code 0, got {done.returncode}: {' / '.join(last)}"
            )
        (summary,) = (Path(folder) / "out").glob("*.csv")
        with summary.open(newline="") as lines:
            (row,) = csv.DictReader(lines)
    found = {name: int(row[column]) for name, column in _TOTALS.items()}
    expected = sum(tensor.data.size for tensor in network.weights)
    if found["weights"] != expected:
        raise VelaError(f"{path}: expected Vela to store {expected} weights, got {found['weights']}")
    return {"model": path.name, **found, **{name: row[name] for name in _SETTINGS}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the JSON object; 2 where a model or Vela is not as it has to be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="ONNX model with int8 weights")
    parser.add_argument("--accelerator", default="ethos-u55-256", help="NPU; default: ethos-u55-256")
    asked = parser.parse_args(arguments)
    try:
        rows = [stored(path, asked.accelerator) for path in asked.models]
    except (tightc.TightcError, VelaError, OSError) as fault:
        print(f"vela.py: {fault}", file=sys.stderr)
        return 2
    print(json.dumps({"vela": version("ethos-u-vela"), "models": rows}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
