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


def pins(name: str) -> dict[str, str]:
    """Version by name, of every line of a file that pins one."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text(name), re.MULTILINE)
    return {package.lower().replace("_", "-"): version for package, version in found}


def test_the_lock_has_the_hashes_of_what_is_pinned_and_names_no_host() -> None:
    pinned = pins("constraints.txt")
    del pinned["torch"]  # its wheels differ from one kind of machine to the next
    assert pins("requirements.lock") == pinned
    blocks = re.split(r"^(?=[A-Za-z])", text("requirements.lock"), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pinned)
    for block in blocks:
        first, *rest = block.replace("\\\n", "").split()
        assert "==" in first
        assert [one for one in rest if re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one)], first
    assert "://" not in text("requirements.lock")


def test_what_is_needed_to_build_is_pinned() -> None:
    pinned = pins("constraints.txt")
    for needed in tomllib.loads(text("pyproject.toml"))["build-system"]["requires"]:
        name, _, least = needed.partition(">=")
        assert int(pinned[name].split(".")[0]) >= int(least)


def test_each_promise_names_tests_that_are_there() -> None:
    promises = text("SECURITY.md").partition("## What tightc promises")[2]
    assert re.findall(r"^(\d)\. ", promises, re.MULTILINE) == list("1234567")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", promises)
    assert named and promises.count("::test_") == len(named)
    for file, function in named:
        assert f"def {function}(" in text(file), f"{file}::{function}"


def test_what_could_run_code_of_a_file_is_a_fault_of_style() -> None:
    rules = tomllib.loads(text("pyproject.toml"))["tool"]["ruff"]["lint"]["select"]
    assert {"S102", "S301", "S302", "S307", "S506"} <= set(rules)  # exec, pickle, marshal, eval, yaml.load
