"""Keys of banks in a hardware file: what they mean, and a sentence for each wrong combination."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from helpers.small_accelerator import HARDWARE
from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.bank_network import BankNetwork
from tightc.accelerator.hardware import Hardware
from tightc.config.yaml import parse_options, read_options
from tightc.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "configs" / "hardware"


def parsed(keys: dict[str, object], **changes: object) -> Hardware:
    values = {**HARDWARE, **changes, "activation_buffer": {**HARDWARE["activation_buffer"], **keys}}
    return parse_options(yaml.safe_dump(values, sort_keys=False), "h.yaml", Hardware)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, None),
        ({"banks": 5}, BankNetwork(5)),
        ({"banks": 5, "lane_reach": 5}, BankNetwork(5)),
        ({"banks": 8, "lane_reach": 2}, BankNetwork(8, groups=8, window=2)),
        ({"banks": 4, "lane_reach": 1}, BankNetwork(4, groups=4, window=1)),
        ({"banks": 32, "lane_reach": 8}, BankNetwork(32, groups=8, window=2)),
        ({"banks": 32, "lane_reach": 4}, BankNetwork(32, groups=8, window=1)),
    ],
)
def test_keys_reach_the_accelerator(keys: dict[str, object], expected: BankNetwork | None) -> None:
    found = Accelerator.of(parsed(keys)).bank_network
    assert found == expected
    if found:
        assert found.reach == keys.get("lane_reach", keys["banks"])
        assert found.rotations == keys["banks"] // found.reach


def test_the_files_that_come_along_have_no_banks() -> None:
    for path in FOLDER.iterdir():
        accelerator = Accelerator.of(read_options(str(path), Hardware))
        assert accelerator.bank_network is None


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"lane_reach": 2},
            "activation_buffer.banks: expected at least the lane_reach of 2, got none; give more banks, or leave "
            "lane_reach out",
        ),
        (
            {"banks": 8, "lane_reach": 16},
            "activation_buffer.banks: expected at least the lane_reach of 16, got 8; give more banks, or leave "
            "lane_reach out",
        ),
        (
            {"banks": 12, "lane_reach": 4},
            "activation_buffer.banks: expected a multiple or a divisor of the array's 8 rows beside lane_reach, got "
            "12; give another number of banks, or leave lane_reach out",
        ),
        (
            {"banks": 8, "lane_reach": 3},
            "activation_buffer.lane_reach: expected a divisor of the 8 banks that is a multiple of 1 (banks / rows), "
            "got 3; give 1 times a divisor of 8, or leave lane_reach out",
        ),
        (
            {"banks": 32, "lane_reach": 2},
            "activation_buffer.lane_reach: expected a divisor of the 32 banks that is a multiple of 4 (banks / rows), "
            "got 2; give 4 times a divisor of 8, or leave lane_reach out",
        ),
        (
            {"banks": 0},
            "activation_buffer.banks: expected banks that each give a word in a cycle, from 1 to 4096, got 0; give a "
            "number of at least 1",
        ),
    ],
)
def test_wrong_keys_get_one_sentence(keys: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(keys)
    assert caught.value.exit_code == 2
    assert str(caught.value).partition(": ")[2] == sentence
