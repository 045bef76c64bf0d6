"""docs/ci.md: its jobs are those of configs/ci, its names are all that there are."""

from __future__ import annotations

import re
from pathlib import Path

from tightc.requirements.measures import MEASURES
from tightc.simulation.report.glossary import GLOSSARY

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
MEASURES_PAGE = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_jobs_are_those_of_the_files() -> None:
    github, gitlab = blocks("yaml")
    for shown, name in ((github, "github.yaml"), (gitlab, "gitlab.yaml")):
        assert (ROOT / "configs" / "ci" / name).read_text(encoding="utf-8").startswith(shown)


def test_the_table_has_every_name_with_what_it_needs() -> None:
    rows = re.findall(r"^\| (nothing|tiles|`--.*?) ?(?:: .*)?\| (`.*`) \|$", PAGE, re.MULTILINE)
    needs = {
        "nothing": "",
        "tiles": "tiles",
        "`--hardware`": "hardware",
        "`--area`": "area",
        "`--data`": "data",
    }
    needs["`--data`, `--against`"] = "base"
    found = {name: needs[need.strip()] for need, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert found == dict(MEASURES)


def test_every_name_is_defined() -> None:
    defined = {*GLOSSARY, *re.findall(r"`(\w+)`", MEASURES_PAGE)}
    settings = {"arrays", "columns_per_lane_register"}  # options of simulate
    plain = {name.removeprefix("dense_") for name in MEASURES} - settings
    assert plain <= defined, plain - defined
