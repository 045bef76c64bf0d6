"""Runs the commands that README and docs show, and writes what they print into the pages.

python scripts/refresh_pages.py [PAGE...]

scripts/pages/pages.toml lists the blocks that are not run, with the reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from pages.folder import ROOT
from pages.running import find_pages, run_page


def refresh(name: str, root: Path = ROOT) -> list[str]:
    """Writes the page anew where its output has changed; returns what is wrong besides, such as exit codes."""
    path = root / name
    with tempfile.TemporaryDirectory() as folder:
        found = run_page(name, Path(folder) / "page", root)
    changed = found.text != path.read_text(encoding="utf-8")
    if changed:
        path.write_text(found.text, encoding="utf-8")
    print(f"{name}: {'written' if changed else 'up to date'}", flush=True)
    missing = [f"needs {program}, which is not installed" for program in sorted(found.missing)]
    return [f"{name}: {fault}" for fault in [*found.failures, *missing]]


def main() -> None:
    """Refreshes the pages that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = find_pages()
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"of {', '.join(known)}")
    pages = parser.parse_args().pages or known
    if unknown := sorted(set(pages) - set(known)):
        parser.error(f"expected pages with commands, such as {known[0]}, got {', '.join(unknown)}")
    if faults := [fault for name in pages for fault in refresh(name)]:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
