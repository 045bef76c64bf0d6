"""docs/ci.md: its commands print what it shows, its jobs are those of configs/ci, its names are all that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tightc.example import RECIPE
from tightc.requirements.measures import MEASURES
from tightc.simulation.report.glossary import GLOSSARY

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
MEASURES_PAGE = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
COMMANDS = Path(sys.executable).parent
ENDS = [1, 2, 1, 1, 0]  # the exit codes of the commands that the page shows with their output


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def called(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("GITHUB_ACTIONS", None)
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page")
    shutil.copy(RECIPE.parent / "digits.onnx", made / "model.onnx")
    shutil.copy(RECIPE.parent / "digits.npz", made / "images.npz")
    (commands,) = blocks("sh")
    done = called(f"set -e\n{commands}", made)
    assert done.returncode == 0, done.stdout
    return made


@pytest.mark.parametrize("index", range(len(ENDS)))
def test_the_commands_print_what_the_page_shows(folder: Path, index: int) -> None:
    shown = blocks("console")
    assert len(shown) == len(ENDS)
    found = re.fullmatch(r"\$ ((?:.*\\\n> )*.*)\n((?:.*\n)*)", shown[index])
    assert found is not None
    done = called(found[1].replace("\n> ", "\n"), folder)
    assert done.returncode == ENDS[index]
    assert "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines()) == found[2]


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
