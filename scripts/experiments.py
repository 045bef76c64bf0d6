"""Trains the experiments of configs/experiments/matrix.yaml, and makes docs/results of their records.

    python scripts/experiments.py                 # works off the matrix, in order of value
    python scripts/experiments.py r20-w-8x        # these rows or runs alone
    python scripts/experiments.py --list          # what is recorded, running and waiting
    python scripts/experiments.py --pages         # makes the pages from the records
    python scripts/experiments.py --check         # measures the kept models again

Each run leaves docs/results/runs/ID.json and, where its row says so, the packed model models/ID.onnx. Then runs.csv,
the drawing and the page are made of all records. A finished run is not run again. One that was killed goes on from the
last epoch. Several queues, here or in other terminals, share the work. They run at the lowest priority, on one thread
each, unless told otherwise; records state the number.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from results.checking import check
from results.folder import ResultsFolder
from results.matrix import Run, chosen, read_matrix, runs_of
from results.pages import write_pages
from results.queue import states, work_off
from tightc.cli.progress import progress_display
from tightc.errors import OptionError, TightcError

ROOT = Path(__file__).resolve().parents[1]
_NICENESS = 19


def main() -> int:
    """What the command line asks for: 0 done, 1 a run failed or a check differs, 2 bad input, 130 interrupted."""
    arguments = _parser().parse_args()
    results = ResultsFolder(arguments.results)
    try:
        if arguments.check:
            return _check(results)
        matrix = read_matrix(arguments.matrix)
        if arguments.pages:
            write_pages(results, matrix)
            return 0
        runs = list(runs_of(matrix, arguments.matrix.parent))
        runs = chosen(runs, arguments.names) if arguments.names else runs
        if arguments.list:
            print(
                "\n".join(f"{state:<8}  {run.run_id}" for run, state in states(runs, arguments.work, results))
            )
            return 0
        if arguments.queues > 1:
            return _several(arguments.queues)
        return _queue(runs, arguments, results)
    except TightcError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130


def _queue(runs: list[Run], arguments: argparse.Namespace, results: ResultsFolder) -> int:
    """One queue in this process, whose threads are given: the bytes depend on their number, not on the cores."""
    import torch

    torch.set_num_threads(arguments.threads)
    os.nice(_NICENESS)
    matrix = read_matrix(arguments.matrix)
    write_pages(results, matrix)  # a page that is missing is found before the work
    with progress_display(quiet=False, verbose=arguments.verbose) as progress:
        failed = work_off(
            runs, arguments.work, results, progress, after_each=lambda: write_pages(results, matrix)
        )
    return 1 if failed else 0


def _several(queues: int) -> int:
    """So many processes with a queue each; they end with this one."""
    command = [sys.executable, *sys.argv, "--queues", "1"]
    processes = [subprocess.Popen(command) for _ in range(queues)]

    def end(*_: object) -> None:
        for process in processes:
            process.terminate()

    signal.signal(signal.SIGTERM, end)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the queues get Ctrl-C themselves, and end after a checkpoint
    return max(abs(process.wait()) for process in processes)


def _check(results: ResultsFolder) -> int:
    agree = []
    for record in results.read_records():
        checked = check(record, results)
        if checked is not None:
            print(checked, flush=True)
            agree.append(checked.agrees)
    if not agree:
        raise OptionError(
            f"{results.root}: expected a packed model, got none to check", "give the folder with --results"
        )
    return 0 if all(agree) else 1


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a row or a run of the matrix; default: all")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--list", action="store_true", help="list the runs with their states")
    kinds.add_argument("--pages", action="store_true", help="make the pages from the records")
    kinds.add_argument("--check", action="store_true", help="measure the kept models again")
    parser.add_argument("--queues", type=_count, default=1, metavar="N", help="queues at a time; default: 1")
    parser.add_argument(
        "--threads", type=_count, default=1, metavar="N", help="threads of each queue; default: 1"
    )
    parser.add_argument(
        "--matrix", type=Path, default=ROOT / "configs" / "experiments" / "matrix.yaml", metavar="FILE",
        help="experiments; recipes are beside it; default: configs/experiments/matrix.yaml",
    )  # fmt: skip
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "experiments", metavar="FOLDER",
        help="models and checkpoints of the runs; default: build/experiments",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, default=ROOT / "docs" / "results", metavar="FOLDER",
        help="records and pages; default: docs/results",
    )  # fmt: skip
    parser.add_argument("-v", "--verbose", action="store_true", help="progress line by line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
