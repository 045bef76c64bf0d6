"""The search on a real Dask cluster on this machine: same bytes, and a worker, all workers or the scheduler lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import oracle
from helpers import models
from helpers.loading import loaded
from tightc.deadline import Deadline, TimeShare
from tightc.errors import OptionError
from tightc.model.file import Model, load_model
from tightc.model.history import read_history
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.permutation.annealing.anneal import Annealed, AnnealProgress, AnnealSettings
from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.executors import dask_cluster
from tightc.permutation.executors.executor import BlockJob
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.tile.array import ArrayShape

distributed = pytest.importorskip("distributed", reason="needs dask.distributed, which is not installed")

PATIENCE = 60.0  # seconds for what takes a few
DASK = [sys.executable, "-m", "dask"]
ENDLESS = 5_000_000  # moves for each weight
NETWORK = "net (float[1, 256] x) => (float[1, 96] y) { [one] a = MatMul(x, v)\n [two] y = MatMul(a, w) }"


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


@dataclass
class Cluster:
    """A scheduler and its workers, each a process of its own."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.file = self.folder / "scheduler.json"
        where = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self.file)]
        self._start("scheduler", *where, "--idle-timeout", "5 minutes")  # should nobody end it
        until(self.file.exists, "the scheduler")
        until(lambda: self.file.read_text().endswith("}"), "its address")
        self.address = json.loads(self.file.read_text())["address"]
        self.client = distributed.Client(self.address, set_as_default=False)

    def _start(self, *arguments: str, **settings: object) -> subprocess.Popen[bytes]:
        log = (self.folder / "log").open("ab")
        command = [*DASK, *arguments, "--no-dashboard"]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **settings)
        log.close()
        self.processes.append(process)
        return process

    def start_workers(self, number: int, **variables: str) -> None:
        """Starts or kills workers until there are so many, each with one thread and no nanny."""
        if variables:
            self.start_workers(0)
        for name in list(self.workers)[number:]:
            self.kill(name)
        flags = [
            "--nthreads",
            "1",
            "--no-nanny",
            "--local-directory",
            str(self.folder),
            "--death-timeout",
            "60",
        ]
        for _ in range(number - len(self.workers)):
            name = f"w{len(self.processes)}"
            self.workers[name] = self._start(
                "worker", self.address, *flags, "--name", name, env={**os.environ, **variables}
            )
        until(lambda: len(self.client.nthreads()) == number, "the workers")

    def kill(self, name: str) -> None:
        process = self.workers.pop(name)
        process.kill()
        process.wait()

    def name_of(self, address: str) -> str:
        return str(self.client.scheduler_info(n_workers=-1)["workers"][address]["name"])

    def busy(self) -> dict[str, set[str]]:
        """Blocks that each worker has."""
        processing = self.client.processing()
        return {address: {key for key in keys if "anneal" in key} for address, keys in processing.items()}

    def close(self) -> None:
        self.client.close()
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster
    finally:
        cluster.close()


def network() -> Model:
    v, w = models.sparse(256, 128, density=0.2), models.sparse(128, 96, density=0.2, seed=1)
    return loaded(models.build(NETWORK, v=v, w=w))


def options(address: str | None = None, moves: int = 20, **changes: object) -> PermuteOptions:
    """Scarce lanes, so that no block meets its bound and ends early."""
    schedule = TemperatureSchedule(steps=20, moves_per_weight=moves)
    return PermuteOptions(array=ArrayShape(16, 16), fan_in=6, temp_schedule=schedule, jobs=1).model_copy(
        update={"dask": address, **changes}
    )


def passes(model: Model) -> int:
    """Of a model that is checked: every non-zero in one slot, no lane with more inputs than the fan-in."""
    found = read_network(model)
    packings = read_packings(model)
    assert set(packings) == {layer.weight for layer in found.owners} == {"v", "w"}
    for layer in found.owners:
        matrix = layer_matrix(found, layer)
        tiles = oracle.plain(packings[layer.weight])
        assert oracle.packing_faults(tiles, matrix.values, matrix.groups, (16, 16), 6) == []
    return sum(len(packing.tiles) for packing in packings.values())


def without_a_search() -> int:
    return passes(permute(network(), options(method="first-fit"))[0])


def test_one_thread_two_threads_and_a_cluster_give_the_same_bytes(cluster: Cluster) -> None:
    cluster.start_workers(2)
    serial, _ = permute(network(), options(), seed=5)
    threads, _ = permute(network(), options(jobs=2), seed=5)
    dask, _ = permute(network(), options(cluster.address), seed=5)
    assert serial.to_bytes() == threads.to_bytes() == dask.to_bytes()
    assert passes(dask) < without_a_search()


def test_the_command_says_nothing_of_its_own_accord(cluster: Cluster, place: Path) -> None:
    cluster.start_workers(1)
    (place / "endless.yaml").write_text("moves_per_weight: 20\n")
    process = command(*LONG, "-q", "--dask", cluster.address)
    assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 0
    assert passes(load_model(place / "out.onnx")) < without_a_search()


def test_a_worker_killed_in_the_middle_loses_nothing(cluster: Cluster) -> None:
    cluster.start_workers(2)
    with ThreadPoolExecutor(1) as pool:
        search = pool.submit(permute, network(), options(cluster.address, moves=4000), seed=5)
        until(lambda: all(cluster.busy().values()) and len(cluster.busy()) == 2, "both to be at work")
        victim, survivor = sorted(cluster.busy())
        name, lost = cluster.name_of(victim), cluster.busy()[victim]
        cluster.kill(name)
        until(lambda: list(cluster.busy()) == [survivor], "the worker to be missed")
        until(lambda: lost & cluster.busy()[survivor], "what it had to be done again")
        assert not search.done()
        found, _ = search.result(PATIENCE)
    serial, _ = permute(network(), options(moves=4000, jobs=2), seed=5)
    assert found.to_bytes() == serial.to_bytes()


def test_the_search_ends_once_all_workers_are_gone(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "_NO_WORKERS", 0.5)
    cluster.start_workers(1)
    with ThreadPoolExecutor(1) as pool:
        search = pool.submit(
            permute, network(), options(cluster.address, moves=ENDLESS, time_limit=20.0), seed=5
        )
        until(lambda: any(cluster.busy().values()), "the worker to be at work")
        cluster.start_workers(0)
        fault = search.exception(PATIENCE)
    assert isinstance(fault, OptionError)
    assert str(fault) == (
        f"--dask {cluster.address}: no worker is left; start some with dask worker {cluster.address}, or search on "
        "this machine without --dask"
    )


def test_a_time_limit_ends_the_work_of_the_cluster_too(cluster: Cluster) -> None:
    cluster.start_workers(2)
    limited = options(cluster.address, moves=ENDLESS, time_limit=1.5)
    assert passes(permute(network(), limited, seed=5)[0]) <= without_a_search()
    until(lambda: not any(cluster.busy().values()), "the workers to end")


def test_workers_report_their_progress_and_return_their_best_at_the_deadline(cluster: Cluster) -> None:
    cluster.start_workers(1)
    rng = np.random.default_rng(0)
    ids = np.arange(256, dtype=np.int32)
    inputs = rng.integers(0, 40, 256).astype(np.int32)
    cells = np.arange(16, dtype=np.int32)
    block = Block(
        heights=np.array([16]),
        cell_filters=cells,
        cell_tiles=0 * cells,
        filters=ids // 16,
        inputs=inputs,
        lanes=ids % 16,
        columns=ids // 16,
    )
    settings = AnnealSettings(6, TemperatureSchedule(moves_per_weight=ENDLESS), np.random.SeedSequence(0))
    deadline = Deadline()
    reports: list[AnnealProgress] = []

    def report(progress: AnnealProgress) -> None:
        reports.append(progress)
        if len(reports) == 3:
            deadline.interrupt()

    with dask_cluster.dask_executor(cluster.address) as executor:
        # the one worker is told to end while it anneals the first block
        job = BlockJob(block, settings, TimeShare(deadline), report)
        first, second = executor.anneal([job, job])
    assert executor.workers == 1
    assert [one.moves for one in reports[:3]] == sorted({one.moves for one in reports[:3]})
    assert all(0 < one.done < 1 and one.cost > 0 and 0 < one.accepted < one.moves for one in reports[:3])
    assert first.moves > 0
    start = Annealed.at_start(block)
    assert first.cost(6) < start.cost(6)
    assert (second.moves, second.cost(6)) == (0, start.cost(6))


def command(*arguments: str, **settings: object) -> subprocess.Popen[str]:
    script = "from tightc.cli.main import main; main()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", script, "permute", *arguments], **pipes, **settings)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `net.onnx` and an endless schedule in it."""
    models.save(network().proto, tmp_path / "net.onnx")
    (tmp_path / "endless.yaml").write_text(f"moves_per_weight: {ENDLESS}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


LONG = ["net.onnx", "--array", "16x16", "--fan-in", "6", "--temp-schedule", "endless.yaml", "-o", "out.onnx"]


def test_an_interrupt_gives_a_valid_model_and_frees_the_workers(cluster: Cluster, place: Path) -> None:
    cluster.start_workers(2)
    process = command(*LONG, "-v", "--dask", cluster.address)
    try:
        assert process.stderr is not None
        assert any("accepted " in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("tightc: interrupted") and "Traceback" not in err
    assert passes(load_model(place / "out.onnx")) <= without_a_search()
    assert read_history(load_model(place / "out.onnx"))[-1]["ended"]["by"] == "interrupt"
    until(lambda: not any(cluster.busy().values()), "the workers to end")


def test_a_scheduler_that_dies_is_one_sentence(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    cluster = Cluster(tmp_path_factory.mktemp("doomed"))
    try:
        cluster.start_workers(1)
        process = command(*LONG, "--dask", cluster.address)
        until(lambda: any(cluster.busy().values()), "the worker to be at work")
        cluster.processes[0].kill()
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        cluster.close()
    assert (process.returncode, out) == (2, "")
    assert err == (
        f"tightc: error: --dask {cluster.address}: the scheduler went away in the middle of the search; start it "
        "again, or search on this machine without --dask\n"
    )
    assert not (place / "out.onnx").exists()


def refused(place: Path, address: str) -> str:
    """What stderr holds of a search that cannot begin."""
    process = command(*LONG, "--dask", address)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert not (place / "out.onnx").exists()
    return err


def test_a_scheduler_without_workers_is_refused(cluster: Cluster, place: Path) -> None:
    cluster.start_workers(0)
    assert refused(place, cluster.address) == (
        f"tightc: error: --dask {cluster.address}: the scheduler has no workers; start some with dask worker "
        f"{cluster.address}\n"
    )


def test_an_address_without_a_scheduler_is_refused(place: Path) -> None:
    assert refused(place, "tcp://127.0.0.1:1") == (
        "tightc: error: --dask tcp://127.0.0.1:1: no scheduler answers ([Errno 111] Connection refused); start one "
        "with dask scheduler and give its address, such as tcp://host:8786\n"
    )


def test_workers_with_another_tightc_are_refused(cluster: Cluster, place: Path) -> None:
    other = place / "other" / "tightc-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: tightc\nVersion: 9.9\n")
    cluster.start_workers(1, PYTHONPATH=str(other.parent))
    err = refused(place, cluster.address)
    cluster.start_workers(0)
    assert "has tightc 9.9, not " in err and err.endswith("where the workers run\n") and err.count("\n") == 1
