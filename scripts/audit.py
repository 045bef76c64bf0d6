"""Looks for known faults of the packages in requirements.lock.

    python scripts/audit.py path/to/pip-audit

Exit code 1 if there are any. Where the list of known faults cannot be reached, it says so and ends with 0.
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


def faults(report: str) -> list[str] | None:
    """A line for each known fault in the JSON of pip-audit; None if it is no such report."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
    return [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions'])}"
        for package in packages
        for fault in package.get("vulns", ())
    ]


def main() -> None:
    """Prints what is found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audit", help="the program pip-audit")
    command = [parser.parse_args().audit, *_OPTIONS, "--requirement", str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = faults(done.stdout)
    if found is None:
        print("nothing was checked: the list of known faults cannot be reached from here")
        return
    print("\n".join(found) or "no known faults")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
