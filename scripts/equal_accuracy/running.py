"""Runs of the comparison, each kept as docs/results/NAME.json and, where it is small, its packed model beside it."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import yaml

from benchmarks.page import processor
from equal_accuracy.variant import RECIPES, ROOT, Variant, is_path, read_raw, write_recipe
from make_vgg16 import vgg16
from tightc.errors import OptionError
from tightc.files import write_file_atomically
from tightc.parallel import available_cores
from tightc.progress import Progress
from tightc.recipe.run import run_recipe
from tightc.report import Report

SCHEMA = "tightc.experiment/1"
_PACKAGES = ("tightc", "torch", "onnx", "onnxruntime", "numpy", "numba")
_LARGEST = 1_000_000  # bytes of a packed model that is kept beside its record

Record = dict[str, Any]


def run(variant: Variant, work: Path, results: Path, progress: Progress) -> Record:
    """Runs what is not done yet in the folder `work` / NAME, and writes record and packed model to `results`.

    The seconds are those of all runs in that folder, but of one that was killed. OptionError where the record of
    another run has that name.
    """
    _refuse_another(variant, results / f"{variant.name}.json")
    work.mkdir(parents=True, exist_ok=True)
    recipe, folder = work / f"{variant.name}.yaml", work / variant.name
    _prepare(variant, work, results, progress)
    write_recipe(variant, recipe)
    began, clock = time.perf_counter(), folder / "seconds"
    before = float(clock.read_text()) if clock.exists() else 0.0
    try:
        report = run_recipe(recipe, folder, seed=variant.seed, progress=progress)
        done = any(row["state"] == "done" for row in report.layers)
    except BaseException:
        done = True
        raise
    finally:
        if done and folder.is_dir():
            clock.write_text(f"{before + time.perf_counter() - began:.1f}")
    record = _record(variant, report, folder, results)
    results.mkdir(parents=True, exist_ok=True)
    write_file_atomically(results / f"{variant.name}.json", (json.dumps(record, indent=1) + "\n").encode())
    _keep_packed(report, folder, results / f"{variant.name}.onnx")
    _hand_on(variant, report, folder)
    return record


def _refuse_another(variant: Variant, path: Path) -> None:
    """Names leave out which stage an option is of."""
    if path.exists():
        held = json.loads(path.read_text(encoding="utf-8"))["changes"]
        if held != _changes(variant):
            made = ", ".join(f"{key}={value}" for key, value in held.items()) or "no changes"
            raise OptionError(
                f"{path}: the record of a run with {made}", "move it away, or give another --docs"
            )


def _changes(variant: Variant) -> dict[str, str]:
    return {f"{change.stage}.{change.option}": change.value for change in variant.changes}


def _record(variant: Variant, report: Report, folder: Path, results: Path) -> Record:
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    epochs = [stage["finetune"]["epochs"] for stage in recipe["stages"] if "finetune" in stage]
    network, _, method = variant.path.stem.partition("-")
    return {
        "schema": SCHEMA,
        "name": variant.name,
        "setting": variant.setting,
        "network": network,
        "method": method,
        "changes": _changes(variant),
        "command": variant.command,
        "seed": report.totals["seed"],
        "array": report.totals["array"],
        "epochs": sum(epochs),
        "rows": [{key: value for key, value in row.items() if key != "state"} for row in report.layers],
        "versions": {
            "python": ".".join(map(str, sys.version_info[:3])),
            **{package: version(package) for package in _PACKAGES if find_spec(package)},
        },
        "processor": processor(),
        "cores": available_cores(),
        "seconds": float((folder / "seconds").read_text()),
        "recipe": _seen_from(recipe, folder, results),
    }


def _seen_from(recipe: Record, folder: Path, results: Path) -> Record:
    """A resolved `recipe` of `folder` with its paths relative to `results`, so that the record fits any machine."""

    def moved(path: str) -> str:
        return os.path.relpath(folder.resolve() / path, results.resolve())

    seen = {**recipe, "model": moved(recipe["model"])}
    if "data" in recipe and is_path(recipe["data"]["data"], folder):
        seen["data"] = {**recipe["data"], "data": moved(recipe["data"]["data"])}
    return seen


def _keep_packed(report: Report, folder: Path, path: Path) -> None:
    packed = [row for row in report.layers if row["stage"] == "pack" and row["bytes"] < _LARGEST]
    source = folder / f"{packed[-1]['name']}.onnx" if packed else None
    if source is None or any(source.parent.glob(f"{source.name}.*.data")):
        path.unlink(missing_ok=True)
    else:
        write_file_atomically(path, source.read_bytes())


def _prepare(variant: Variant, work: Path, results: Path, progress: Progress) -> None:
    """Makes the model that the recipe starts from where that is one of build/ and not there yet."""
    model = (variant.path.parent / read_raw(variant.path)["model"]).resolve()
    if model.exists() or model.parent != ROOT / "build":
        return
    model.parent.mkdir(exist_ok=True)
    if model.name == "vgg16-random.onnx":
        onnx.save(vgg16(classes=10, seed=0), model)
    elif (RECIPES / f"{model.stem}-dense.yaml").exists():
        run(Variant(f"{model.stem}-dense"), work, results, progress)


def _hand_on(variant: Variant, report: Report, folder: Path) -> None:
    """The network that NETWORK-dense trains becomes build/NETWORK.onnx, which the other recipes start from."""
    if variant.base.endswith("-dense") and not variant.changes and variant.seed is None:
        target = ROOT / "build" / f"{variant.base.removesuffix('-dense')}.onnx"
        write_file_atomically(target, (folder / f"{report.layers[-1]['name']}.onnx").read_bytes())
