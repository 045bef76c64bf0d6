"""Area tables: the files that come along, and the lookup of a processing element."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tightc.accelerator.area_table import AreaTable
from tightc.config.yaml import parse_options, read_options
from tightc.errors import ConfigError, OptionError

FOLDER = Path(__file__).parents[2] / "configs" / "area"


def figures(area: float) -> dict[str, Any]:
    found = {f"{kind}area": f"{area} um2" for kind in ("", "fastest_", "smallest_")}
    return (
        found | {f"{kind}delay": "1.5 ns" for kind in ("", "fastest_", "smallest_")} | {"source": "made up"}
    )


def element(fan_in: int, area: float, **form: Any) -> dict[str, Any]:
    plain = {"fan_in": fan_in, "lane_register": True, "multiplexer": "tree", "shadow": False}
    energies = {"used": "0.7 pJ", "idle": "0.5 pJ", "load": "0.6 pJ"}
    return plain | figures(area) | energies | form


def table(**changes: Any) -> str:
    names = (
        "feeder_input",
        "shadow_feeder_input",
        "accumulator",
        "requantizer",
        "controller",
        "step_counter",
    )
    values = {
        "name": "made-up",
        "node": "45 nm",
        "voltage": "1.1 V",
        "clock": "1.5 ns",
        "command": "none",
        "tools": "none",
        "pes": [
            element(1, 100),
            element(4, 140),
            element(8, 180),
            element(1, 90, lane_register=False),
            element(4, 100, lane_register=False),
            element(4, 130, multiplexer="one-hot"),
            element(4, 160, shadow=True),
            element(4, 70, subword_bits=4),
        ],
        "banks": [{"banks": 32} | figures(10)],
        **{name: figures(10) for name in names},
    }
    return yaml.safe_dump(values | changes, sort_keys=False)


def made_up() -> AreaTable:
    return parse_options(table(), "a.yaml", AreaTable)


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_the_files_that_come_along_load_and_read_back(path: Path) -> None:
    found = read_options(path, AreaTable)
    assert found.name == path.stem
    assert (
        parse_options(yaml.safe_dump(found.model_dump(mode="json", exclude_none=True)), "a.yaml", AreaTable)
        == found
    )


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_element_meets_the_clock(path: Path) -> None:
    found = read_options(path, AreaTable)
    for entry in (*found.pes, *found.nm, found.zero_gated):
        assert entry is not None
        assert entry.fastest_delay <= entry.delay <= found.clock
        assert entry.smallest_area <= entry.area


def test_an_element_is_found_by_its_form() -> None:
    found = made_up()
    assert found.pe(1).area == 100
    assert found.pe(4).area == 140
    assert found.pe(4, lane_register=False).area == 100
    assert found.pe(4, multiplexer="one-hot").area == 130
    assert found.pe(4, shadow=True).area == 160
    assert found.pe(4, subword_bits=4).area == 70
    assert found.pe(1, multiplexer="one-hot").area == 100, "one input needs no multiplexer"


def test_a_fan_in_between_takes_the_next_larger_element() -> None:
    assert [made_up().pe(fan_in).area for fan_in in (2, 3, 5, 8)] == [140, 140, 180, 180]


def test_a_form_that_the_table_lacks_is_one_sentence() -> None:
    with pytest.raises(OptionError) as caught:
        made_up().pe(16, shadow=True)
    assert str(caught.value) == (
        "area table made-up: expected a form of the processing element that it holds, got fan-in 16 "
        "(tree, shadow weights); give another fan-in or form, or another table"
    )
    with pytest.raises(OptionError, match=r"got fan-in 8 \(tree, subwords\)"):
        made_up().pe(8, subword_bits=4)


@pytest.mark.parametrize(
    ("columns", "group", "expected"),
    [
        (8, 1, 140.0),
        (8, 8, (140 + 7 * 100) / 8),
        (8, 4, (2 * 140 + 6 * 100) / 8),
        (8, 3, (2 * 140 + 6 * 100) / 8),
        (8, 9, 100.0),
    ],
)
def test_a_row_mixes_elements_with_and_without_lane_registers(
    columns: int, group: int, expected: float
) -> None:
    registers = sum(column % group == group - 1 for column in range(columns))  # as array.sv places them
    assert expected == (registers * 140 + (columns - registers) * 100) / columns
    assert made_up().pe_area(4, columns, group) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pes": []},
            "a.yaml:7: pes: expected forms of the processing element, got []; give a non-empty list",
        ),
        (
            {"clock": "1.5"},
            "clock: expected clock that every processing element meets, from 0.001 ps to 1e9 ns, such as 1.7 ns, got",
        ),
        (
            {"accumulator": figures(0)},
            "accumulator.area: expected area at the table's clock, from 1e-6 um2 to 1e6 mm2, such as",
        ),
        (
            {"pes": [element(0, 10)]},
            "pes.0.fan_in: expected inputs of its multiplexer, from 1 to 32767, got 0",
        ),
        (
            {"pes": [element(4, 10, multiplexer="wide")]},
            "pes.0.multiplexer: expected 'tree' or 'one-hot', got 'wide'; give one of them",
        ),
    ],
)
def test_wrong_values_name_the_line_and_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(table(**changes), "a.yaml", AreaTable)
    assert message in str(caught.value)
