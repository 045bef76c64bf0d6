"""Charts: every mark of an SVG is a row of the report, with its value and a length in proportion; files are whole."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import SMALL, hardware
from tightc.comparison.compare import compare
from tightc.comparison.options import CompareOptions
from tightc.errors import OptionError, OutputError
from tightc.permutation.permute import permute
from tightc.plots.energy import COLORS
from tightc.plots.report_chart import report_chart
from tightc.plots.save import check_plot, save_chart
from tightc.report import Report
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

Mark = dict[str, str]


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    model = loaded(models.cnn())
    permuted, report = permute(model, SMALL, seed=2)
    options = CompareOptions(
        array=SMALL.array, fan_in=(3,), alpha=3, gamma=(0.5,), temp_schedule=SMALL.temp_schedule, jobs=1
    )
    return {
        "permute": report,
        "simulate": simulate(permuted, SimulateOptions(hardware=hardware())),
        "compare": compare([model], options),
    }


def drawn(stage: str, rows: Sequence[Mapping[str, Any]], folder: Path) -> ElementTree.Element:
    path = folder / f"{stage}.svg"
    save_chart(report_chart(stage, rows), path)
    return ElementTree.fromstring(path.read_text(encoding="utf-8"))


def marks(svg: ElementTree.Element, kind: str) -> list[Mark]:
    """What each mark of a kind says to screen readers, key by key, with its color and its length in `d`."""
    found = []
    for element in svg.iter():
        if element.get("aria-roledescription") == kind:
            label = dict(part.rsplit(": ", 1) for part in (element.get("aria-label") or "").split("; "))
            found.append({**label, "fill": element.get("fill", ""), "d": element.get("d", "")})
    return found


def length(mark: Mark) -> float:
    """Of a bar, from its path: M x,y h width v height ..."""
    matched = re.fullmatch(r"M[\d.e-]+,[\d.e-]+h([\d.e-]+)v.*", mark["d"])
    assert matched, mark["d"]
    return float(matched[1])


def texts(svg: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()) for element in svg.iter() if element.tag.endswith("}text")]


def in_proportion(bars: Sequence[tuple[float, float]]) -> bool:
    """Whether lengths are a multiple of the values."""
    scale = sum(size for size, _ in bars) / sum(value for _, value in bars)
    return all(size == pytest.approx(scale * value, rel=1e-3, abs=1e-6) for size, value in bars)


def test_cycles_and_energy_are_those_of_the_rows(reports: dict[str, Report], tmp_path: Path) -> None:
    rows = reports["simulate"].layers
    svg = drawn("simulate", rows, tmp_path)
    bars = marks(svg, "bar")
    cycles = [bar for bar in bars if "cycles" in bar]
    assert {(bar["layer"], bar["form"]): int(bar["cycles"]) for bar in cycles} == {
        (row["name"], form): row[key]
        for row in rows
        for form, key in (("dense", "dense_cycles"), ("as it is", "cycles"))
    }
    assert len(cycles) == 2 * len(rows)
    assert in_proportion([(length(bar), float(bar["cycles"])) for bar in cycles])
    energies = [bar for bar in bars if "part" in bar]
    wanted = {
        (row["name"], form, part): picojoule
        for row in rows
        for form, key in (("dense", "dense_energy_parts_pj"), ("as it is", "energy_parts_pj"))
        for part, picojoule in row[key].items()
        if picojoule
    }
    (title,) = {key for bar in energies for key in bar if key.startswith("energy")}
    unit = {"energy (uJ)": 1e6, "energy (nJ)": 1e3}[title]
    assert 1 <= max(max(row["energy_pj"], row["dense_energy_pj"]) for row in rows) / unit < 1000
    found = {(bar["layer"], bar["form"], bar["part"]): unit * float(bar[title]) for bar in energies}
    assert len(energies) == len(found)
    assert found.keys() == wanted.keys()
    assert found == pytest.approx(wanted, rel=1e-4)  # labels have five digits or more
    assert in_proportion([(length(bar), float(bar[title])) for bar in energies])
    assert {(bar["part"], bar["fill"]) for bar in energies} == {(part, COLORS[part]) for _, _, part in wanted}
    shown = texts(svg)
    assert all(shown.count(row["name"]) == 2 for row in rows)  # on an axis of each chart
    assert all(f"{row['speedup']:.2f}x" in shown for row in rows)
    assert {"cycles", title, "layer"} <= set(shown)


def test_slots_and_curves_are_those_of_the_rows(reports: dict[str, Report], tmp_path: Path) -> None:
    rows = reports["permute"].layers
    svg = drawn("permute", rows, tmp_path)
    bars = marks(svg, "bar")
    (title,) = {key for bar in bars for key in bar} - {"layer", "fill", "d"}
    assert {bar["layer"]: float(bar[title]) for bar in bars} == pytest.approx(
        {row["name"]: 100 * row["tightness"] for row in rows}
    )
    assert in_proportion([(length(bar), float(bar[title])) for bar in bars])
    ticks = marks(svg, "tick")
    assert [float(tick["density"]) for tick in ticks] == pytest.approx([100 * row["density"] for row in rows])
    curves = [row["annealing"] for row in rows if "annealing" in row]
    assert curves
    points = sorted(
        (mark["series"], int(mark["moves"]), float(mark["inputs"])) for mark in marks(svg, "point")
        if "moves" in mark
    )  # fmt: skip
    assert points == sorted(
        (series, moves, float(value))
        for curve in curves
        for series in ("cost", "excess")
        for moves, value in zip(curve["moves"], curve[series], strict=True)
    )
    shown = texts(svg)
    for row in rows:
        assert shown.count(row["name"]) == (2 if "annealing" in row else 1)
        assert any(text.startswith(f"{row['passes']} of {row['dense_passes']} tile") for text in shown)
    assert shown.count("moves") == len(curves)
    names = [row["name"] for row in rows if "annealing" in row]
    assert [text for text in shown if text in names][-len(names) :] == names


def test_a_report_without_annealing_has_no_curves(tmp_path: Path) -> None:
    _, report = permute(loaded(models.cnn()), SMALL.model_copy(update={"method": "structured"}))
    svg = drawn("permute", report.layers, tmp_path)
    assert len(marks(svg, "bar")) == len(report.layers)
    assert "moves" not in texts(svg)


def test_methods_are_those_of_the_rows_and_lossy_ones_say_what_they_drop(
    reports: dict[str, Report], tmp_path: Path
) -> None:
    rows = reports["compare"].layers
    svg = drawn("compare", rows, tmp_path)
    bars = marks(svg, "bar")
    for key, title in (("speedup", "speedup over dense (x)"), ("energy_gain", "energy gain over dense (x)")):
        values = [(bar["method"], float(bar[title])) for bar in bars if title in bar]
        names = [
            row["variant"]
            + (f" (drops {row['dropped_weights']:,} weights)" if row["dropped_weights"] else "")
            for row in rows
        ]
        assert values == [(name, pytest.approx(row[key])) for name, row in zip(names, rows, strict=True)]
        assert in_proportion([(length(bar), float(bar[title])) for bar in bars if title in bar])
    assert len(bars) == 2 * len(rows)
    assert any(row["dropped_weights"] for row in rows)
    assert "speedup per area (x)" not in texts(svg)
    both = [{**row, "model": model, "speedup_per_area": 1.5} for model in ("a", "b") for row in rows]
    svg = drawn("compare", both, tmp_path)
    assert len(marks(svg, "bar")) == 3 * len(both)
    assert {f"a: {rows[0]['variant']}", f"b: {rows[0]['variant']}", "speedup per area (x)"} <= set(texts(svg))


def points() -> list[dict[str, Any]]:
    """Rows of explore: two of the front, one dominated, one skipped, one that does not fit."""
    heads = [("front", "8x8", 9e6), ("dominated", "8x8", 7e6), ("front", "16x16", 2e6)]
    rows: list[dict[str, Any]] = [
        {"number": number, "array": array, "status": status, "cycles": 900 - 7 * number, "energy_pj": energy}
        for number, (status, array, energy) in enumerate(heads, start=1)
    ]
    for number, status in ((4, "skipped"), (5, "unfit")):
        rows.append({"number": number, "array": "4x4", "status": status, "cycles": None, "energy_pj": None})
    return rows


def test_points_are_those_that_were_evaluated_and_the_front_has_numbers(tmp_path: Path) -> None:
    rows = points()
    svg = drawn("explore", rows, tmp_path)
    known = rows[:3]
    found = {int(mark["point"]): mark for mark in marks(svg, "point")}
    assert {
        number: (mark["array"], mark["status"], int(mark["cycles"]), float(mark["energy (uJ)"]))
        for number, mark in found.items()
    } == {
        row["number"]: (row["array"], row["status"], row["cycles"], row["energy_pj"] / 1e6) for row in known
    }
    fills = [found[number]["fill"] for number in (1, 2, 3)]
    assert fills[1] == "" and len(set(fills)) == 3
    shown = texts(svg)
    assert {"1", "3", "8x8", "16x16"} <= set(shown) and not {"4x4", "area (mm2)"} & set(shown)
    assert len(shown) == len(texts(drawn("explore", known, tmp_path)))
    svg = drawn("explore", [{**row, "area_mm2": 0.25 * row["number"]} for row in known], tmp_path)
    areas = {
        int(mark["point"]): float(mark["area (mm2)"]) for mark in marks(svg, "point") if "area (mm2)" in mark
    }
    assert areas == {1: 0.25, 2: 0.5, 3: 0.75}


def test_without_a_point_the_axes_are_empty(tmp_path: Path) -> None:
    assert not marks(drawn("explore", points()[3:], tmp_path), "point")


def test_layers_have_the_names_of_the_tables(reports: dict[str, Report], tmp_path: Path) -> None:
    for stage in ("permute", "simulate"):
        rows = [{**row, "label": f"module{number}"} for number, row in enumerate(reports[stage].layers)]
        shown = texts(drawn(stage, rows, tmp_path))
        assert all(row["label"] in shown and row["name"] not in shown for row in rows)


def many_layers(rows: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    return [
        {**rows[i % len(rows)], "label": f"features.{i}.block.{i % 7}.convolution_with_a_long_name"}
        for i in range(count)
    ]


@pytest.mark.parametrize("stage", ["permute", "simulate"])
def test_the_names_of_fifty_layers_do_not_touch(
    reports: dict[str, Report], tmp_path: Path, stage: str
) -> None:
    rows = many_layers(reports[stage].layers, 50)
    path = tmp_path / "many.svg"
    save_chart(report_chart(stage, rows), path)
    svg = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    heights = []
    for group in svg.iter():
        if "role-axis-label" in (group.get("class") or ""):
            labels = [text for text in group if "".join(text.itertext()).startswith("features.")]
            places = [float(re.findall(r"[\d.]+", text.get("transform") or "")[1]) for text in labels]
            heights += [after - before for before, after in pairwise(places)]
            assert all(int(float((text.get("font-size") or "0").rstrip("px"))) >= 10 for text in labels)
    assert len(heights) == 49 * (2 if stage == "simulate" else 1)
    assert min(heights) >= 12  # more than a line of text
    assert all(row["label"] in texts(svg) for row in rows)


def test_the_same_rows_give_the_same_svg(reports: dict[str, Report], tmp_path: Path) -> None:
    for stage, report in reports.items():
        for name in ("one.svg", "two.svg"):
            save_chart(report_chart(stage, report.layers), tmp_path / name)
        assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize("name", ["chart.png", "chart.PNG", "chart.pdf"])
def test_png_and_pdf_are_what_they_are_called(reports: dict[str, Report], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save_chart(report_chart("compare", reports["compare"].layers), path)
    content = path.read_bytes()
    if name.lower().endswith("png"):
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            assert image.format == "PNG" and min(image.size) > 200
            assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    else:
        assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")


@pytest.mark.parametrize(
    ("name", "ending"), [("chart.jpg", ".jpg"), ("chart", "none"), ("chart.svg.gz", ".gz")]
)
def test_another_suffix_is_refused(tmp_path: Path, name: str, ending: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_plot(tmp_path / name)
    assert caught.value.sentence == f"{tmp_path / name}: expected the suffix .svg, .png or .pdf, got {ending}"
    assert caught.value.remedy == "end the name of the file in one of them"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        check_plot(tmp_path / "no" / "chart.svg")


@pytest.mark.parametrize("missing", ["altair", "vl_convert"])
def test_without_the_extra_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(OptionError) as caught:
        check_plot(tmp_path / "chart.svg")
    assert caught.value.sentence == ("a plot needs altair and vl-convert-python, which are not installed")
    assert caught.value.remedy == "pip install 'tightc[report]'"
