"""docs/reliability-mutants.md, written from what became of the mutants."""

from __future__ import annotations

import ast
import platform
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
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
_END_OF_HEAD = "<!-- end of the head, which `scripts/mutation.py --measured-on` writes anew -->"


@dataclass(frozen=True)
class Judgement:
    """Why no test notices a mutant: nothing changes, or it `tunes` a search that still gives a right result."""

    reason: str
    tunes: bool = False


def judgements() -> dict[str, Judgement]:
    """What equivalent.toml says, by the name of a mutant."""
    entries = tomllib.loads(_JUDGED.read_text(encoding="utf-8")).get("mutant", [])
    return {entry["name"]: Judgement(entry["reason"], entry.get("tunes", False)) for entry in entries}


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
    judged = judgements()
    tried = [one for one in mutants if one.name in verdicts]
    kinds = {one: _kind(one.name, verdicts, judged) for one in tried}
    count = Counter(kinds.values())
    others = len(tried) - count["equivalent"]
    low, high = wilson(count["killed"], others)
    of_kind = {
        kind: [one for one in tried if kinds[one] == kind] for kind in ("survived", "tunes", "equivalent")
    }
    text = [
        "# Mutation testing",
        "",
        *measured_on(version("tightc"), []),
        "",
        "A mutant is the source with one small fault: another comparison, another constant, a statement",
        "left out. It is killed if a test fails because of it. `make mutate` writes this page, by",
        "",
        f"    python scripts/mutation.py --count {len(mutants)} --seed {seed}",
        "",
        f"Of {len(mutants)} mutants drawn with seed {seed}, {len(tried)} were run: {count['killed']} are killed, and "
        f"{count['equivalent']}",
        f"are equivalent to the source. That is {count['killed'] / others:.1%} of those that are not equivalent,",
        f"with a 95 % interval of {low:.1%} to {high:.1%} (Wilson). {count['tunes']} only tune a search, and count as",
        f"not killed. Of all that were run, {count['killed'] / len(tried):.1%} are killed.",
        "",
        "Tests that were written for survivors of this draw make the figure too high for mutants in general.",
        "[Reliability](reliability.md) has that of a draw before any test was written for it.",
        "",
        "Only the tests of the mutated package that run the changed line are tried. The quickest come first, up to",
        f"{MOST:g} seconds of them.",
        "",
        "| part | mutants | killed | of them by time | equivalent | tune a search | survivors |",
        "|---|---|---|---|---|---|---|",
        *_rows(kinds, verdicts),
        "",
        "A mutant is killed by time if a test takes over five times as long as without it.",
        "",
        "## Survivors",
        "",
        *([_line(one) for one in of_kind["survived"]] or ["None."]),
        "",
        "## Mutants that only tune a search",
        "",
        "The result is another one, but as right, and about as good. The reasons are in",
        "`scripts/mutants/equivalent.toml`.",
        "",
        *[f"{_line(one)}  \n  {judged[one.name].reason}" for one in of_kind["tunes"]],
        "",
        "## Equivalent mutants",
        "",
        "No test can notice these.",
        "",
        *[f"{_line(one)}  \n  {judged[one.name].reason}" for one in of_kind["equivalent"]],
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


def measured_on(release: str, removed: list[str]) -> list[str]:
    """The lines that tell which release was measured, and the files and functions of the page that are `removed`."""
    lines = [f"Measured on tightc {release}, whose lines and names the page has."]
    if removed:
        lines += ["No longer in the sources:", *[f"- {name}" for name in removed]]
    return [*lines, _END_OF_HEAD]


def refresh_head(release: str) -> None:
    """Writes the head of the page anew for a page that was measured on `release`, without running anything."""
    title, text = PAGE.read_text(encoding="utf-8").split("\n\n", 1)
    text = text.partition(f"{_END_OF_HEAD}\n\n")[2] or text
    named = dict.fromkeys(re.findall(r"^- `([^`:]+):\d+` in `([^`]+)`", text, re.MULTILINE))
    removed = [f"`{function}` of `{file}`" for file, function in named if not _is_there(file, function)]
    PAGE.write_text("\n".join([title, "", *measured_on(release, removed), "", text]), encoding="utf-8")


def _is_there(file: str, function: str) -> bool:
    """Whether a file of the package has the function, a method with its class before it, or "module"."""
    path = ROOT / "src" / "tightc" / file
    if not path.is_file():
        return False
    found: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    for name in [] if function == "module" else function.split("."):
        inner = {getattr(node, "name", ""): node for node in ast.iter_child_nodes(found)}
        if name not in inner:
            return False
        found = inner[name]
    return True


def _kind(name: str, verdicts: dict[str, Verdict], judged: dict[str, Judgement]) -> str:
    """What a mutant counts as: "killed", "equivalent", "tunes" or "survived"."""
    if verdicts[name].outcome in KILLED:
        return "killed"
    if name in judged:
        return "tunes" if judged[name].tunes else "equivalent"
    return "survived"


def _rows(kinds: dict[Mutant, str], verdicts: dict[str, Verdict]) -> list[str]:
    counts: dict[str, Counter[str]] = {part.name: Counter() for part in PARTS}
    for one, kind in kinds.items():
        of_part = counts[part_of(one.file).name]
        of_part["all"] += 1
        of_part["time"] += verdicts[one.name].outcome == "time"
        of_part[kind] += 1
    rows = {**counts, "all": sum(counts.values(), Counter())}
    columns = ("all", "killed", "time", "equivalent", "tunes", "survived")
    return [
        f"| {name} | " + " | ".join(str(row[key]) for key in columns) + " |" for name, row in rows.items()
    ]


def _line(mutant: Mutant) -> str:
    return f"- `{mutant.file}:{mutant.line}` in `{mutant.function}`: `{mutant.before}` to `{mutant.after}`"


def _hand_made(name: str, verdict: Verdict, judged: dict[str, Judgement]) -> str:
    file, _, change = name.partition(" made by hand: ")
    test = "**nothing**"
    if verdict.outcome in KILLED:
        test = f"`{verdict.test.rpartition('::')[2]}`"
    elif name in judged:
        test = judged[name].reason
    before, _, after = (part.replace("|", "\\|") for part in change.partition(" -> "))
    return f"| `{file}` | `{before}` to `{after}` | {test} |"
