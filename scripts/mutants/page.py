"""docs/reliability-mutants.md, written from what became of the mutants."""

from __future__ import annotations

import platform
import tomllib
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from math import sqrt
from pathlib import Path

from mutants.coverage_map import ROOT
from mutants.drawing import MOST, PARTS, part_of
from mutants.operators import Mutant
from mutants.server import Verdict

PAGE = ROOT / "docs" / "reliability-mutants.md"
_JUDGED = Path(__file__).parent / "equivalent.toml"
_PACKAGES = ("numpy", "numba", "onnx", "onnxruntime", "hypothesis", "pytest")
KILLED = ("killed", "time")


def equivalent() -> dict[str, str]:
    """By the name of a mutant, why no test can notice it."""
    entries = tomllib.loads(_JUDGED.read_text(encoding="utf-8")).get("mutant", [])
    return {entry["name"]: entry["reason"] for entry in entries}


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a fraction (Wilson, JASA 22, 1927)."""
    if not trials:
        return 0.0, 1.0
    z, fraction = 1.959964, successes / trials
    middle = fraction + z * z / (2 * trials)
    half = z * sqrt(fraction * (1 - fraction) / trials + z * z / (4 * trials * trials))
    return (middle - half) / (1 + z * z / trials), (middle + half) / (1 + z * z / trials)


def write_page(
    mutants: list[Mutant], verdicts: dict[str, Verdict], hand_made: dict[str, Verdict], seed: int
) -> None:
    """Writes the page about `mutants`, drawn with `seed`, and about those made by hand."""
    judged = equivalent()
    tried = [one for one in mutants if one.name in verdicts]
    killed = sum(verdicts[one.name].outcome in KILLED for one in tried)
    same = [one for one in tried if one.name in judged and verdicts[one.name].outcome not in KILLED]
    left = [one for one in tried if verdicts[one.name].outcome not in KILLED and one.name not in judged]
    low, high = wilson(killed, len(tried) - len(same))
    text = [
        "# Mutation testing",
        "",
        "A mutant is the source with one small fault: another comparison, another constant, a statement",
        "left out. It is killed if a test fails because of it. `make mutate` writes this page, by",
        "",
        f"    python scripts/mutation.py --count {len(mutants)} --seed {seed}",
        "",
        f"Of {len(mutants)} mutants drawn with seed {seed}, {len(tried)} were run: {killed} are killed. {len(same)}",
        "are equivalent to the source, or change a number that only tunes a search. That is",
        f"{killed / (len(tried) - len(same)):.1%} of the others, with a 95 % interval of {low:.1%} to {high:.1%}",
        f"(Wilson). Of all that were run it is {killed / len(tried):.1%}.",
        f"Only the tests of the mutated package run, the quickest first, and at most {MOST:g} seconds of them.",
        "",
        "| part | mutants | killed | of them by time | equivalent | survivors |",
        "|---|---|---|---|---|---|",
        *_rows(tried, verdicts, judged),
        "",
        "A mutant is killed by time if a test takes over five times as long as without it.",
        "",
        "## Survivors",
        "",
        *([_line(one) for one in left] or ["None."]),
        "",
        "## Equivalent mutants",
        "",
        "No test can notice these, or none should, as the number only tunes a search. The reasons stand in",
        "`scripts/mutants/equivalent.toml`.",
        "",
        *[f"{_line(one)}  \n  {judged[one.name]}" for one in same],
        "",
        "## Mutants made by hand",
        "",
        "Places where a fault looked likely: `scripts/mutants/hand_made.toml`.",
        "",
        "| file | change | noticed by |",
        "|---|---|---|",
        *[_hand_made(name, verdict, judged) for name, verdict in hand_made.items()],
        "",
        f"Measured with Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
        + ".",
        "",
    ]
    PAGE.write_text("\n".join(text), encoding="utf-8")


def _rows(mutants: Iterable[Mutant], verdicts: dict[str, Verdict], judged: dict[str, str]) -> list[str]:
    counts: dict[str, Counter[str]] = {part.name: Counter() for part in PARTS}
    for one in mutants:
        outcome = verdicts[one.name].outcome
        of_part = counts[part_of(one.file).name]
        of_part["all"] += 1
        of_part["time"] += outcome == "time"
        of_part["killed" if outcome in KILLED else "same" if one.name in judged else "left"] += 1
    rows = {**counts, "all": sum(counts.values(), Counter())}
    return [
        f"| {name} | "
        + " | ".join(str(of_part[key]) for key in ("all", "killed", "time", "same", "left"))
        + " |"
        for name, of_part in rows.items()
    ]


def _line(mutant: Mutant) -> str:
    return f"- `{mutant.file}:{mutant.line}` in `{mutant.function}`: `{mutant.before}` to `{mutant.after}`"


def _hand_made(name: str, verdict: Verdict, judged: dict[str, str]) -> str:
    file, _, change = name.partition(" made by hand: ")
    test = (
        f"`{verdict.test.rpartition('::')[2]}`"
        if verdict.outcome in KILLED
        else judged.get(name, "**nothing**")
    )
    before, _, after = (part.replace("|", "\\|") for part in change.partition(" -> "))
    return f"| `{file}` | `{before}` to `{after}` | {test} |"
