"""Runs of the comparison: each leaves a record and, where asked for, its packed model."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import onnx
import yaml

from benchmarks.page import processor
from equal_accuracy.folder import SCHEMA, Record, ResultsFolder
from equal_accuracy.variant import RECIPES, ROOT, Variant, is_path, read_raw, write_recipe
from make_vgg16 import vgg16
from tightc.errors import OptionError
from tightc.files import write_file_atomically
from tightc.parallel import available_cores
from tightc.progress import Progress
from tightc.recipe.run import run_recipe
from tightc.report import Report

_PACKAGES = ("tightc", "torch", "onnx", "onnxruntime", "numpy", "numba")


def run(
    variant: Variant, work: Path, results: ResultsFolder, progress: Progress, *, keep_model: bool = False
) -> Record:
    """Runs the stages that are not done yet in the folder `work` / NAME, and writes the record.

    The packed model is kept beside the record with `keep_model`, or where one was kept before. The seconds are those
    of all runs in that folder, except a run that was killed. OptionError where another run has the same id.
    """
    run_id = _run_id(variant, results)
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
    record = {"schema": SCHEMA, "id": run_id, **_record(variant, report, folder, results)}
    results.runs.mkdir(parents=True, exist_ok=True)
    write_file_atomically(results.record(run_id), (json.dumps(record, indent=1) + "\n").encode())
    if keep_model or results.model(run_id).exists():
        _keep_packed(report, folder, results.model(run_id))
    _publish_dense(variant, report, folder)
    return record


def _run_id(variant: Variant, results: ResultsFolder) -> str:
    """The id of the same run's record, else the one asked for, else the variant's name.

    OptionError where the record of another run has that id: names leave out which stage an option is of.
    """
    records = results.read_records()
    same = [record for record in records if _is_of(record, variant)]
    run_id = variant.run_id or (same[0]["id"] if same else variant.name)
    for record in records:
        if record["id"] == run_id and record not in same:
            made = ", ".join(f"{key}={value}" for key, value in record["changes"].items()) or "no changes"
            raise OptionError(
                f"{results.record(run_id)}: the record of a run with {made}", "give another id with --id"
            )
    return run_id


def _is_of(record: Record, variant: Variant) -> bool:
    """Whether `record` is of the same recipe, changes (in any order) and seed."""
    words = shlex.split(record["command"])
    seeds = words[words.index("--seeds") + 1] if "--seeds" in words else None
    return (
        words[2:3] == [variant.base]
        and record["changes"] == _changes(variant)
        and seeds == (None if variant.seed is None else str(variant.seed))
    )


def _changes(variant: Variant) -> dict[str, str]:
    return {f"{change.stage}.{change.option}": change.value for change in variant.changes}


def _record(variant: Variant, report: Report, folder: Path, results: ResultsFolder) -> Record:
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    epochs = [stage["finetune"]["epochs"] for stage in recipe["stages"] if "finetune" in stage]
    network, _, method = variant.path.stem.partition("-")
    return {
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
        "recipe": _relative_to(results.runs, recipe, folder),
    }


def _relative_to(runs: Path, recipe: Record, folder: Path) -> Record:
    """A resolved `recipe` of `folder` with its paths relative to `runs`, so that the record fits any machine."""

    def moved(path: str) -> str:
        return os.path.relpath(folder.resolve() / path, runs.resolve())

    found = {**recipe, "model": moved(recipe["model"])}
    if "data" in recipe and is_path(recipe["data"]["data"], folder):
        found["data"] = {**recipe["data"], "data": moved(recipe["data"]["data"])}
    return found


def _keep_packed(report: Report, folder: Path, path: Path) -> None:
    packed = [row for row in report.layers if row["stage"] == "pack"]
    source = folder / f"{packed[-1]['name']}.onnx" if packed else None
    if source is None or any(source.parent.glob(f"{source.name}.*.data")):
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file_atomically(path, source.read_bytes())


def _prepare(variant: Variant, work: Path, results: ResultsFolder, progress: Progress) -> None:
    """Makes the model that the recipe starts from where that is one of build/ and not there yet."""
    model = (variant.path.parent / read_raw(variant.path)["model"]).resolve()
    if model.exists() or model.parent != ROOT / "build":
        return
    model.parent.mkdir(exist_ok=True)
    if model.name == "vgg16-random.onnx":
        onnx.save(vgg16(classes=10, seed=0), model)
    elif (RECIPES / f"{model.stem}-dense.yaml").exists():
        run(Variant(f"{model.stem}-dense"), work, results, progress)


def _publish_dense(variant: Variant, report: Report, folder: Path) -> None:
    """The network that NETWORK-dense trains becomes build/NETWORK.onnx, which the other recipes start from."""
    if variant.base.endswith("-dense") and not variant.changes and variant.seed is None:
        target = ROOT / "build" / f"{variant.base.removesuffix('-dense')}.onnx"
        write_file_atomically(target, (folder / f"{report.layers[-1]['name']}.onnx").read_bytes())
