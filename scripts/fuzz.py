"""Fuzzes the readers of input with atheris, guided by coverage: `make fuzz`.

    python scripts/fuzz.py [--seconds 600] [--seed 0] [TARGET ...]

Each target gets its part of the time in a process of its own, starts from tests/fuzzing/corpus, and ends at its first
finding: an exception other than a TightcError, more than 20 seconds, or more than 2 GiB. The input is kept in
build/fuzz/TARGET-*. Exit code 1 where there are findings; each becomes a test and is mended.

    python scripts/fuzz.py --repeat TARGET FILE   reads one kept input again, with the traceback
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOUND = ROOT / "build" / "fuzz"
INSTRUMENTED = ("tightc", "yaml", "zipfile", "tarfile", "pickletools")  # what inputs pass through
LONGEST_INPUT = 2**14
SECONDS_PER_INPUT, MEMORY_MIB = 20, 2048
START = 60  # seconds that a process may take to start and to end, beyond its time


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the targets one after another; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", nargs=2, metavar=("TARGET", "FILE"))
    # one target, in a process of its own, until a time
    parser.add_argument("--inside", nargs=2, metavar=("TARGET", "UNTIL"), help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    chosen, rest = parser.parse_known_args(arguments)
    if chosen.inside:
        return _fuzz_here(chosen.inside[0], float(chosen.inside[1]), rest)
    sys.path.insert(0, str(ROOT / "tests"))
    from helpers.fuzz_targets import TARGETS, run_target

    if chosen.repeat:
        target, file = chosen.repeat
        print("read" if run_target(target, Path(file).read_bytes()) else "refused")
        return 0
    unknown = [name for name in chosen.targets if name not in TARGETS]
    if unknown or rest:
        parser.error(f"expected targets of {', '.join(TARGETS)}, got {', '.join([*unknown, *rest])}")
    names = chosen.targets or list(TARGETS)
    seconds = chosen.seconds / len(names)
    findings = [name for name in names if not _fuzz(name, seconds, chosen.seed)]
    print(f"{len(names)} targets, {len(findings)} with findings{': ' * bool(findings)}{', '.join(findings)}")
    return 1 if findings else 0


def _fuzz(name: str, seconds: float, seed: int) -> bool:
    """Whether the target `name` ran without a finding; prints a line about it."""
    FOUND.mkdir(parents=True, exist_ok=True)
    before = set(FOUND.iterdir())
    options = {
        "seed": seed + 1,  # libFuzzer takes 0 for a random one
        "timeout": SECONDS_PER_INPUT,
        "rss_limit_mb": MEMORY_MIB,
        "max_len": LONGEST_INPUT,
        "artifact_prefix": FOUND / f"{name}-",
    }
    start = time.monotonic()
    flags = [f"-{key}={value}" for key, value in options.items()]
    command = [sys.executable, __file__, "--inside", name, str(start + seconds), *flags]
    log = FOUND / f"{name}.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            code = process.wait(seconds + SECONDS_PER_INPUT + START)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = -9
    text = log.read_text(errors="replace")
    cases = re.findall(r"^#(\d+)\s", text, re.MULTILINE)
    kept = sorted(path.name for path in set(FOUND.iterdir()) - before if path != log)
    said = (
        "no finding"
        if code == 0
        else f"FINDING (exit code {code}, {log.relative_to(ROOT)}): {', '.join(kept)}"
    )
    print(
        f"{name:10} {int(cases[-1]) if cases else 0:>8} cases {time.monotonic() - start:6.0f} s  {said}",
        flush=True,
    )
    return code == 0


def _fuzz_here(name: str, until: float, flags: Sequence[str]) -> int:
    """One target in this process, `until` a time of the monotonic clock, with libFuzzer's `flags`; ends the process."""
    import atheris

    sys.path.insert(0, str(ROOT / "tests"))
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        from helpers.fuzz_targets import CORPUS, run_target

    def one(content: bytes) -> None:
        run_target(name, content)

    # the corpus in the repository is only read: new inputs go to a folder of their own
    new = FOUND / "corpus" / name
    new.mkdir(parents=True, exist_ok=True)
    left = f"-max_total_time={max(1, round(until - time.monotonic()))}"
    atheris.Setup([sys.argv[0], left, *flags, str(new), str(CORPUS / name)], one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
