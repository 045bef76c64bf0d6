"""Hidden files that killed writers leave: removed by the next writer of the same file, unless they are in use."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tightc import files
from tightc.errors import OutputError
from tightc.files import check_writable, remove_leftovers, write_file_atomically, write_files_atomically

SCRIPTS = Path(__file__).parents[1] / "scripts"
NAMES = ["out.onnx", "ä" * 127, "x" * 255, os.fsdecode(b"\xff\xfe.onnx"), "a.1.deadbeef", "line\nbreak"]
# kills a process at each step of writing one or two files; prints what is left once the same is written again
KILLED = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(SCRIPTS)!r})
from crash_points import Ending, end_at, files_in, steps_of
from tightc.files import write_files_atomically

folder, names = Path("f").absolute(), sys.argv[1:]

def fresh():
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name in names:
        (folder / name).write_bytes(b"old")
    return folder

def work():
    write_files_atomically({{folder / name: b"new" for name in names}})
    return 0

steps, hidden = steps_of(work, fresh()), 0
wanted = files_in(folder)
assert set(wanted.values()) == {{b"new"}} and len(wanted) == len(names), wanted
for step in range(1, len(steps) + 1):
    for after in (False, True):
        assert end_at(work, fresh(), Ending(step, signal.SIGKILL, after)) == -signal.SIGKILL
        left = files_in(folder)
        assert all(left[name] in (b"old", b"new") for name in names), (step, after, left)
        hidden += len(left) > len(names)
        assert end_at(work, folder, None) == 0
        assert files_in(folder) == wanted, (step, after, os.listdir(folder))
print(len(steps), hidden)
"""


@pytest.mark.parametrize("names", [[name] for name in NAMES] + [["a", "b"], ["x" * 255, "y" * 255, "c"]])
def test_after_a_kill_at_any_step_the_next_writer_leaves_its_files_alone(
    tmp_path: Path, names: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *names], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    steps, hidden = map(int, done.stdout.split())
    assert steps >= 4 * len(names) and hidden >= 4 * len(names)


def test_files_of_others_stay(tmp_path: Path) -> None:
    others = {
        ".g.1.deadbeef",
        ".f.1.deadbee",
        ".f.x.deadbeef",
        ".f.1.deadbeef.txt",
        "f.1.deadbeef",
        ".f.1.kept",
        ".f",
    }
    for name in (*others, ".f.1.deadbeef", ".f.22.old"):
        (tmp_path / name).write_text(name)
    write_file_atomically(tmp_path / "f", b"new")
    assert set(os.listdir(tmp_path)) == {*others, "f"}


def test_files_of_a_living_writer_stay(tmp_path: Path) -> None:
    with open(tmp_path / ".f.1.deadbeef", "x") as temporary, open(tmp_path / ".f.1.old", "x") as backup:
        fcntl.flock(temporary, fcntl.LOCK_SH)
        fcntl.flock(backup, fcntl.LOCK_SH)
        write_file_atomically(tmp_path / "f", b"new")
        assert sorted(os.listdir(tmp_path)) == [".f.1.deadbeef", ".f.1.old", "f"]
    write_file_atomically(tmp_path / "f", b"new")
    assert os.listdir(tmp_path) == ["f"]


def test_a_backup_is_locked_while_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer of the same files comes between two renames, and the second one fails."""
    for name in "ab":
        (tmp_path / name).write_bytes(b"old")
    real, calls = os.replace, []

    def replace(*arguments: str) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            remove_leftovers(tmp_path / "a")
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(files.os, "replace", replace)
    with pytest.raises(OutputError, match="No space left on device"):
        write_files_atomically({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == {
        "a": b"old",
        "b": b"old",
    }


def test_a_link_and_a_folder_are_no_leftovers(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / ".f.1.deadbeef").symlink_to("kept")
    (tmp_path / ".f.2.deadbeef").mkdir()
    os.mkfifo(tmp_path / ".f.3.deadbeef")
    write_file_atomically(tmp_path / "f", b"new")
    assert {"kept", ".f.1.deadbeef", ".f.2.deadbeef", "f"} <= set(os.listdir(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_between_two_renames_puts_the_old_files_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"old")
    real, calls = os.replace, []

    def replace(*arguments: str) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt(number)
        real(*arguments)

    monkeypatch.setattr(files.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_files_atomically({tmp_path / name: b"new" for name in "abc"})
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == dict.fromkeys(
        "abc", b"old"
    )


def test_without_file_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".f.1.deadbeef").write_text("left")
    monkeypatch.setattr(files, "fcntl", None)
    write_file_atomically(tmp_path / "f", b"new")
    assert sorted(os.listdir(tmp_path)) == [".f.1.deadbeef", "f"]


def test_whether_a_file_can_be_written_is_found_without_a_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "f")
    (tmp_path / "f").write_text("old")
    check_writable(tmp_path / "f")
    check_writable(Path("/dev/null"))
    assert os.listdir(tmp_path) == ["f"] and (tmp_path / "f").read_text() == "old"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no/f", "there is no folder no; make the folder first, or write elsewhere"),
        ("x" * 256, r"cannot be written \(File name too long\); give a shorter name"),
        (".", "is a folder; give the path of a file"),
        ("/proc/self/f", "the folder /proc/self is not writable; write to another folder"),
    ],
)
def test_what_cannot_be_written_is_found(path: str, words: str) -> None:
    with pytest.raises(OutputError, match=words):
        check_writable(Path(path))


def test_a_device_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="/dev/null: is not writable; write to a file"):
        check_writable(Path("/dev/null"))
