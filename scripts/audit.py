"""Looks for known faults of the packages in requirements.lock.

    python scripts/audit.py path/to/pip-audit

Exit code 1 if there are any. Where the list of known faults cannot be reached, or lacks packages, it says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
_OPTIONS = ("--disable-pip", "--require-hashes", "--format=json", "--progress-spinner=off", "--timeout=20")


def summary(report: str) -> tuple[list[str], int]:
    """(what is to be said of the JSON of pip-audit: a line for each known fault, how many these are).

    pip-audit skips a package that its list does not have, which is no sign that it is sound.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return ["nothing was checked: the list of known faults cannot be reached from here"], 0
    skipped = sum("skip_reason" in package for package in packages)
    checked = len(packages) - skipped
    if not checked:
        return ["nothing was checked: the list that can be reached from here has none of the packages"], 0
    found = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions'])}"
        for package in packages
        for fault in package.get("vulns", ())
    ]
    last = f"{len(found)} known faults in {checked} packages; {skipped} were not checked"
    return [*found, last], len(found)


def main() -> None:
    """Prints what is found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audit", help="the program pip-audit")
    command = [parser.parse_args().audit, *_OPTIONS, "--requirement", str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines, faults = summary(done.stdout)
    print("\n".join(lines))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
