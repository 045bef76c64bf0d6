"""Mutation testing itself: which faults are made, that they take effect, and how they are counted."""

from __future__ import annotations

import ast
import json
import sys
import tomllib
from collections.abc import Callable
from math import isclose
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from audit import summary
from mutants import page
from mutants.drawing import PARTS, draw, files_of, hand_made, in_kernel, part_of
from mutants.graft import graft
from mutants.operators import mutants_of, mutated
from mutants.page import judgements, refresh_head, wilson

ROOT = Path(__file__).parents[1]
SOURCE = '''"""Not 1 < 2: a text."""

LIMIT = 3


class Box:
    size: int = 4

    def room(self, used, spare=0):
        """Never changed: 1 + 1."""
        if used > LIMIT and not spare:
            raise ValueError(f"at most {LIMIT + 1}")
        return min(self.size, used) - spare


def walk(items):
    total = 0
    for item in items[1:]:
        total += item
    return total
'''


def made() -> dict[str, str]:
    return {one.name.partition("box.py ")[2]: one.kind for one in mutants_of("box.py", SOURCE)}


def test_each_kind_of_fault_is_made_and_no_text_is_touched() -> None:
    found = made()
    expected = {
        "module: 3 -> 4": "constant",
        "module: 3 -> 2": "constant",
        "Box: 4 -> 5": "constant",
        "Box.room: 0 -> 1": "constant",
        "Box.room: used > LIMIT -> used >= LIMIT": "comparison",
        "Box.room: used > LIMIT and (not spare) -> used > LIMIT or not spare": "boolean",
        "Box.room: not spare -> spare": "boolean",
        "Box.room: min(self.size, used) -> max(self.size, used)": "opposite",
        "Box.room: min(self.size, used) - spare -> min(self.size, used) + spare": "arithmetic",
        "Box.room: return min(self.size, used) - spare -> return None": "return",
        "walk: items[1:] -> items[:]": "slice",
        "walk: total += item -> total -= item": "arithmetic",
        "walk: total += item -> removed": "statement",
    }
    assert expected.items() <= found.items()
    assert sum(kind == "statement" for kind in found.values()) == 2  # the raise, too
    assert not [name for name in found if "text" in name or "LIMIT + 1 ->" in name]


def test_every_mutant_is_one_change_and_leaves_the_lines() -> None:
    found = mutants_of("box.py", SOURCE)
    assert len({one.name for one in found}) == len(found)
    plain = ast.dump(ast.parse(SOURCE))
    for one in found:
        tree = mutated(SOURCE, one)
        assert ast.dump(tree) != plain
        compile(tree, "box.py", "exec")
        assert one.lines[0] <= one.line <= max(one.lines)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "box.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "box", raising=False)
    import box  # type: ignore[import-not-found]

    return box


def named(text: str) -> ast.Module:
    (one,) = [one for one in mutants_of("box.py", SOURCE) if one.name.endswith(f" {text}")]
    return mutated(SOURCE, one)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("module: 3 -> 4", lambda box, _: box.LIMIT),
        ("Box: 4 -> 5", lambda _, early: early["Box"].size),
        ("Box.room: 0 -> 1", lambda _, early: early["Box"]().room(1)),
        (
            "Box.room: min(self.size, used) - spare -> min(self.size, used) + spare",
            lambda _, early: early["Box"]().room(2, 1),
        ),
        ("walk: items[1:] -> items[:]", lambda _, early: early["walk"]([1, 2])),
        ("walk: total += item -> removed", lambda _, early: early["walk"]([1, 2])),
    ],
)
def test_a_fault_reaches_what_was_imported_before(
    box: ModuleType, text: str, value: Callable[[ModuleType, dict[str, Any]], int]
) -> None:
    early = dict(vars(box))
    before = value(box, early)
    assert graft(box, named(text))
    assert value(box, early) != before


def test_the_plain_source_changes_nothing(box: ModuleType) -> None:
    assert not graft(box, ast.parse(SOURCE))


def test_a_draw_is_decided_by_its_seed_and_spread_over_the_parts() -> None:
    first, again, other = draw(60, 1), draw(60, 1), draw(60, 2)
    assert first == again != other
    assert len(first) == len(set(first)) == 60
    assert {part_of(one.file) for one in first} == set(PARTS)


def test_each_source_belongs_to_one_part_with_tests() -> None:
    files = [file for part in PARTS for file in files_of(part)]
    assert len(files) == len(set(files))
    for part in PARTS:
        assert all((ROOT / folder).is_dir() for folder in part.tests)


def test_what_compiled_functions_hold_or_read_is_told_apart() -> None:
    kinds = {one.before.split()[0]: in_kernel(one) for one in hand_made()}
    assert kinds["_GUIDED"]  # a constant that a compiled function reads
    assert not kinds["_SLACK"]  # and one beside compiled functions that none of them reads
    functions = {
        one.function: in_kernel(one)
        for one in draw(3000, 1)
        if one.file == "permutation/methods/first_fit.py"
    }
    assert functions["_first_fit"] and not functions["_rounds"]


def test_each_mutant_made_by_hand_has_its_place() -> None:
    """Where it fails, a source has changed: mend scripts/mutants/hand_made.toml."""
    for one, folders in hand_made().items():
        assert mutated((ROOT / "src/tightc" / one.file).read_text(encoding="utf-8"), one)
        assert all((ROOT / folder).is_dir() for folder in folders)


def test_each_equivalent_mutant_has_a_reason() -> None:
    text = (ROOT / "scripts/mutants/equivalent.toml").read_text(encoding="utf-8")
    assert len(judgements()) == len(tomllib.loads(text).get("mutant", []))
    assert all(len(judgement.reason.split()) > 3 for judgement in judgements().values())


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
        (270, 300, 0.8608, 0.9291),
    ],
)
def test_the_interval_is_wilsons(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson(successes, trials)
    assert isclose(found[0], low, abs_tol=5e-5) and isclose(found[1], high, abs_tol=5e-5)


def test_an_audit_lists_faults_and_what_it_did_not_check() -> None:
    fault = {"id": "X-1", "fix_versions": ["2.0"]}
    packages = [
        {"name": "a", "version": "1.0", "vulns": [fault]},
        {"name": "b", "version": "1", "vulns": []},
        {"name": "c", "skip_reason": "not found"},
    ]

    def said(own: object) -> tuple[list[str], int]:
        return summary(json.dumps({"dependencies": own}))

    last = "1 known faults in 2 packages; 1 were not checked"
    assert said(packages) == (["a 1.0: X-1, mended in 2.0", last], 1)
    assert said(packages[1:2]) == (["0 known faults in 1 packages; 0 were not checked"], 0)
    nothing = [said(packages[2:]), said([]), summary("ERROR: no network"), summary("[]")]
    assert all(lines[0].startswith("nothing was checked") and not count for lines, count in nothing)


def test_the_head_of_the_page_says_what_was_measured_and_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "reliability-mutants.md").read_text(encoding="utf-8")
    assert "Measured on tightc " in text.partition("<!--")[0]
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    body = "A mutant.\n\n- `deadline.py:3` in `Deadline.passed`: `a` to `b`\n"
    body += "- `deadline.py:9` in `bygone`: `a` to `b`\n"
    body += "- `bygone.py:1` in `module`: `a` to `b`\n- `deadline.py:1` in `module`: `a` to `b`\n"
    page.PAGE.write_text(f"# Title\n\n{body}", encoding="utf-8")
    for release in ("1.2.3", "1.2.4"):  # a second time replaces the first
        refresh_head(release)
        head, _, rest = page.PAGE.read_text(encoding="utf-8").partition("<!--")
        assert head == (
            f"# Title\n\nMeasured on tightc {release}, whose lines and names the page has.\nNo longer in the sources:\n"
            "- `bygone` of `deadline.py`\n- `module` of `bygone.py`\n"
        )
        assert rest.endswith(f"-->\n\n{body}")
