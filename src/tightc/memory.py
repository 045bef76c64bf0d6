"""The memory that a process may take: limits of the process and of its cgroup, and the memory of the machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tightc.errors import MemoryLimitError

try:
    import resource
except ImportError:  # not a POSIX system
    resource = None  # type: ignore[assignment]

_UNKNOWN = 2**63 - 1  # where the system says nothing
_KIB = 2**10
# version 2 and version 1 of cgroups: the folder, and the names of the files for the limit and for the use
_CGROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory(root: Path = Path("/")) -> int:
    """The bytes that this process can take now: what is free in the machine, in its cgroup and under its limits.

    `root` is the folder of `proc` and `sys`.
    """
    free = _meminfo(root).get("MemAvailable", _machine(root))
    in_groups = (limit - used for limit, used in _groups(root))
    return max(0, min([free, *in_groups, *_under_limits(root)]))


def memory_limit(root: Path = Path("/")) -> int:
    """The bytes that this process could take if nothing else ran: the most that `require_memory` grants.

    Memory and swap of the machine, the limit of the cgroup, and what the process has left of RLIMIT_AS and RLIMIT_DATA.
    """
    return max(0, min([_machine(root), *(limit for limit, _ in _groups(root)), *_under_limits(root)]))


def require_memory(needed: int, what: str) -> None:
    """MemoryLimitError where `needed` bytes are above `memory_limit`; `what` begins the sentence, such as a file."""
    limit = memory_limit()
    if needed > limit:
        raise MemoryLimitError(
            f"{what}: expected to need at most {memory_text(limit)} of memory, which is the limit here, "
            f"got {memory_text(needed)}",
            "raise the limit, or take a smaller input",
        )


def memory_text(size: int) -> str:
    """A number of bytes as people read it: 512 B, 3.2 MiB, 1.5 GiB."""
    amount, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 1024 or unit == "PiB":
            break
        amount /= 1024
    return f"{size} B" if unit == "B" else f"{amount:,.1f} {unit}"


def _machine(root: Path) -> int:
    """Memory and swap of the machine, in bytes."""
    found = _meminfo(root)
    if "MemTotal" in found:
        return found["MemTotal"] + found.get("SwapTotal", 0)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN


def _meminfo(root: Path) -> dict[str, int]:
    return _sizes(root / "proc/meminfo")


def _sizes(path: Path) -> dict[str, int]:
    """The sizes in bytes in a file with a line such as `VmSize:  1024 kB` for each."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", _text(path), re.MULTILINE)
    return {name: int(size) * _KIB for name, size in lines}


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of each cgroup that this process is in; use without the cache, which makes way."""
    paths = re.findall(
        r"^\d+:(|[\w,=]*\bmemory\b[\w,=]*):/(.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE
    )
    for controllers, path in paths:
        folder, limit_file, used_file, cache = _CGROUPS[1 if controllers else 0]
        mount = root / folder
        # in a container the path is that of the host, and the mounted folder is already that of the process
        for group in (mount / path, *(mount / parent for parent in Path(path).parents)):
            limit = _text(group / limit_file).strip()
            if limit.isdecimal():
                used = _text(group / used_file).strip()
                cached = re.search(rf"^{cache} (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
                yield int(limit), int(used if used.isdecimal() else 0) - int(cached[1] if cached else 0)


def _under_limits(root: Path) -> Iterator[int]:
    """What is left of the limits of the process: of its address space, and of its private memory."""
    if resource is None:
        return
    used = _sizes(root / "proc/self/status")
    for kind, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            yield limit - used.get(name, 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
