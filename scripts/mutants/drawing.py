"""Which mutants are tried, and by which tests."""

from __future__ import annotations

import ast
import random
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mutants.coverage_map import SOURCE, CoverageMap
from mutants.operators import TEXT, Mutant, mutants_of
from mutants.server import Trial

MOST = 60.0  # seconds of tests for one mutant; the quickest come first


@dataclass(frozen=True)
class Part:
    """Sources that are drawn from together, and the folders of their tests; paths below src/tightc."""

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]


PARTS = (
    Part("tile", ("tile",), ("tests/tile",)),
    Part(
        "packing",
        ("packing", "model/packings", "model/file_format"),
        ("tests/packing", "tests/model/packings", "tests/model/file_format"),
    ),
    Part("verify", ("simulation/verify.py", "simulation/integer_products.py"), ("tests/simulation",)),
    Part("engine", ("simulation/engine",), ("tests/simulation",)),
    Part("cost model", ("cost_model",), ("tests/cost_model", "tests/simulation")),
    Part("annealing", ("permutation/annealing",), ("tests/permutation",)),
    Part("methods", ("permutation/methods", "permutation/permute.py"), ("tests/permutation",)),
)
_SHOWN_ONLY = (
    "permutation/methods/tight/progress.py",
)  # what it computes is only shown while the search runs


def files_of(part: Part) -> list[str]:
    """The source files of a part."""
    paths = [
        path
        for source in part.sources
        for path in ([SOURCE / source] if source.endswith(".py") else sorted((SOURCE / source).rglob("*.py")))
    ]
    return [name for path in paths if (name := path.relative_to(SOURCE).as_posix()) not in _SHOWN_ONLY]


def part_of(file: str) -> Part:
    """The part that a source file belongs to."""
    return next(part for part in PARTS if any(file == s or file.startswith(f"{s}/") for s in part.sources))


@cache
def all_mutants(file: str) -> tuple[Mutant, ...]:
    """All mutants of a source file."""
    return tuple(mutants_of(file, (SOURCE / file).read_text(encoding="utf-8")))


def draw(count: int, seed: int) -> list[Mutant]:
    """`count` mutants, each part with as many as its fraction of all; in the order of the parts and files."""
    candidates = [[one for file in files_of(part) for one in all_mutants(file)] for part in PARTS]
    total = sum(map(len, candidates))
    exact = [count * len(each) / total for each in candidates]
    sizes = [int(one) for one in exact]
    for index in sorted(range(len(exact)), key=lambda i: sizes[i] - exact[i])[: count - sum(sizes)]:
        sizes[index] += 1
    generator = random.Random(seed)
    return [
        each[index]
        for each, size in zip(candidates, sizes, strict=True)
        for index in sorted(generator.sample(range(len(each)), size))
    ]


def in_kernel(mutant: Mutant) -> bool:
    """Whether a mutant is in a compiled function, or in a constant that compiled functions read."""
    kernels = _kernels(mutant.file)
    if mutant.function != "module":
        return mutant.function.partition(".")[0] in kernels
    return mutant.file == "tile/packing.py" or any(_defined(mutant) in names for names in kernels.values())


@cache
def _kernels(file: str) -> dict[str, set[str]]:
    """The compiled functions of a file, each with the names in it."""
    tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
    return {
        one.name: {part.id for part in ast.walk(one) if isinstance(part, ast.Name)}
        for one in tree.body
        if isinstance(one, ast.FunctionDef) and any("njit" in ast.unparse(d) for d in one.decorator_list)
    }


@cache
def _class_lines(file: str, name: str) -> tuple[int, int]:
    """First and last line of a class, an empty range where there is no such class."""
    for node in ast.parse((SOURCE / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node.lineno, node.end_lineno or node.lineno
    return 1, 0


def _defined(mutant: Mutant) -> str:
    """The name that a statement of the module defines, empty if it defines none."""
    lines = (SOURCE / mutant.file).read_text(encoding="utf-8").splitlines()
    return re.split(r"\W", lines[mutant.lines[0] - 1])[0]


def hand_made() -> dict[Mutant, tuple[str, ...]]:
    """The mutants of hand_made.toml, each with the folders of its tests."""
    found = {}
    text = Path(__file__).with_name("hand_made.toml").read_text(encoding="utf-8")
    for entry in tomllib.loads(text)["mutant"]:
        file, before, after = entry["file"], entry["before"], entry["after"]
        source = (SOURCE / file).read_text(encoding="utf-8")
        if source.count(before) != 1:
            raise ValueError(f"{file}: expected one place with {before!r}, got {source.count(before)}")
        line = source[: source.index(before)].count("\n") + 1
        lines = line, line + before.count("\n")
        found[Mutant(file, _function_at(source, line), TEXT, before, after, 0, lines, line, 0)] = tuple(
            entry["tests"]
        )
    return found


def _function_at(source: str, line: int) -> str:
    """The outermost function or class that a line belongs to."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.lineno <= line <= (node.end_lineno or 0):
            return node.name
    return "module"


def trial(mutant: Mutant, coverage_map: CoverageMap, folders: tuple[str, ...] = ()) -> Trial:
    """The mutant with the mirrored tests that run its lines, the quickest first."""
    own = folders or part_of(mutant.file).tests
    # a constant, a default or a field is read at import, and compiled code leaves no trace
    sources = (
        lambda: coverage_map.of_lines(mutant.file, *mutant.lines),
        lambda: _of_readers(mutant, coverage_map),
        lambda: coverage_map.of_file(mutant.file),
    )
    found = ([test for test in source() if test.startswith(own)] for source in sources)
    mirrored = next((tests for tests in found if tests), [])
    seconds, shared = coverage_map.seconds, coverage_map.shared
    chosen: dict[str, float] = {}
    files: set[str] = set()
    total = 0.0
    for test in sorted(mirrored, key=lambda one: seconds[one] + shared[one]):
        file = test.partition("::")[0]
        total += seconds[test] + (0.0 if file in files else shared[test])
        if chosen and total > MOST:
            break
        files.add(file)
        chosen[test] = seconds[test] + shared[test]
    return Trial(mutant, chosen)


def _of_readers(mutant: Mutant, coverage_map: CoverageMap) -> set[str]:
    """The tests that run a line of the class, or one with the name of the function, class or constant."""
    name = _defined(mutant) if mutant.function == "module" else mutant.function.partition(".")[0]
    found = coverage_map.of_lines(mutant.file, *_class_lines(mutant.file, name))
    for path in sorted(SOURCE.rglob("*.py")) if name else ():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(rf"\b{name}\b", line):
                found |= coverage_map.of_lines(path.relative_to(SOURCE).as_posix(), number, number)
    return found
