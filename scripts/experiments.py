"""Compares ways to compress at equal accuracy: runs recipes, keeps figures, writes their section of docs/results.md.

    python scripts/experiments.py resnet20-aligned resnet20-column-combine-0.5 --seeds 0,1,2
    python scripts/experiments.py resnet20-aligned --points 6,8,10.28,12,14
    python scripts/experiments.py resnet20-filters --set finetune.sparsity=0.7
    python scripts/experiments.py resnet20-column-combine-0.5 --set prune.sparsity=[0.5,0.7,0.82,0.9]
    python scripts/experiments.py --all
    python scripts/experiments.py --page
    python scripts/experiments.py --check

Each run leaves docs/results/NAME.json and, below 1 MB, its packed model as NAME.onnx; then tables and drawing are made
anew from all records there are. A stage that is done is not run again, and an interrupted training goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from equal_accuracy.checking import check
from equal_accuracy.drawing import drawn
from equal_accuracy.running import run
from equal_accuracy.section import rewrite
from equal_accuracy.settings import read_records, settings_of
from equal_accuracy.variant import RECIPES, ROOT, Change, Variant, variants_of
from tightc.cli.progress import progress_display
from tightc.errors import OptionError, TightcError
from tightc.files import write_file_atomically

DRAWING = "accuracy-compression.svg"
Item = TypeVar("Item")


def main() -> int:
    """What the command line asks for: 0 done, 1 the check found a difference, 2 bad usage or input, 130 interrupted."""
    parser = _parser()
    asked = parser.parse_args()
    results = asked.docs / "results"
    names = [path.stem for path in sorted(RECIPES.glob("*.yaml"))] if asked.all else asked.names
    if not (names or asked.page or asked.check):
        parser.error("name a recipe, or give --all, --page or --check")
    try:
        for variant in _variants(names, asked):
            print(variant.command, flush=True)
            with progress_display(quiet=False, verbose=asked.verbose) as shown:
                run(variant, asked.work, results, shown)
            write_page(asked.docs)
        if asked.page:
            write_page(asked.docs)
        return _check(results) if asked.check else 0
    except TightcError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130


def write_page(docs: Path) -> None:
    """The section of `docs`/results.md and its drawing, from the records in `docs`/results."""
    results = docs / "results"
    records = read_records(results)
    networks = settings_of(records)
    if networks:
        try:
            write_file_atomically(results / DRAWING, drawn(networks))
        except ModuleNotFoundError as missing:
            print(f"no drawing without {missing.name}: pip install -e '.[scripts]'", file=sys.stderr)
    exists = networks and (results / DRAWING).exists()
    rewrite(docs / "results.md", records, f"results/{DRAWING}" if exists else None)


def _variants(names: list[str], asked: argparse.Namespace) -> list[Variant]:
    return [each for name in names for each in variants_of(name, asked.set, asked.points, asked.seeds)]


def _check(results: Path) -> int:
    agree = []
    for record in read_records(results):
        checked = check(record, results)
        if checked is not None:
            print(checked, flush=True)
            agree.append(checked.agrees)
    if not agree:
        raise OptionError(
            f"{results}: there is no packed model to check", "give the folder above with --docs"
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
    parser.add_argument("--page", action="store_true", help="write tables and drawing from what is recorded")
    parser.add_argument("--check", action="store_true", help="evaluate and simulate the packed models again")
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build" / "experiments",
        metavar="FOLDER",
        help="where the runs are kept",
    )
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs", metavar="FOLDER", help="where results.md and results/ lie"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="progress line by line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
