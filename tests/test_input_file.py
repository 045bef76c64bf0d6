"""Files of input: what may be opened, and how much is read."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tightc import input_file
from tightc.errors import ConfigError, DataError, MemoryLimitError
from tightc.input_file import check_expansion, foreign_errors, open_regular, read_regular, read_stream


def special(kind: str, folder: Path) -> Path:
    """A thing that is no regular file."""
    path = folder / "thing"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))
    else:
        path.symlink_to(kind)
    return path


KINDS = {
    "pipe": "a pipe",
    "folder": "a folder",
    "socket": "a socket",
    "/dev/zero": "a device",
    "/dev/null": "a device",
}


@pytest.mark.parametrize(("kind", "got"), KINDS.items())
def test_only_regular_files_are_opened(
    kind: str, got: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = special(kind, tmp_path)
    for read in (open_regular, lambda path: read_regular(path, 9)):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: expected a regular file, got {got}; give the path of a file"


def test_a_pipe_that_takes_the_place_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    pipe = special("pipe", tmp_path)
    seen = file.stat()
    monkeypatch.setattr(input_file.os, "stat", lambda _: seen)
    with pytest.raises(DataError, match="got a pipe"):
        open_regular(pipe)


def test_a_regular_file_is_read_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1234")
    assert read_regular(file, 4) == b"1234" == read_stream(file, 4, ConfigError)
    for read in (lambda: read_regular(file, 3, ConfigError), lambda: read_stream(file, 3, ConfigError)):
        with pytest.raises(
            ConfigError, match=re.escape(f"{file}: expected at most 3 B, got more; give a smaller file")
        ):
            read()
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 1)


def test_a_file_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    with file.open("wb") as stream:
        stream.truncate(2**43)
    with pytest.raises(MemoryLimitError, match=r"file: expected to need at most .*, got 8\.0 TiB"):
        read_regular(file, 2**60)


def test_a_file_whose_size_is_not_known_beforehand() -> None:
    assert b"VmSize" in read_regular("/proc/self/status", 2**20)
    with pytest.raises(DataError, match="expected at most 5 B, got more"):
        read_regular("/proc/self/status", 5)


def test_a_named_pipe_gives_what_is_written(tmp_path: Path) -> None:
    pipe = special("pipe", tmp_path)

    def write() -> None:
        time.sleep(0.1)
        with pipe.open("wb") as stream:
            time.sleep(0.1)  # open, and nothing to read yet
            stream.write(b"a" * 100_000)
            stream.flush()
            time.sleep(0.1)
            stream.write(b"b" * 100_000)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_stream(pipe, 2**20, ConfigError) == b"a" * 100_000 + b"b" * 100_000
    writer.join()


def test_a_named_pipe_of_an_empty_writer_and_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = special("pipe", tmp_path)
    writer = threading.Thread(target=lambda: pipe.open("wb").close())
    writer.start()
    assert read_stream(pipe, 9, ConfigError) == b""
    writer.join()
    monkeypatch.setattr(input_file, "_WAIT", 0.1)
    with pytest.raises(ConfigError) as caught:
        read_stream(pipe, 9, ConfigError)
    assert str(caught.value) == (
        f"{pipe}: expected a pipe that another process writes to, got one without a writer; "
        "start the writer, or give the path of a file"
    )


@pytest.mark.parametrize(
    ("command", "most", "said"),
    [
        ("python - <(sleep 0.2; printf abc)", 3, "b'abc'"),
        ("python - <(printf abcd)", 3, "expected at most 3 B, got more"),
        ("python - <(true)", 3, "b''"),
        ("printf abc | python - /dev/stdin", 3, "b'abc'"),
        ("python - /dev/stdin <file", 3, "b'abc'"),
        ("python - /dev/stdin </dev/zero", 3, "expected a regular file, got a device"),
        ("python - <(cat /dev/zero)", 300, "expected at most 300 B, got more"),
    ],
)
def test_pipes_of_the_shell(command: str, most: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("abc")
    code = (
        "import sys; from tightc.input_file import read_stream; from tightc.errors import ConfigError\n"
        f"try: print(read_stream(sys.argv[1], {most}, ConfigError))\n"
        "except ConfigError as error: print(error)\n"
    )
    (tmp_path / "code.py").write_text(code)
    line = command.replace("python -", f"{sys.executable} code.py")
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert said in done.stdout, done


def test_the_own_terminal_is_read_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main, terminal = os.openpty()
    name, own = os.ttyname(terminal), os.dup(0)
    with pytest.raises(ConfigError, match="expected a regular file, got a device"):
        read_stream(name, 9, ConfigError)
    os.dup2(terminal, 0)
    try:
        os.write(main, b"abc\n\x04")
        assert read_stream("/dev/stdin", 9, ConfigError) == b"abc\n"
        os.write(main, b"abcdefghijklm\n\x04")
        with pytest.raises(ConfigError, match="expected at most 9 B, got more"):
            read_stream(name, 9, ConfigError)
    finally:
        os.dup2(own, 0)
        for descriptor in (main, terminal, own):
            os.close(descriptor)


def test_content_may_expand_but_not_without_end() -> None:
    check_expansion(2**29, 1, "a")
    check_expansion(200 * 2**30, 2**30, "a")
    with pytest.raises(ConfigError) as caught:
        check_expansion(200 * 2**30 + 1, 2**30, "set.gz", ConfigError)
    assert str(caught.value) == (
        "set.gz: expected content of at most 200 times its compressed size, 1.0 GiB, got 200.0 GiB; "
        "do not trust this file, or store it uncompressed"
    )


@pytest.mark.parametrize(
    "fault", [ValueError("odd\nmore"), KeyError("odd"), RecursionError("odd"), OSError("odd")]
)
def test_what_other_libraries_raise(fault: Exception) -> None:
    said = pytest.raises(ConfigError, match=r"^f: expected a g, got another \('?odd'?\); mend it$")
    with said, foreign_errors("f: expected a g, got another", "mend it", ConfigError):
        raise fault


def test_errors_of_tightc_and_of_the_file_system_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    for fault in (ConfigError("a", "b"), PermissionError(13, "denied"), KeyboardInterrupt()):
        with pytest.raises(type(fault)), foreign_errors("f", "g"):
            raise fault
    monkeypatch.setattr(input_file, "available_memory", lambda: 2**20)
    with pytest.raises(MemoryLimitError) as caught, foreign_errors("f.npz: expected a .npz", "mend it"):
        raise MemoryError
    assert str(caught.value) == (
        "f.npz: expected to fit into memory, got more than the 1.0 MiB that are left; "
        "raise the limit of memory, or take a smaller input"
    )
