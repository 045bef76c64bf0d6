"""The memory that a process may take."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tightc import memory
from tightc.errors import MemoryLimitError
from tightc.memory import available_memory, memory_limit, memory_text, require_memory

MIB = 2**20


@pytest.fixture(autouse=True)
def _no_limits_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def machine(root: Path, **files: str) -> Path:
    """Files of a system under `root`, by name with the slashes as `__`; it has 100 MiB, 60 of them free."""
    files = {"proc__meminfo": "MemTotal:  102400 kB\nMemAvailable: 61440 kB\nSwapTotal: 1024 kB\n", **files}
    for name, text in files.items():
        path = root.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_machine_alone(tmp_path: Path) -> None:
    root = machine(tmp_path)
    assert available_memory(root) == 60 * MIB
    assert memory_limit(root) == 101 * MIB


def test_a_group_of_version_2_and_the_group_above_it(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        proc__self__cgroup="0::/jobs/mine\n",
        **{
            "sys__fs__cgroup__jobs__mine__memory.max": "max\n",
            "sys__fs__cgroup__jobs__memory.max": f"{50 * MIB}\n",
            "sys__fs__cgroup__jobs__memory.current": f"{30 * MIB}\n",
            "sys__fs__cgroup__jobs__memory.stat": f"anon 5\ninactive_file {10 * MIB}\n",
        },
    )
    assert memory_limit(root) == 50 * MIB
    assert available_memory(root) == 30 * MIB  # the cache makes way


def test_a_group_of_version_1_seen_from_a_container(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        proc__self__cgroup="3:cpuset:/x\n5:cpu,memory:/docker/of/the/host\n0::/\n",
        **{
            "sys__fs__cgroup__memory__memory.limit_in_bytes": f"{40 * MIB}\n",
            "sys__fs__cgroup__memory__memory.usage_in_bytes": f"{35 * MIB}\n",
            "sys__fs__cgroup__memory__memory.stat": f"inactive_file 7\ntotal_inactive_file {2 * MIB}\n",
        },
    )
    assert memory_limit(root) == 40 * MIB
    assert available_memory(root) == 7 * MIB


@pytest.mark.parametrize(("kind", "used"), [("RLIMIT_AS", 12), ("RLIMIT_DATA", 5)])
def test_limits_of_the_process(kind: str, used: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine(tmp_path, proc__self__status="VmSize:  12288 kB\nVmData:  5120 kB\n")
    limits = {getattr(resource, kind): (20 * MIB, 30 * MIB)}
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits.get(which, unlimited))
    assert available_memory(root) == memory_limit(root) == (20 - used) * MIB


def test_a_system_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert available_memory(tmp_path) == memory_limit(tmp_path) == 4_096_000
    monkeypatch.delattr(memory.os, "sysconf")
    monkeypatch.setattr(memory, "resource", None)
    assert available_memory(tmp_path) == memory_limit(tmp_path) == 2**63 - 1


def test_more_than_the_limit_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: 3 * MIB)
    require_memory(3 * MIB, "set.npz")
    with pytest.raises(MemoryLimitError) as caught:
        require_memory(2**50, "set.npz")
    assert str(caught.value) == (
        "set.npz: expected to need at most 3.0 MiB of memory, which is the limit here, got 1.0 PiB; "
        "raise the limit, or take a smaller input"
    )
    assert caught.value.exit_code == 2


def test_a_real_process_under_a_real_limit() -> None:
    code = (
        "import resource; from tightc.memory import available_memory, memory_limit\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({900 * MIB}, {900 * MIB}))\n"
        "print(available_memory(), memory_limit())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    available, limit = map(int, done.stdout.split())
    assert 100 * MIB < available <= limit < 900 * MIB


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**31, "2.0 GiB"), (2**70, "1,048,576.0 PiB")],
)
def test_sizes_as_text(size: int, text: str) -> None:
    assert memory_text(size) == text
