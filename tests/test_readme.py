"""What the README and the quickstart say is so; tests/test_pages.py runs their commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from results.folder import ResultsFolder
from results.rows import packed_row
from tightc.cli.main import COMMANDS
from tightc.config.yaml import parse_options
from tightc.example import RECIPE
from tightc.recipe.recipe import Recipe
from tightc.recipe.run import run_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
RESULTS = ResultsFolder(ROOT / "docs" / "results")


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_the_readme_and_the_quickstart_show_the_same_pipe() -> None:
    (pipe,) = (block for block in blocks("sh", README) if "| tightc pack" in block)
    assert pipe in blocks("sh", QUICKSTART)


def test_the_recipe_is_the_embedded_one() -> None:
    (recipe,) = blocks("yaml", QUICKSTART)
    shown = parse_options(recipe, "quickstart.md", Recipe)
    assert shown == parse_options(RECIPE.read_text(encoding="utf-8"), str(RECIPE), Recipe)


def test_the_gains_are_those_of_the_records() -> None:
    records = {record["id"]: record for record in RESULTS.read_records()}
    rows = re.findall(r"^\| .*\| `(\S+)` *\| (.*) \|$", README, re.MULTILINE)
    assert len(rows) == 5
    for run_id, cells in rows:
        row = packed_row(records[run_id])
        assert [cell.strip() for cell in cells.split("|")] == [
            str(records[run_id]["epochs"]),
            f"{row['accuracy']:.1f} %",
            f"{row['matrix_compression_rate']:.2f}x",
            f"{row['speedup']:.2f}x",
            f"{row['energy_gain']:.2f}x",
            f"{row['bytes']:,}",
        ]
        assert RESULTS.model(run_id).exists(), "--check measures the rows of the README"
        dense = (
            row["accuracy"] + row["accuracy_drop"]
        )  # on the test set; the first row may be of held-out images
        assert f"| {dense:.1f} %   | 1.00x       | 1.00x   | 1.00x       | 1,116,434 |" in README
    spoken = packed_row(records["r20-w-7.5x"])
    assert f"tight has {spoken['matrix_compression_rate']:.2f}x at {spoken['accuracy']:.1f} %" in README
    assert records["r20-w-7.5x"]["epochs"] == records["r20-cc-5x-s1"]["epochs"]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_every_command_is_in_the_table() -> None:
    cells = re.findall(r"^\| (`tightc [^|]*) \|", README, re.MULTILINE)
    assert re.findall(r"`tightc (\w+)", " ".join(cells)) == list(COMMANDS)


def test_the_reference_is_the_help() -> None:
    script = ROOT / "scripts" / "make_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_the_recipes_in_configs_are_valid(path: Path) -> None:
    assert parse_options(path.read_text(encoding="utf-8"), str(path), Recipe).stages


def test_links_lead_somewhere() -> None:
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
    ]:
        for link in re.findall(r"\]\((?!http|#)([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


def test_the_figures_that_no_training_touches_are_those_of_a_run(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    text = RECIPE.read_text(encoding="utf-8")
    head = text[: text.index("  - finetune")].replace("digits.onnx", str(RECIPE.parent / "digits.onnx"))
    recipe.write_text(head.replace("digits.npz", str(RECIPE.parent / "digits.npz")), encoding="utf-8")
    for row in run_recipe(recipe, tmp_path / "out").layers:
        (line,) = re.findall(rf"^{row['stage']} .*$", README, re.MULTILINE)
        accuracy, density, size = line.split()[1], line.split()[3], line.split()[-2]
        assert (accuracy, density) == (f"{row['accuracy']:.2f}", f"{row['density']:.3f}")
        assert size == f"{row['bytes']:,}"
