"""docs/models.md names every family, and its rows are those of the networks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.zoo.families import FAMILIES
from make_models_page import PAGE, row

ROWS = re.findall(r"^\| ([\w-]+) \| \d.*\n", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_has_a_row_for_each_family() -> None:
    assert list(FAMILIES) == ROWS


@pytest.mark.parametrize("name", ["lenet", "autoencoder"])
def test_a_row_is_up_to_date(tmp_path: Path, name: str) -> None:
    assert row(name, tmp_path) in PAGE.read_text(encoding="utf-8")


@pytest.mark.zoo
def test_the_page_is_up_to_date() -> None:
    script = PAGE.parents[1] / "scripts" / "make_models_page.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
