"""Mutation testing: draws small faults in the kernels by a seed, and tells which the tests notice.

python scripts/mutation.py [--count 300] [--seed 1] [--minutes 90] [--only PART_OF_A_PATH]

Results are kept in build/mutation/session.jsonl, so that a run goes on where the one before it stopped. A mutant that
survived is tried again when its tests have changed. At the end docs/reliability-mutants.md is written.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest

from mutants.coverage_map import ROOT, load_map
from mutants.drawing import draw, hand_made, in_kernel, part_of, trial
from mutants.fresh import run_fresh
from mutants.page import judgements, refresh_head, write_page
from mutants.server import Trial, Verdict, serve
from mutants.session import Session

_OVER = "the time is over; the next run goes on"


def main() -> None:
    """Runs what is left to run, and writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=300, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw")
    parser.add_argument("--minutes", type=float, default=90.0, help="time limit; the next run goes on")
    parser.add_argument("--only", default="", help="text that the path of the mutated file must hold")
    parser.add_argument("--in-place", action="store_true", help="leave out what needs a new process each")
    parser.add_argument(
        "--measured-on",
        metavar="VERSION",
        help="run nothing; only tell on the page that it is of this version",
    )
    parser.add_argument("--kernels", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    if arguments.measured_on:
        refresh_head(arguments.measured_on)
        return
    end = time.monotonic() + 60 * arguments.minutes
    drawn = [one for one in draw(arguments.count, arguments.seed) if arguments.only in one.file]
    made = {one: tests for one, tests in hand_made().items() if arguments.only in one.file}
    judged = judgements()
    folders = {
        one: tests for one, tests in (dict.fromkeys(drawn, ()) | made).items() if one.name not in judged
    }
    session = Session()
    if arguments.kernels:  # in the process that has Numba's compiler off
        tests = load_map(["tests/permutation", "tests/simulation"], jit=False, marker="kernel")
        kernels = [one for one in folders if in_kernel(one)]
        _serve([trial(one, tests, folders[one]) for one in kernels], session, end)
        return
    if any(map(in_kernel, folders)):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--kernels"], check=True, env=environment)
    tests = load_map(
        sorted({one for mutant in folders for one in folders[mutant] or part_of(mutant.file).tests}), jit=True
    )
    trials = {one: trial(one, tests, folders[one]) for one in folders}
    _serve([trials[one] for one in folders if not in_kernel(one)], session, end)
    session.read()  # what the other process added
    if not arguments.in_place:
        _again(list(trials.values()), session, end)
    if not arguments.only:
        verdicts = dict.fromkeys(judged, Verdict("equivalent")) | session.verdicts()
        write_page(
            drawn,
            verdicts,
            {one.name: verdicts[one.name] for one in made if one.name in verdicts},
            arguments.seed,
        )


def _serve(trials: list[Trial], session: Session, end: float) -> None:
    """Runs in place what the session does not know yet."""
    left = [one for one in trials if not session.knows(one)]
    if not left:
        return
    random.Random(1).shuffle(left)  # what an early end leaves is a random part

    def done(one: Trial, verdict: Verdict) -> None:
        session.add(one, verdict)
        _say(one, verdict)
        if time.monotonic() > end:
            pytest.exit(_OVER)

    serve(left, done)
    if time.monotonic() > end:
        sys.exit(_OVER)


def _again(trials: list[Trial], session: Session, end: float) -> None:
    """Runs in a new process: what could not be changed in place, and kernels that survive without the compiler."""
    verdicts = session.verdicts()
    for one in trials:
        outcome = verdicts[one.mutant.name].outcome
        open_kernel = in_kernel(one.mutant) and outcome in ("survived", "no test")
        if not (outcome == "same" or open_kernel) or session.knows(one, "compiled"):
            continue
        if time.monotonic() > end:
            sys.exit(_OVER)
        verdict = run_fresh(one, jit=True)
        session.add(one, verdict, "compiled")
        _say(one, verdict)


def _say(one: Trial, verdict: Verdict) -> None:
    mutant = one.mutant
    print(
        f"{verdict.outcome:9} {verdict.seconds:6.1f} s {len(one.tests):4}  {mutant.line:4} {mutant.name}",
        flush=True,
    )


if __name__ == "__main__":
    main()
