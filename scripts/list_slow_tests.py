"""Writes tests/slow.txt, the tests that `make test-fast` leaves out, from the times of a whole run.

pytest -n auto --junitxml=build/junit.xml && python scripts/list_slow_tests.py build/junit.xml
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

LIST = Path(__file__).parents[1] / "tests" / "slow.txt"
LIMIT = 0.15  # seconds that all cases of a test function may take together


def slow_tests(report: Path) -> list[str]:
    """`folder/test_file.py::test_function` of each function whose cases take more than LIMIT, in alphabetical order."""
    seconds: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):
        file = case.attrib["classname"].removeprefix("tests.").replace(".", "/") + ".py"
        seconds[f"{file}::{case.attrib['name'].partition('[')[0]}"] += float(case.attrib["time"])
    return sorted(name for name, taken in seconds.items() if taken > LIMIT)


def main() -> None:
    """Writes the list."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path, help="JUnit XML file of a whole run")
    try:
        found = slow_tests(parser.parse_args().report)
    except (OSError, ET.ParseError) as fault:
        parser.error(f"expected a JUnit XML file, got one that cannot be read: {fault}")
    LIST.write_text("".join(f"{name}\n" for name in found), encoding="utf-8")
    print(f"{LIST}: {len(found)} test functions")


if __name__ == "__main__":
    main()
