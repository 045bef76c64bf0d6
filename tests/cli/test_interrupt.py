"""Ctrl-C, SIGTERM or SIGHUP in a search: exit codes, and the best packing by then where a file was named for it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import oracle
from helpers import models
from helpers.loading import loaded
from tightc.model.file import Model, load_model
from tightc.model.history import read_history
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.report import Interrupted
from tightc.tile.array import ArrayShape

PATIENCE = 60  # seconds for what takes a few
ENDLESS = 10_000_000  # moves for each weight
SCRIPT = "from tightc.cli.main import main; main()"
# a method that ignores an interrupt
DEAF = """
import sys, time
from tightc.permutation import registry

def deaf(matrix, problem):
    print("at work", file=sys.stderr, flush=True)
    time.sleep(600)

registry.BUILT_IN["tight"] = registry.Method("tight", "__main__:deaf")
"""
ENDINGS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}
LONG = ["permute", "net.onnx", "--array", "16x16", "--fan-in", "6", "--temp-schedule", "endless.yaml"]


def network() -> onnx.ModelProto:
    """Two layers whose lanes are scarce, so that no block of tiles meets its bound and ends early."""
    return models.build(
        "net (float[1, 256] x) => (float[1, 96] y) { [one] a = MatMul(x, v)\n [two] y = MatMul(a, w) }",
        v=models.sparse(256, 128, density=0.2),
        w=models.sparse(128, 96, density=0.2, seed=1),
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(network(), tmp_path / "net.onnx")
    (tmp_path / "endless.yaml").write_text(f"moves_per_weight: {ENDLESS}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def at_work(sign: str, *arguments: str, script: str = SCRIPT) -> Iterator[subprocess.Popen[str]]:
    """The command once stderr has a line with `sign`."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], **pipes)
    try:
        assert process.stderr is not None
        assert any(sign in line for line in process.stderr)
        yield process
    finally:
        process.kill()
        process.wait()


def interrupted(*arguments: str, by: signal.Signals = signal.SIGINT) -> tuple[str, str]:
    """(stdout, what comes on stderr then) of a search that a signal ends while it anneals."""
    with at_work("accepted ", *LONG, "-v", *arguments) as process:
        assert process.poll() is None
        process.send_signal(by)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + by
    assert err.endswith(f"tightc: {ENDINGS[by]}\n") and "Traceback" not in err
    return out, err


def assert_packed(model: Model) -> None:
    onnx.checker.check_model(model.proto, full_check=True)
    found, packings = read_network(model), read_packings(model)
    assert set(packings) == {layer.weight for layer in found.owners} == {"v", "w"}
    for layer in found.owners:
        matrix = layer_matrix(found, layer)
        tiles = oracle.plain(packings[layer.weight])
        assert oracle.packing_faults(tiles, matrix.values, matrix.groups, (16, 16), 6) == []


@pytest.mark.parametrize(
    ("by", "jobs"),
    [(signal.SIGINT, "1"), (signal.SIGINT, "2"), (signal.SIGTERM, "1"), (signal.SIGHUP, "2")],
)
def test_a_named_file_gets_the_best_packing_by_then(place: Path, by: signal.Signals, jobs: str) -> None:
    out, err = interrupted("-o", "out.onnx", "--json", "--jobs", jobs, by=by)
    assert sorted(os.listdir()) == ["endless.yaml", "net.onnx", "out.onnx"]
    assert re.search(
        r"^stopped with \d of 2 layers done; the same command starts anew; out.onnx holds the best packing so far\n",
        err,
        re.MULTILINE,
    )
    assert_packed(load_model(place / "out.onnx"))
    x = np.random.default_rng(0).normal(size=(1, 256)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for name in ("net.onnx", "out.onnx")
    )
    assert before.tobytes() == after.tobytes()
    totals = json.loads(out)["totals"]
    assert totals["dropped_weights"] == 0
    assert totals["passes"] == sum(len(p.tiles) for p in read_packings(load_model("out.onnx")).values())


def test_a_pipe_gets_nothing(place: Path) -> None:
    before = sorted(os.listdir())
    out, err = interrupted()
    assert out == "" and "; nothing is kept; with -o FILE, the best packing so far would be\n" in err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait_for_what_is_at_work(place: Path, by: signal.Signals) -> None:
    with at_work("at work", *LONG, "-o", "out.onnx", script=DEAF + SCRIPT) as process:
        process.send_signal(by)
        with pytest.raises(subprocess.TimeoutExpired):  # the first one waits for the best so far
            process.wait(timeout=1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (128 + by, "")  # the first one decides
    assert err.endswith(f"tightc: {ENDINGS[by]}\n") and "Traceback" not in err
    assert not (place / "out.onnx").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_in_python_the_exception_carries_the_result(jobs: int) -> None:
    schedule = TemperatureSchedule(moves_per_weight=ENDLESS)
    options = PermuteOptions(array=ArrayShape(16, 16), fan_in=6, temp_schedule=schedule, jobs=jobs)
    presses = threading.Event()

    def once(_task: str, _done: float, figures: Mapping[str, str], /) -> None:
        if not presses.is_set() and "temperature" in figures:
            presses.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        permute(loaded(network()), options, progress=once)
    model, report = caught.value.result
    assert_packed(model)
    ended = read_history(model)[-1]["ended"]
    assert ended["by"] == "interrupt" and set(ended["layers"]) <= {"one", "two"} and ended["layers"]
    assert report.totals["passes"] == sum(len(p.tiles) for p in read_packings(model).values())
