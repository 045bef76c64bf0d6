"""Measures tightc and writes docs/benchmarks: quality, speed and memory of every method, each figure with its seed.

    python scripts/bench.py [SECTION ...] [--quick]

Without SECTION all of them run, which takes hours. Each section prints its tables as they come. When it is complete, it
is written to docs/benchmarks/SECTION.md, and docs/benchmarks/README.md lists all pages. With --quick each takes some
seconds, on a small part of its work, and nothing is written.
"""

from __future__ import annotations

import argparse
import importlib

from benchmarks.page import Page, write_index

SECTIONS = {
    "resnet20": "resnet20",
    "fan-in": "fan_in",
    "layers": "layers",
    "arrays": "arrays",
    "speed": "speed",
    "against": "against",
    "nm": "nm",
    "methods": "methods",
    "schedules": "schedules",
    "curve": "curve",
    "chain": "chain",
    "digests": "digests",
    "startup": "startup",
    "loading": "loading",
    "rtl": "rtl",
    "stream": "stream",
    "equal-area": "equal_area",
    "recorded": "recorded",
    "budgets": "budgets",
    "vgg16": "vgg16",
    "bounds": "bounds",
    "explore": "explore",
    "sensitivity": "sensitivity",
    "banks": "banks",
    "scale": "scale",
    "scale-search": "scale_search",
    "simulation": "simulation",
    "training": "training",
    "mlperf-tiny": "mlperf_tiny",
}


def main() -> None:
    """Runs the sections named, all without a name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: all"
    )
    parser.add_argument("--quick", action="store_true", help="a small part of each, printed and not written")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    for name in arguments.sections or SECTIONS:
        section = importlib.import_module(f"benchmarks.{SECTIONS[name]}")
        page = Page(name, section.TITLE, arguments.quick)
        section.run(page)
        if not arguments.quick:
            page.write()
            write_index(list(SECTIONS))


if __name__ == "__main__":
    main()
