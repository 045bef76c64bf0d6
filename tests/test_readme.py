"""What the README shows must run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tightc.cli.main import COMMANDS
from tightc.config.yaml import parse_options
from tightc.example import RECIPE
from tightc.recipe.recipe import Recipe
from tightc.recipe.run import run_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TIGHTC = Path(sys.executable).parent / "tightc"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(RECIPE.parent / "digits.onnx", tmp_path / "model.onnx")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_runs(folder: Path) -> None:
    (code,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rate, passes = done.stdout.split()
    assert float(rate) > 1 and int(passes) > 0
    assert (folder / "packed.onnx").is_file()


def test_the_pipe_runs(folder: Path) -> None:
    pipes = [block for block in blocks("sh") if "| tightc pack" in block]
    path = {**os.environ, "PATH": f"{TIGHTC.parent}{os.pathsep}{os.environ['PATH']}"}
    assert len(pipes) == 2
    for pipe in pipes:
        done = subprocess.run(["bash", "-ec", pipe], capture_output=True, text=True, check=True, env=path)
        assert "speedup: " in done.stdout


def test_the_recipe_is_the_embedded_one() -> None:
    (recipe,) = blocks("yaml")
    shown = parse_options(recipe, "README.md", Recipe)
    assert shown == parse_options(RECIPE.read_text(encoding="utf-8"), str(RECIPE), Recipe)


def test_every_command_is_in_the_table() -> None:
    assert re.findall(r"^\| `tightc (\w+)", README, re.MULTILINE) == list(COMMANDS)


def test_the_reference_is_the_help() -> None:
    script = ROOT / "scripts" / "make_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_the_recipes_in_configs_are_valid(path: Path) -> None:
    assert parse_options(path.read_text(encoding="utf-8"), str(path), Recipe).stages


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


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
