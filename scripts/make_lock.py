"""Writes requirements.lock: what constraints.txt pins, with the hashes of all files of each version.

    python scripts/make_lock.py path/to/uv

torch is left out, since its wheels differ from one kind of machine to the next.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LEFT_OUT = "torch=="
_OPTIONS = (
    "--no-deps",  # constraints.txt names all of them
    "--generate-hashes",
    "--universal",  # wheels of every platform
    "--python-version=3.11.9",
    "--no-emit-index-url",
    "--no-header",
    "--no-annotate",
    "--quiet",
)


def main() -> None:
    """Writes the lock."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("uv", help="the program uv")
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    given = "\n".join(pin for pin in pins if not pin.startswith(_LEFT_OUT))
    target = f"--output-file={ROOT / 'requirements.lock'}"
    subprocess.run(
        [parser.parse_args().uv, "pip", "compile", "-", *_OPTIONS, target], input=given, text=True, check=True
    )


if __name__ == "__main__":
    main()
