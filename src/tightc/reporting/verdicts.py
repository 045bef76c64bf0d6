"""The verdicts of check for CI: as a JUnit file, and as annotations of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from tightc.names import escape, message_text
from tightc.report import Figures, Report

_SUITE = "tightc check"


def junit_xml(report: Report) -> bytes:
    """A JUnit file with a test case for each requirement, as GitLab, GitHub and Jenkins read it."""
    root = _suites(tests=len(report.layers), failures=report.totals["failed"], errors=0)
    model = escape(str(report.totals["model"]))
    for row in report.layers:
        case = ElementTree.SubElement(
            root[0], "testcase", {"classname": model, "name": row["requirement"], "time": "0"}
        )
        if row["result"] == "failed":
            text = verdict(row)
            failure = ElementTree.SubElement(case, "failure", {"message": text, "type": "requirement"})
            failure.text = f"{model}: {text}"
        else:
            ElementTree.SubElement(case, "system-out").text = f"{row['name']}: {row['value']!r}"
    return _written(root)


def junit_error_xml(model: str, message: str, kind: str) -> bytes:
    """A JUnit file with one test case, which could not run: `message` says why, `kind` names the error."""
    root = _suites(tests=1, failures=0, errors=1)
    case = ElementTree.SubElement(
        root[0], "testcase", {"classname": escape(model), "name": _SUITE, "time": "0"}
    )
    lines = [message_text(line) for line in message.split("\n")]
    ElementTree.SubElement(case, "error", {"message": lines[0], "type": kind}).text = "\n".join(lines)
    return _written(root)


def github_errors(report: Report) -> Iterator[str]:
    """A workflow command for each failed requirement, which GitHub Actions shows as an annotation."""
    for text in failures(report):
        yield f"::error title={_property(_SUITE)}::{_data(text)}"


def failures(report: Report) -> Iterator[str]:
    """A sentence for each failed requirement, with the model that it is about."""
    for row in report.layers:
        if row["result"] == "failed":
            yield message_text(f"{report.totals['model']}: {verdict(row)}")


def verdict(row: Figures) -> str:
    """What was required in a row of check, and what was found; all digits, so that both differ."""
    found = f"no value: {row['reason']}" if row["value"] is None else repr(row["value"])
    limit = row["requirement"].removeprefix(row["name"] + row["operator"])
    return f"{row['name']}: expected {row['operator']} {limit}, got {found}"


def _suites(**counts: int) -> ElementTree.Element:
    """The root of a JUnit file with one suite, which has no test cases yet."""
    texts = {"name": _SUITE, **{name: str(count) for name, count in counts.items()}, "time": "0"}
    root = ElementTree.Element("testsuites", texts)
    # Jenkins' schema, junit-10.xsd, permits skipped in a suite alone
    ElementTree.SubElement(root, "testsuite", {**texts, "skipped": "0"})
    return root


def _written(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _data(text: str) -> str:
    """The text of a workflow command, escaped as GitHub's toolkit does it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
