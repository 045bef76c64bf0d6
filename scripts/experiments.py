"""Compares ways to compress at equal accuracy: runs recipes and writes docs/results.

    python scripts/experiments.py resnet20-aligned resnet20-column-combine-0.5 --seeds 0,1,2
    python scripts/experiments.py resnet20-aligned --points 6,8,10,12,14
    python scripts/experiments.py resnet20-filters --set finetune.sparsity=0.7 --id r20-f-3x
    python scripts/experiments.py resnet20-column-combine-0.5 --set prune.sparsity=[0.5,0.7,0.82,0.9]
    python scripts/experiments.py --all
    python scripts/experiments.py --page
    python scripts/experiments.py --check

Each run leaves the record docs/results/runs/ID.json and, with --keep-model, its packed model as models/ID.onnx. Then
runs.csv, the drawing and the tables of README.md are made anew from all records. A finished stage is not run again, and
an interrupted training goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from equal_accuracy.checking import check
from equal_accuracy.drawing import draw
from equal_accuracy.folder import ResultsFolder
from equal_accuracy.running import run
from equal_accuracy.section import rewrite
from equal_accuracy.settings import settings_of
from equal_accuracy.table import table_text
from equal_accuracy.variant import RECIPES, ROOT, Change, Variant, variants_of
from tightc.cli.progress import progress_display
from tightc.errors import OptionError, TightcError
from tightc.files import write_file_atomically

Item = TypeVar("Item")


def main() -> int:
    """What the command line asks for: 0 done, 1 the check found a difference, 2 bad usage or input, 130 interrupted."""
    parser = _parser()
    arguments = parser.parse_args()
    results = ResultsFolder(arguments.docs / "results")
    names = [path.stem for path in sorted(RECIPES.glob("*.yaml"))] if arguments.all else arguments.names
    if not (names or arguments.page or arguments.check):
        parser.error("name a recipe, or give --all, --page or --check")
    try:
        for variant in _variants(names, arguments):
            print(variant.command, flush=True)
            with progress_display(quiet=False, verbose=arguments.verbose) as display:
                run(variant, arguments.work, results, display, keep_model=arguments.keep_model)
            write_pages(results)
        if arguments.page:
            write_pages(results)
        return _check(results) if arguments.check else 0
    except TightcError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130


def write_pages(results: ResultsFolder) -> None:
    """runs.csv, the drawing and the tables of README.md, from the records."""
    records = results.read_records()
    networks = settings_of(records)
    if networks:
        write_file_atomically(results.table, table_text(records, results).encode())
        try:
            write_file_atomically(results.drawing, draw(networks))
        except ModuleNotFoundError as missing:
            print(f"no drawing without {missing.name}: pip install -e '.[scripts]'", file=sys.stderr)
    exists = networks and results.drawing.exists()
    rewrite(results.page, records, results.drawing.name if exists else None)


def _variants(names: list[str], arguments: argparse.Namespace) -> list[Variant]:
    found = [
        each for name in names for each in variants_of(name, arguments.set, arguments.points, arguments.seeds)
    ]
    if arguments.id is None:
        return found
    if len(found) != 1:
        raise OptionError(f"--id {arguments.id}: {len(found)} runs", "give --id for a single run")
    return [replace(found[0], run_id=arguments.id)]


def _check(results: ResultsFolder) -> int:
    agree = []
    for record in results.read_records():
        checked = check(record, results)
        if checked is not None:
            print(checked, flush=True)
            agree.append(checked.agrees)
    if not agree:
        raise OptionError(
            f"{results.root}: there is no packed model to check", "give the folder above with --docs"
        )
    return 0 if all(agree) else 1


def _listed(kind: Callable[[str], Item]) -> Callable[[str], list[Item]]:
    return lambda text: [kind(part) for part in text.split(",")]


def _change(text: str) -> Change:
    try:
        return Change.parse(text)
    except TightcError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a recipe of configs/experiments, or a YAML file"
    )
    parser.add_argument("--all", action="store_true", help="all recipes of configs/experiments")
    parser.add_argument(
        "--seeds", type=_listed(int), default=[], help="such as 0,1,2; default: the recipe's own"
    )
    parser.add_argument(
        "--points", type=_listed(str), default=[], metavar="LIST",
        help="budgets of compression, such as 6,8,12, one run each, for the recipes that have such a budget",
    )  # fmt: skip
    parser.add_argument(
        "--set", type=_change, action="append", default=[], metavar="STAGE.OPTION=VALUE",
        help="change an option in every stage of that name, or each to its own of a list; may be given several times",
    )  # fmt: skip
    parser.add_argument("--id", help="short name of the run; default: that of the recipe and its changes")
    parser.add_argument("--keep-model", action="store_true", help="keep the packed model beside the record")
    parser.add_argument("--page", action="store_true", help="write table, drawing and page from the records")
    parser.add_argument("--check", action="store_true", help="evaluate and simulate the kept models again")
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build" / "experiments",
        metavar="FOLDER",
        help="where the runs are kept",
    )
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs", metavar="FOLDER", help="where results/ lies"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="progress line by line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
