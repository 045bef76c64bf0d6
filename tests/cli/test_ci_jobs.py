"""The jobs of configs/ci, run as their runners do: they fail when they should, and pass when they should."""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from helpers.ci_runners import ROOT, Ended, jobs, run_github, run_gitlab
from tightc.cli.main import run
from tightc.example import RECIPE

FOLDER = ROOT / "configs" / "ci"
GITHUB = (FOLDER / "github.yaml").read_text(encoding="utf-8")
GITLAB = (FOLDER / "gitlab.yaml").read_text(encoding="utf-8")
RUNNERS = {"github": (GITHUB, run_github), "gitlab": (GITLAB, run_gitlab)}
RECIPE_OF_THE_TEST = """model: model.onnx
data: {data: images.npz}
stages:
  - permute: {array: 16x16, fan_in: 8, method: first-fit}
  - pack
"""
Runner = Callable[[str, str, Path], Ended]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository: model.onnx, a network of which a tenth of the weights is left, and packed.onnx, the same packed."""
    folder = tmp_path_factory.mktemp("repository")
    dense, model, packed = RECIPE.parent / "digits.onnx", folder / "model.onnx", folder / "packed.onnx"
    first_fit = ["--array", "16x16", "--fan-in", "8", "--method", "first-fit"]
    assert run(["prune", str(dense), "--sparsity", "0.9", "-q", "-o", str(model)]) == 0
    assert run(["permute", str(model), *first_fit, "-q", "-o", str(folder / "permuted.onnx")]) == 0
    assert run(["pack", str(folder / "permuted.onnx"), "-q", "-o", str(packed)]) == 0
    shutil.copy(RECIPE.parent / "digits.npz", folder / "images.npz")
    (folder / "recipe.yaml").write_text(RECIPE_OF_THE_TEST)
    return folder


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(repository, tmp_path / "checkout"))


def failed_cases(ended: Ended) -> list[str]:
    """The failed test cases of the JUnit file that a job keeps."""
    (file,) = ended.kept
    return [
        case.get("name", "")
        for case in ElementTree.parse(file).iter("testcase")
        if list(case.iter("failure"))
    ]


@pytest.mark.parametrize("job", ["packed-model", "recipe"])
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_job_passes_as_it_is_shipped(checkout: Path, runner: str, job: str) -> None:
    text, start = RUNNERS[runner]
    ended = start(text, job, checkout)
    assert ended.code == 0, ended.log
    assert failed_cases(ended) == [] and "::error" not in ended.log
    assert "passed: yes" in ended.log and "requirements: 2" in ended.log


@pytest.mark.parametrize(
    ("before", "after", "case", "words"),
    [
        ("speedup>=4", "speedup>=40", "speedup>=40", "speedup: expected >= 40, got "),
        (' --against "$BASE"', "", "accuracy_drop<=1", "accuracy_drop: expected <= 1, got no value: it needs the "),
    ],
    ids=["below", "null"],
)  # fmt: skip
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_job_fails_where_a_requirement_does(
    checkout: Path, runner: str, before: str, after: str, case: str, words: str
) -> None:
    text, start = RUNNERS[runner]
    ended = start(text.replace(before, after, 1), "packed-model", checkout)
    assert ended.code == 1, ended.log
    assert failed_cases(ended) == [case]
    assert f"packed.onnx: {words}" in (
        ended.log
        if runner == "github"
        else ended.kept[0].read_text().replace("&gt;", ">").replace("&lt;", "<")
    )
    assert ("::error title=tightc check::packed.onnx: " in ended.log) == (runner == "github")


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_job_fails_on_an_unknown_name(checkout: Path, runner: str) -> None:
    text, start = RUNNERS[runner]
    ended = start(text.replace("speedup>=4", "speedpu>=4"), "packed-model", checkout)
    said = "expected a measure, got 'speedpu'; did you mean speedup?"
    assert ended.code == 2 and said in ended.log
    (verdict,) = ended.kept
    assert html.unescape(verdict.read_text()).count(said) > 0 and "<error" in verdict.read_text()


@pytest.mark.parametrize("variable", ["MODEL", "BASE", "DATA"])
def test_a_job_fails_on_a_variable_that_is_not_set(checkout: Path, variable: str) -> None:
    text, start = RUNNERS["gitlab"]
    (line,) = (line for line in text.splitlines() if line.strip().startswith(f"{variable}:"))
    assert start(text.replace(line, f'    {variable}: ""'), "packed-model", checkout).code == 2


def test_a_recipe_without_data_fails(checkout: Path) -> None:
    recipe = RECIPE_OF_THE_TEST.replace("data: {data: images.npz}\n", "")
    (checkout / "recipe.yaml").write_text(recipe)
    ended = run_github(GITHUB, "recipe", checkout)
    assert ended.code == 1 and failed_cases(ended) == ["accuracy_drop<=1"]


def test_a_run_that_fails_is_not_checked(checkout: Path) -> None:
    (checkout / "recipe.yaml").write_text("model: missing.onnx\nstages: [pack]\n")
    ended = run_gitlab(GITLAB, "recipe", checkout)
    assert ended.code == 2 and ended.kept == [] and "requirements:" not in ended.log


def test_the_runner_of_the_tests_stops_at_a_failure(tmp_path: Path) -> None:
    steps = [{"run": "false"}, {"run": "echo never"}, {"run": "echo at last", "if": "always()"}]
    ended = run_github(yaml.safe_dump({"jobs": {"one": {"steps": steps}}}), "one", tmp_path)
    assert (ended.code, ended.log) == (1, "at last\n")
    job = {"script": ["false | true", "echo never"], "artifacts": {"reports": {"junit": "none"}}}
    ended = run_gitlab(yaml.safe_dump({"one": job}), "one", tmp_path)
    assert (ended.code, ended.log) == (1, "")


def test_both_files_have_the_same_jobs_and_scripts() -> None:
    assert list(jobs(GITHUB)) == list(jobs(GITLAB)) == ["packed-model", "recipe"]
    for name, job in jobs(GITHUB).items():
        steps = [step["run"].strip() for step in job["steps"] if "run" in step]
        lines = [*yaml.safe_load(GITLAB)["default"]["before_script"], *jobs(GITLAB)[name]["script"]]
        assert steps == [line.strip() for line in lines]
        assert job["env"] == jobs(GITLAB)[name]["variables"]
