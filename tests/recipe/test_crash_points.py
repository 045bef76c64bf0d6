"""A run that a signal ends at any step of writing a file: nothing torn, and the same command ends as if undisturbed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import models
from helpers.recipes import CHAIN

SCRIPTS = Path(__file__).parents[2] / "scripts"
PATIENCE = 300  # seconds for what takes some
CODES = {"SIGKILL": {-9}, "SIGTERM": {143}, "SIGHUP": {129}, "SIGINT": {130}}
POINTS = 10  # of kills, and a third of it of each other signal
# one process imports all, and forks one for each run
DRIVER = f"""
import json, os, random, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, {str(SCRIPTS)!r})
from crash_points import Ending, end_at, files_in, steps_of, torn
sys.modules["altair"] = None  # a page is one more file that is written like the others, but takes a second
import tightc.recipe.run
from tightc.cli.main import run
from tightc.cli.signals import with_ending_signals

place, seed = Path.cwd(), sys.argv[1]
given = {{name: (place / name).read_bytes() for name in ("net.onnx", "r.yaml")}}

def work():
    return with_ending_signals(lambda: run(["run", "r.yaml", "-o", "w", "-q"]))

def fresh():
    folder = place / "try"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in given.items():
        (folder / name).write_bytes(content)
    return folder

assert end_at(work, fresh(), None) == 0  # compiles kernels, which takes steps of its own
steps = steps_of(work, fresh())
wanted = files_in(place / "try")
assert end_at(work, fresh(), None) == 0 and files_in(place / "try") == wanted
dice = random.Random(seed)
outcomes = []
for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"):
    number = getattr(signal, name)
    for step in dice.sample(range(1, len(steps) + 1), {POINTS} if name == "SIGKILL" else {POINTS} // 3):
        folder, after = fresh(), dice.random() < 0.5
        code = end_at(work, folder, Ending(step, number, after))
        left = files_in(folder)
        hidden = [f for f in left if Path(f).name.startswith(".") and Path(f).name != ".lock"]
        again = end_at(work, folder, None)
        now = files_in(folder)
        outcomes.append({{
            "where": f"{{name}} {{'after' if after else 'before'}} step {{step}}, {{steps[step - 1]}}",
            "signal": name, "code": code, "torn": torn(left, given, wanted), "hidden": hidden, "again": again,
            "differ": sorted(f for f in {{*now, *wanted}} if now.get(f) != wanted.get(f)),
        }})
print(json.dumps({{"steps": len(steps), "outcomes": outcomes}}))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    place = tmp_path_factory.mktemp("crash")
    models.save(models.cnn(), place / "net.onnx")
    (place / "r.yaml").write_text(CHAIN)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "7"], cwd=place, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["steps"] > 30
    return list(found["outcomes"])


def test_no_file_is_torn(outcomes: list[dict[str, Any]]) -> None:
    assert len(outcomes) > POINTS
    assert [one for one in outcomes if one["torn"]] == []


def test_the_same_command_again_leaves_the_undisturbed_bytes_and_no_other_file(
    outcomes: list[dict[str, Any]],
) -> None:
    assert [one for one in outcomes if one["again"] or one["differ"]] == []


def test_a_kill_ends_the_process_and_a_signal_the_command(outcomes: list[dict[str, Any]]) -> None:
    codes = {name: {one["code"] for one in outcomes if one["signal"] == name} for name in CODES}
    assert codes == CODES


def test_a_signal_leaves_no_temporary_file(outcomes: list[dict[str, Any]]) -> None:
    assert [one for one in outcomes if one["signal"] != "SIGKILL" and one["hidden"]] == []
    assert any(one["hidden"] for one in outcomes), (
        "no kill left anything: the points are not those of the files"
    )
