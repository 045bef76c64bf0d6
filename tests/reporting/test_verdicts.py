"""The verdicts for CI: JUnit as pytest writes it, which GitLab, GitHub and Jenkins read, and workflow commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tightc.report import Report
from tightc.reporting import verdicts
from tightc.reporting.verdicts import failures, github_errors, junit_error_xml, junit_xml

TESTS = "def test_one():\n    assert True\n\ndef test_two():\n    assert 1 == 2\n"
# of junit-10.xsd, Jenkins' schema: element -> what it may be in, its required and its other attributes
SCHEMA = {
    "testsuites": ("", set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        "testsuites",
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
    ),
    "testcase": ("testsuite", {"name"}, {"time", "classname", "group"}),
    "failure": ("testcase", set(), {"type", "message"}),
    "system-out": ("testcase", set(), set()),
}  # fmt: skip


def row(name: str = "speedup", value: Any = 3.5, result: str = "failed", **changes: Any) -> dict[str, Any]:
    base = {"name": name, "value": value, "operator": ">=", "limit": 4.0, "result": result}
    return {**base, "requirement": f"{name}>=4", "reason": None, **changes}


def report(*rows: dict[str, Any], model: str = "net.onnx") -> Report:
    failed = sum(entry["result"] == "failed" for entry in rows)
    return Report("check", {"model": model, "passed": not failed, "failed": failed}, rows)


def shape(root: ElementTree.Element) -> dict[str, tuple[str, set[str]]]:
    """Element -> (its parent, its attributes), of a whole file."""
    parents = {child: parent.tag for parent in root.iter() for child in parent}
    return {entry.tag: (parents.get(entry, ""), set(entry.attrib)) for entry in root.iter()}


def test_the_file_has_the_elements_of_pytest_and_the_attributes_of_the_schema(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--junitxml=pytest.xml",
        "test_it.py",
    ]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120).returncode == 1
    wanted = shape(ElementTree.parse(tmp_path / "pytest.xml").getroot())
    found = shape(ElementTree.fromstring(junit_xml(report(row(), row("passes", 41, "ok")))))
    assert found.keys() == SCHEMA.keys() and found.keys() - {"system-out"} == wanted.keys()
    for element, (parent, required, optional) in SCHEMA.items():
        assert found[element][0] == parent == wanted.get(element, found[element])[0]
        assert required <= found[element][1] <= required | optional
    for element in ("testsuite", "testcase", "failure"):  # what pytest writes, readers show
        assert wanted[element][1] - {"timestamp", "hostname"} <= found[element][1]


def test_an_error_is_where_the_schema_has_it() -> None:
    content = junit_error_xml("a\x00.onnx", "one\x1b; mend it\ntwo", "ConfigError")
    root = ElementTree.fromstring(content)
    found = shape(root)
    for element in ("testsuites", "testsuite", "testcase"):
        parent, required, optional = SCHEMA[element]
        assert found[element][0] == parent and required <= found[element][1] <= required | optional
    assert found["error"] == ("testcase", {"type", "message"})
    (error,) = root.iter("error")
    assert (error.get("message"), error.text) == ("one\\x1b; mend it", "one\\x1b; mend it\ntwo")
    for suite in (root, root[0]):
        assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "1")


def test_the_counts_are_those_of_the_cases() -> None:
    root = ElementTree.fromstring(
        junit_xml(report(row(), row("passes", 41, "ok"), row("accuracy", None, reason="it needs data")))
    )
    for suite in (root, root[0]):
        assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "2", "0")
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert {case.get("classname") for case in cases.values()} == {"net.onnx"}
    assert cases["passes>=4"].find("failure") is None
    assert cases["passes>=4"].findtext("system-out") == "passes: 41"
    failure = cases["speedup>=4"].find("failure")
    assert failure is not None and failure.get("message") == "speedup: expected >= 4, got 3.5"
    assert cases["accuracy>=4"].findtext("failure") == (
        "net.onnx: accuracy: expected >= 4, got no value: it needs data"
    )


@given(model=st.text(max_size=40))
def test_any_name_of_a_model_gives_valid_xml_and_one_line(model: str) -> None:
    made = report(row(), model=model)
    root = ElementTree.fromstring(junit_xml(made))
    assert root[0][0].get("classname", "").isprintable()
    (line,) = github_errors(made)
    assert "\n" not in line and "\r" not in line
    assert len(list(failures(made))) == 1


@given(text=st.text(alphabet="%:,\r\n0AD25a ", max_size=20))
def test_workflow_commands_are_read_back_as_the_runner_reads_them(text: str) -> None:
    """As ActionCommand of GitHub's runner: of data %0D, %0A, then %25; of properties %3A and %2C before that."""
    data, title = verdicts._data(text), verdicts._property(text)
    assert not set("\r\n") & set(data + title) and not set(":,") & set(title)
    assert data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%") == text
    read = title.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",")
    assert read.replace("%25", "%") == text


def test_an_annotation() -> None:
    (line,) = github_errors(report(row(), row("passes", 41, "ok"), model="100%.onnx"))
    assert line == "::error title=tightc check::100%25.onnx: speedup: expected >= 4, got 3.5"
