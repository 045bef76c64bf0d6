"""The schedules that come with the project, and the page that explains their keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers import models
from helpers.loading import loaded
from tightc.config.yaml import read_options
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.tile.array import ArrayShape

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "configs" / "schedules"
FILES = sorted(path.name for path in FOLDER.glob("*"))
PAGE = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")


def test_every_file_is_known() -> None:
    assert FILES == ["default.yaml", "quick.yaml", "thorough.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_a_schedule_that_packs_and_says_what_its_keys_are_for(name: str) -> None:
    schedule = read_options(FOLDER / name, TemperatureSchedule)
    short = schedule.model_copy(update={"moves_per_weight": 20})
    options = PermuteOptions(array=ArrayShape(8, 4), fan_in=3, temp_schedule=short, jobs=1)
    model = loaded(models.cnn())
    assert permute(model, options)[1].totals["dropped_weights"] == 0
    head, *keys = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    assert head.startswith("# ") and head.endswith(".")
    assert all(re.fullmatch(r"(# )?[a-z_]+: \S+ +# .+", line) for line in keys), keys


def test_the_default_file_is_the_default_with_every_key_in_it() -> None:
    assert read_options(FOLDER / "default.yaml", TemperatureSchedule) == TemperatureSchedule()
    text = (FOLDER / "default.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^(?:# )?([a-z_]+): ", text, re.MULTILINE) == list(TemperatureSchedule.model_fields)


def test_the_three_amounts_of_work_are_in_order() -> None:
    quick, default, thorough = (
        read_options(FOLDER / f"{name}.yaml", TemperatureSchedule).moves_per_weight
        for name in ("quick", "default", "thorough")
    )
    assert (5 * quick, 10 * default) == (default, thorough)


def test_the_page_has_every_key_with_its_default_and_range() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|(.*)\| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE)
    assert [key for key, *_ in rows] == list(TemperatureSchedule.model_fields)
    for key, _, permitted, default in rows:
        field = TemperatureSchedule.model_fields[key]
        assert default == ("none" if field.default is None else f"`{field.default}`"), key
        numbers = re.search(r"from (\d+) .*?to (\d+)", field.description or "")
        if numbers:
            assert permitted == f"{numbers[1]} to {numbers[2]}", key


def test_what_the_pages_link_to_is_there() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "schedules.md"):
        for link in re.findall(r"\]\(([^):#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), link
