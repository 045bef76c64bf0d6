"""The store of explore: several runs at a time, runs that are killed, and files of other kinds."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import models
from tightc.cli.main import run
from tightc.errors import OutputError
from tightc.exploration.store import APPLICATION, Record, Store

COMMAND = [sys.executable, "-c", "from tightc.cli.main import main; main()", "explore", "net.onnx"]
GRID = [
    "--array",
    "4x4,8x4,4x8",
    "--fan-in",
    "2,3,4",
    "--temp-schedule",
    "quick.yaml",
    "--jobs",
    "1",
    "--exhaustive",
]
POINTS = 9


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "quick.yaml").write_text("steps: 3\nmoves_per_weight: 20\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def done(path: Path) -> dict[str, str]:
    """The content of the points in the store by their keys, as SQLite reads it."""
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("SELECT key, content FROM points WHERE status = 'done'"))


def test_a_killed_run_is_resumed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGKILL in the middle; the next run takes what was done, to the byte, and does the rest."""
    store = place / "tightc-explore.sqlite"
    slow = [*GRID[:-3], "--exhaustive", "--jobs", "1"]
    (place / "quick.yaml").write_text("steps: 3\nmoves_per_weight: 30000\n")
    process = subprocess.Popen([*COMMAND, *slow], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (store.exists() and _count(store)):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = done(store)
    assert 0 < len(before) < POINTS
    assert run(["explore", "net.onnx", *slow]) == 0
    assert f"evaluated: {POINTS - len(before)}\n" in capsys.readouterr().out
    after = done(store)
    assert len(after) == POINTS and {key: after[key] for key in before} == before


def _count(store: Path) -> int:
    try:
        return len(done(store))
    except sqlite3.Error:
        return 0  # it is being made


def test_two_runs_at_a_time_fill_one_store(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running = [subprocess.Popen([*COMMAND, *GRID, "-q"], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in running] == [b"", b""]
    assert [process.returncode for process in running] == [0, 0]
    assert len(done(place / "tightc-explore.sqlite")) == POINTS
    assert run(["explore", "net.onnx", *GRID]) == 0
    assert "evaluated: 0\n" in capsys.readouterr().out


def test_ctrl_c_says_how_to_go_on(place: Path) -> None:
    (place / "quick.yaml").write_text("steps: 3\nmoves_per_weight: 100000\n")
    process = subprocess.Popen(
        [*COMMAND, *GRID], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    store, deadline = place / "tightc-explore.sqlite", time.monotonic() + 120
    while time.monotonic() < deadline and not (store.exists() and _count(store)):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == 130
    first, last = filter(None, err.splitlines())
    kept = len(done(store))
    assert first.startswith("stopped in ")
    assert first.endswith(
        f"; {kept} of {POINTS} points are in tightc-explore.sqlite; the same command resumes there"
    )
    assert last == "tightc: interrupted"
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT count(*) FROM claims").fetchone() == (0,)


VALUES = {
    "cycles": 1,
    "energy_pj": 1.0,
    "packed_bytes": 1,
    "dense_cycles": 1,
    "dense_energy_pj": 1.0,
}


def test_a_point_that_another_run_is_at_comes_last(place: Path) -> None:
    path = place / "a.sqlite"
    with Store.opened(path) as one, Store.opened(path) as other:
        assert one.claim("p") and one.claim("p") and not other.claim("p")
        one.release()
        assert other.claim("p")
        skipped, done = Record("skipped", {"by": "q", "bound": {}, "layers": 0}), Record("done", VALUES)
        other.keep("p", "label", skipped)
        assert one.record("p") == skipped
        one.keep("p", "label", done)
        other.keep("p", "label", skipped)
        assert one.record("p") == other.record("p") == done
        assert one.claim("p")


REMEDY = "give another file with --store"


def _error(path: Path) -> str:
    with pytest.raises(OutputError) as raised, Store.opened(path):
        pass
    return str(raised.value)


def test_files_of_other_kinds_are_refused_and_left_alone(place: Path) -> None:
    text = place / "a.txt"
    text.write_text("not a database, but long enough to be taken for one\n" * 40)
    error = _error(text)
    assert error.startswith(
        f"{text}: expected a store of tightc explore, got a damaged one or another file ("
    )
    assert error.endswith(f"; remove it, or {REMEDY}")
    assert text.read_text().startswith("not a database")
    foreign = place / "b.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE mine (x)")
    assert (
        _error(foreign)
        == f"{foreign}: expected a store of tightc explore, got another SQLite database; {REMEDY}"
    )
    with sqlite3.connect(foreign) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


@pytest.mark.parametrize(("version", "age"), [(0, "an older"), (2, "a newer")])
def test_stores_of_other_versions_are_refused(place: Path, version: int, age: str) -> None:
    path = place / "a.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE points (key)")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {version}")
    assert _error(path) == (
        f"{path}: expected a store of version 1, got version {version}, of {age} tightc; {REMEDY}, or use that tightc"
    )


def test_damage_is_found(place: Path) -> None:
    path = place / "a.sqlite"
    with Store.opened(path) as store:
        for number in range(200):
            store.keep(str(number), "label", Record("done", {"cycles": number, "text": "x" * 200}))
    content = bytearray(path.read_bytes())
    content[4096 * 4 : 4096 * 8] = b"\xff" * 4096 * 4
    path.write_bytes(content)
    assert "damaged" in _error(path) and f"remove it, or {REMEDY}" in _error(path)
    path.write_bytes(bytes(content[:5000]))
    assert "damaged" in _error(path)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        ("done", "{"),
        ("done", "[]"),
        ("done", "{}"),
        ("done", b"\xff"),
        ("done", json.dumps({**VALUES, "cycles": "1"})),
        ("done", json.dumps({**VALUES, "energy_pj": float("nan")})),
        ("skipped", '{"by": 1, "bound": {}, "layers": 0}'),
        ("unfit", "{}"),
        ("other", json.dumps(VALUES)),
    ],
)
def test_content_that_tightc_does_not_write_is_damage(place: Path, status: str, content: str | bytes) -> None:
    path = place / "a.sqlite"
    with Store.opened(path) as store:
        store.keep("p", "label", Record("done", VALUES))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE points SET status = ?, content = ?", (status, content))
    with Store.opened(path) as store, pytest.raises(OutputError, match="the store is damaged"):
        store.record("p")


def test_a_folder_that_is_missing_or_a_store_that_is_one(place: Path) -> None:
    assert _error(place / "no" / "a.sqlite") == (
        f"{place / 'no' / 'a.sqlite'}: there is no folder {place / 'no'}; make the folder first"
    )
    error = _error(place)
    assert error.startswith(f"{place}: the store cannot be used (unable to open database file)")
    assert error.endswith(f"check the path and its permissions, or {REMEDY}")
