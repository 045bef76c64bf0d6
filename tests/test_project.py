"""What makes the project public says the same everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    versions = re.findall(r"^## (\S+)$", text("CHANGELOG.md"), re.MULTILINE)
    versions = [version for version in versions if version != "Unreleased"]
    assert versions[0] == yaml.safe_load(text("CITATION.cff"))["version"] == PROJECT["version"]


def test_the_license_is_the_same_everywhere() -> None:
    assert PROJECT["license"] == yaml.safe_load(text("CITATION.cff"))["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in text("LICENSE")
    assert "Apache License 2.0" in text("CONTRIBUTING.md")


def test_both_papers_are_cited_as_in_the_readme() -> None:
    cited = [paper["doi"] for paper in yaml.safe_load(text("CITATION.cff"))["references"]]
    assert cited == ["10.1109/DAC18072.2020.9218701", "10.1109/TCAD.2022.3178047"]
    assert cited[0] in text("README.md")


def test_the_workflow_runs_what_ci_runs_on_the_pythons_that_are_named() -> None:
    (job,) = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"].values()
    assert job["steps"][-1] == {"run": "bash .ci/run"}
    named = [entry.rsplit(" ", 1)[1] for entry in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", entry)]
    assert job["strategy"]["matrix"]["python"] == named


def test_what_pip_installs_is_pinned() -> None:
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in text("constraints.txt").split()}
    named = [
        *PROJECT["dependencies"],
        *(one for extra in PROJECT["optional-dependencies"].values() for one in extra),
    ]
    names = {re.split(r"[<>=!\[ ]", one)[0].lower().replace("_", "-") for one in named}
    assert names <= pinned


def test_each_slow_test_is_there() -> None:
    for name in text("tests/slow.txt").split():
        file, function = name.split("::")
        assert f"def {function}(" in text(f"tests/{file}")


def test_each_check_of_the_makefile_is_a_target() -> None:
    makefile = text("Makefile")
    checks = {}
    for group in ("check", "static"):
        (named,) = re.findall(rf"^{group}: ([\w -]+) ##", makefile, re.MULTILINE)
        checks[group] = named.split()
    assert checks["static"] == ["format", "lint", "types", "words", "prose", "docs"]
    assert checks["check"] == ["static", "test", "test-light", "test-wheel"]
    assert "make test\nmake static test-light test-wheel\n" in text(".ci/run")
    for name in (*checks["static"], *checks["check"]):
        assert re.search(rf"^{name}: ", makefile, re.MULTILINE), name
