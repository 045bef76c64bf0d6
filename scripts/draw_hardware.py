"""Draws the pictures of docs/hardware.md: the accelerator, one processing element, and two tiles as waves.

    python scripts/draw_hardware.py [--check]

The waves are those of a small layer that tightc rtl writes, simulated by Icarus. The same version gives the same bytes.
With --check nothing is written, and exit code 1 says which files are out of date.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from hardware_pictures import block, element, wave
from tightc.files import write_file_atomically

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
PICTURES = {
    "hardware-blocks.svg": block.draw,
    "hardware-pe.svg": element.draw,
    "hardware-tiles.svg": wave.draw,
}
SIMULATED = "hardware-tiles.svg"  # needs Icarus


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 where Icarus is missing or --check finds another drawing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args(arguments).check
    found = 0
    for name, draw in PICTURES.items():
        path = FOLDER / name
        if name == SIMULATED and shutil.which("iverilog") is None:
            print(f"{path}: left out; expected iverilog on the PATH, got none", file=sys.stderr)
            found = 1
        elif not check:
            FOLDER.mkdir(parents=True, exist_ok=True)
            write_file_atomically(path, draw())
        elif not path.exists() or path.read_bytes() != draw():
            print(f"{path}: out of date; run python scripts/draw_hardware.py", file=sys.stderr)
            found = 1
    return found


if __name__ == "__main__":
    sys.exit(main())
