"""The folder in which the commands of a page run, and the commands themselves in bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from PIL import Image

import tightc

ROOT = Path(__file__).parents[2]
EXAMPLE = Path("src/tightc/example")
_LEFT_OUT = ("COLUMNS", "GITHUB_ACTIONS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
SECONDS = 900  # until a block that hangs is ended
_SMALL = """
<ir_version: 10, opset_import: ["" : 21]>
small (float[B, 3, 32, 32] x) => (float[B, 2] y) {
  a = Conv <kernel_shape = [4, 4], strides = [4, 4]> (x, conv1_weight)
  b = Relu (a)
  c = Conv <kernel_shape = [3, 3]> (b, conv2_weight)
  d = Relu (c)
  e = GlobalAveragePool (d)
  f = Flatten (e)
  y = Gemm <transB = 1> (f, fc_weight)
}
"""
_SHAPES = {"conv1_weight": (32, 3, 4, 4), "conv2_weight": (64, 32, 3, 3), "fc_weight": (2, 64)}


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and what it printed on stdout and stderr, without spaces at line ends."""

    code: int
    output: str


def make_folder(folder: Path, small: bool) -> Path:
    """Fills `folder` with what the pages take for given, and returns the folder in it that the commands run in.

    These are the example in its place and as `digits.onnx`, `model.onnx` and `images.npz`, `configs`, and the
    Makefile with its environment. If `small`,
    `model.onnx` is a network of RGB images instead, with `images/`, `photos/`, `samples.npz` and `masks.npz` for it.
    """
    programs, place = folder / "bin", folder / "place"
    programs.mkdir(parents=True)
    write_program(programs / "tightc", f'exec "{sys.executable}" -m tightc "$@"')
    write_program(programs / "python", f'exec "{sys.executable}" "$@"')
    shutil.copytree(tightc.examples(), place / EXAMPLE, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ROOT / "configs", place / "configs")
    for source, name in (
        ("digits.onnx", "digits.onnx"),
        ("digits.onnx", "model.onnx"),
        ("digits.npz", "images.npz"),
    ):
        shutil.copy(tightc.examples() / source, place / name)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, place / name)
    (place / ".venv").mkdir()
    (place / ".venv" / "bin").symlink_to(programs)
    (place / ".venv" / "ready").touch()  # after its prerequisites: make takes the environment as made
    if small:
        _make_small_network(place)
    return place


def run_commands(commands: Sequence[str], place: Path, *, stop: bool = False) -> list[Ended]:
    """Runs commands in one bash, which begins in `place`: functions and `cd` hold for the next ones.

    If `stop`, the first line of a command that fails ends it, also within a pipe.
    """
    notes = place.parent / "notes"
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir()
    script = "set -e -o pipefail\n" if stop else ""
    for number, command in enumerate(commands):
        script += f'{{\n{command}\n}} > "{notes}/{number}" 2>&1\necho $? > "{notes}/{number}.code"\n'
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place,
        env=_environment(place.parent / "bin"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return [_ended(notes / str(number), done.returncode) for number in range(len(commands))]


def _ended(note: Path, otherwise: int) -> Ended:
    code = note.with_suffix(".code")
    output = note.read_text(encoding="utf-8") if note.exists() else ""
    return Ended(
        code=int(code.read_text()) if code.exists() else otherwise,
        output="".join(f"{line.rstrip()}\n" for line in output.splitlines()),
    )


def _environment(programs: Path) -> dict[str, str]:
    """That of a user in a terminal of no given width, outside CI and make: stdout and stderr come in order."""
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return kept | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(tightc.__file__).parents[1]),
        "PYTHONUNBUFFERED": "1",
    }


def write_program(path: Path, command: str) -> None:
    """Writes a shell script that runs `command`."""
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def _make_small_network(place: Path) -> None:
    draw = np.random.default_rng(0)
    weights = {name: draw.normal(size=shape).astype(np.float32) / 8 for name, shape in _SHAPES.items()}
    model = onnx.parser.parse_model(_SMALL)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(weight, name) for name, weight in weights.items()
    )
    onnx.save(model, place / "model.onnx")
    masks: dict[str, Any] = {name: draw.random(weight.shape) < 0.2 for name, weight in weights.items()}
    np.savez(place / "masks.npz", **masks)
    np.savez(place / "samples.npz", x=draw.random((64, 3, 32, 32), dtype=np.float32))
    for name, size in (("images/train", (32, 32)), ("images/test", (32, 32)), ("photos", (48, 40))):
        for kind in range(2):
            (place / name / str(kind)).mkdir(parents=True)
            for number in range(24):
                pixels = draw.integers(0, 128, (*size, 3), dtype=np.uint8) + np.uint8(100 * kind)
                Image.fromarray(pixels).save(place / name / str(kind) / f"{number}.png")
