"""The report page without a browser: its figures, its matrices and tiles, and what it refuses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import tightc
from helpers import models
from helpers.report_pages import ARRAY, HOSTILE, QUICK, Page, hostile, integers, long_layer, save, slots

ROOT = Path(__file__).parents[2]
HARDWARE = ROOT / "configs" / "hardware" / "tight-32x32.yaml"
pytest.importorskip("altair", reason="needs altair: pip install 'tightc[report]'")


def written(sources: object, path: Path, **options: object) -> Page:
    tightc.write_report(sources, path, **options)  # type: ignore[arg-type]
    return Page(path.read_text(encoding="utf-8"))


def weights_of(path: Path) -> dict[str, np.ndarray]:
    """The weights of a file as onnx reads them, as matrices with a row for each filter."""
    proto = onnx.load(path)
    return {
        tensor.name: numpy_helper.to_array(tensor).reshape(tensor.dims[0], -1)
        for tensor in proto.graph.initializer
        if len(tensor.dims) > 1
    }


@pytest.mark.parametrize("proto", [models.cnn(), models.grouped()], ids=["cnn", "grouped"])
def test_matrices_and_tiles_are_those_of_the_file(tmp_path: Path, proto: onnx.ModelProto) -> None:
    model = save(proto, tmp_path / "net.onnx")
    page = written(model, tmp_path / "page.html")
    matrices = list(weights_of(tmp_path / "net.onnx").values())
    assert len(page.layers) == len(matrices)
    for layer, matrix in zip(page.layers, matrices, strict=True):
        assert (layer["filters"], layer["inputs"]) == matrix.shape
        cells = integers(layer["matrix"]["counts"])
        assert cells == (matrix != 0).astype(int).ravel().tolist()
        first = [f // (len(matrix) // layer["groups"]) * matrix.shape[1] for f in range(len(matrix))]
        expected = sorted((int(f), first[f] + int(k)) for f, k in np.argwhere(matrix))
        assert sorted(slot for tile in slots(layer["tiles"]) for slot in tile) == expected
        assert layer["tiles"]["count"] == len(slots(layer["tiles"]))


def test_tiles_are_those_of_the_api(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    page = written(model, tmp_path / "page.html")
    names = [row["name"] for row in tightc.simulate(model).layers]
    for layer in page.layers:
        expected = []
        for tile in tightc.tiles(model):
            if tile.layer == names[layer["layer"]]:
                found = tile.slot_inputs()
                lanes, columns = np.nonzero(found >= 0)
                expected.append(
                    [
                        (int(tile.filters[c]), int(found[lane, c]))
                        for lane, c in zip(lanes, columns, strict=True)
                    ]
                )
        assert slots(layer["tiles"]) == expected


def test_a_large_matrix_is_counted_in_blocks(tmp_path: Path) -> None:
    model = tightc.load(models.save(long_layer(600, 3000, 0.05), tmp_path / "net.onnx"))
    (layer,) = written(model, tmp_path / "page.html").layers
    weight = numpy_helper.to_array(onnx.load(tmp_path / "net.onnx").graph.initializer[0]).T
    matrix = layer["matrix"]
    high, wide = matrix["filtersOfCell"], matrix["inputsOfCell"]
    counts = np.array(integers(matrix["counts"])).reshape(matrix["height"], matrix["width"])
    assert (high, wide) == (2, 3)
    for y, x in [(0, 0), (17, 401), (299, 999)]:
        block = weight[y * high : (y + 1) * high, x * wide : (x + 1) * wide]
        assert counts[y, x] == np.count_nonzero(block)
    assert counts.sum() == np.count_nonzero(weight)


def test_the_page_holds_the_first_tiles_of_a_layer_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    whole = written(model, tmp_path / "page.html").layers
    monkeypatch.setattr("tightc.report_page.page.MOST_SLOTS", 60)
    cut = written(model, tmp_path / "page.html").layers
    assert [layer["tiles"]["count"] for layer in cut] == [layer["tiles"]["count"] for layer in whole]
    for before, after in zip(whole, cut, strict=True):
        kept = slots(after["tiles"])
        assert kept == slots(before["tiles"])[: len(kept)]
    assert any(len(slots(layer["tiles"])) < layer["tiles"]["count"] for layer in cut)


def test_a_layer_of_the_largest_shape_of_resnet50_takes_less_than_a_megabyte(tmp_path: Path) -> None:
    model = save(long_layer(512, 4608, 0.1), tmp_path / "net.onnx", array="32x32", fan_in=16)
    written(model, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 1_000_000


def test_figures_are_those_of_simulate(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    page = written(model, tmp_path / "page.html")
    report = tightc.simulate(model)
    values = [element["text"].strip() for element in page.all("p", _class="value")]
    assert values[:3] == [f"{report.speedup:.2f}x", f"{report.energy_gain:.2f}x", f"{report.passes}"]
    head, *rows = page.table(id="layer-table")
    assert [row[0] for row in rows] == [row.name for row in report.layers]
    column = head.index("cycles")
    assert [int(row[column].replace(",", "")) for row in rows] == [row.cycles for row in report.layers]
    column = head.index("speedup")
    assert [row[column] for row in rows] == [f"{row.speedup:.2f}x" for row in report.layers]


def test_same_input_same_bytes(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    for name in ("one.html", "two.html"):
        tightc.write_report(model, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_nothing_of_the_page_is_elsewhere(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    page = written(model, tmp_path / "page.html")
    for element in page.elements:
        assert element["tag"] not in ("link", "img", "iframe", "object", "base", "form")
        assert "src" not in element
        assert str(element.get("href", "#")).startswith("#")
    style = "".join(element["text"] for element in page.all("style"))
    assert "url(" not in style and "@import" not in style


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    model = save(hostile(), tmp_path / "net.onnx")
    page = written(model, tmp_path / "page.html")
    assert len(page.all("script")) == 2 and not page.all("img")
    assert HOSTILE in [row[0] for row in page.table(id="layer-table")]
    assert len(page.layers) == 3


def test_a_model_without_tiles(tmp_path: Path) -> None:
    page = written(tightc.load(models.save(models.cnn(), tmp_path / "net.onnx")), tmp_path / "page.html")
    assert [layer["tiles"] for layer in page.layers] == [None] * 3
    assert page.all("p", _class="value")[0]["text"].strip() == "1.00x"


def test_layers_that_are_named_have_their_tiles_on_the_page(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    page = written(model, tmp_path / "page.html", layer=["last", "first"])
    assert [layer["layer"] for layer in page.layers] == [0, 2]
    embedded = page.all("p", id="embedded")[0]["text"]
    assert "--layer named: first, last" in embedded


def test_the_page_says_which_layers_it_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tightc.report_page.page.MOST_LAYERS", 2)
    model = save(models.cnn(), tmp_path / "net.onnx")
    page = written(model, tmp_path / "page.html")
    rows = sorted(tightc.simulate(model).layers, key=lambda row: -row.cycles)[:2]
    text = page.all("p", id="embedded")[0]["text"]
    assert "the 2 layers with most cycles" in text and all(row.name in text for row in rows)
    assert len(page.layers) == 2


def test_two_models(tmp_path: Path) -> None:
    plain = tightc.load(models.save(models.cnn(), tmp_path / "plain.onnx"))
    model = save(models.cnn(), tmp_path / "net.onnx")
    page = written([plain, model], tmp_path / "page.html", array=ARRAY)
    cycles = [tightc.simulate(one, array=ARRAY).cycles for one in (plain, model)]
    assert f"A takes {cycles[0]:,} cycles" in page.all("p", _class="comparison")[0]["text"]
    head, *rows = page.table(id="layer-table")
    columns = [number for number, title in enumerate(head) if re.match(r"cycles\s+[AB]", title)]
    assert [sum(int(row[c].replace(",", "")) for row in rows) for c in columns] == cycles
    assert [layer["letter"] for layer in page.layers] == ["A", "B"] * 3


def test_buffers_area_and_roofline(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx", array="32x32", fan_in=8)
    area = ROOT / "configs" / "area" / "sg13g2.yaml"
    page = written(model, tmp_path / "page.html", hardware=HARDWARE, area=area)
    titles = [element["text"] for element in page.all("figcaption")]
    assert {"Roofline", "Area by part", "Energy by part"} <= set(titles)
    titles = [element["text"] for element in written(model, tmp_path / "page.html").all("figcaption")]
    assert "Roofline" not in titles and "Area by part" not in titles


# --- runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of a recipe without data."""
    models.save(models.cnn(), tmp_path / "net.onnx")
    steps = f"  - prune: {{sparsity: 0.6}}\n  - permute: {{array: {ARRAY}, fan_in: 4, method: first-fit}}\n"
    (tmp_path / "r.yaml").write_text(
        f"model: net.onnx\nstages:\n{steps}  - pack\n  - simulate: {{arrays: 2}}\n"
    )
    tightc.run_recipe(tmp_path / "r.yaml", tmp_path / "run")
    return tmp_path / "run"


def test_a_run_has_its_stages_and_its_accelerator(folder: Path, tmp_path: Path) -> None:
    page = written(folder, tmp_path / "page.html")
    _, *rows = page.table(_class="stages")
    assert [row[0] for row in rows] == ["dense", "prune", "permute", "pack", "simulate"]
    assert rows[1][-1] == "sparsity 0.6" and "array 8x4" in rows[2][-1]
    records = [json.loads((folder / name).read_text()) for name in ("03-pack.json", "03-simulate.json")]
    head = page.table(_class="stages")[0]
    assert rows[3][head.index("cycles")] == f"{records[0]['row']['cycles']:,}"
    report = tightc.simulate(tightc.load(folder / "03-pack.onnx"), arrays=2)
    assert page.all("p", _class="value")[0]["text"].strip() == f"{report.speedup:.2f}x"
    assert records[1]["report"]["totals"]["speedup"] == report.speedup


def test_the_accuracy_is_the_last_of_the_run_and_says_of_which_images(tmp_path: Path) -> None:
    example = tightc.examples()
    head = f"model: {example / 'digits.onnx'}\ndata: {{data: {example / 'digits.npz'}, validation: 200}}\n"
    steps = "  - prune: {sparsity: 0.3}\n  - permute: {array: 16x16, method: first-fit}\n"
    (tmp_path / "r.yaml").write_text(f"{head}stages:\n{steps}")
    report = tightc.run_recipe(tmp_path / "r.yaml", tmp_path / "run")
    page = written(tmp_path / "run", tmp_path / "page.html")
    values, details = (
        [element["text"].strip() for element in page.all("p", _class=name)] for name in ("value", "detail")
    )
    last = report.layers[-1]
    assert values[2] == f"{last.accuracy:.2f} %"
    side = "above" if last.accuracy_drop < 0 else "below"
    assert details[2] == f"{abs(last.accuracy_drop):.2f} points {side} dense on the validation split"


def test_a_model_has_its_history(tmp_path: Path) -> None:
    pruned = tightc.prune(tightc.load(models.save(models.cnn(), tmp_path / "net.onnx")), sparsity=0.4).model
    tightc.save(tightc.permute(pruned, **QUICK).model, tmp_path / "net.onnx")  # type: ignore[arg-type]
    page = written(tightc.load(tmp_path / "net.onnx"), tmp_path / "page.html")
    head, *rows = page.table(_class="stages")
    assert head == ["stage", "options"]
    assert rows == [["prune", "sparsity 0.4"], ["permute", "array 8x4, fan in 4, method first-fit"]]


def test_options_of_the_hardware_take_the_place_of_the_runs(folder: Path, tmp_path: Path) -> None:
    page = written(folder, tmp_path / "page.html", arrays=1)
    report = tightc.simulate(tightc.load(folder / "03-pack.onnx"), arrays=1)
    detail = page.all("p", _class="detail")[0]["text"]
    assert detail == f"{report.dense_cycles:,} → {report.cycles:,} cycles"


def test_annealing_is_drawn_where_the_run_recorded_it(folder: Path, tmp_path: Path) -> None:
    assert not written(folder, tmp_path / "page.html").all("section", id="annealing")
    path = folder / "02-permute.json"
    record = json.loads(path.read_text())
    curve = {"moves": [0, 100, 200], "cost": [80.0, 40.5, 40.0], "excess": [9, 1, 0]}
    record["report"]["layers"][1]["annealing"] = curve
    path.write_text(json.dumps(record))
    assert written(folder, tmp_path / "page.html").all("section", id="annealing")
    record["report"]["layers"][1]["annealing"] = {**curve, "cost": [80.0, "</script>", 40.0]}
    path.write_text(json.dumps(record))
    assert not written(folder, tmp_path / "page.html").all("section", id="annealing")


def test_a_run_that_was_ended_shows_its_last_model(folder: Path, tmp_path: Path) -> None:
    for name in ("03-pack.json", "03-pack.onnx", "03-simulate.json"):
        (folder / name).unlink()
    page = written(folder, tmp_path / "page.html")
    assert [row[0] for row in page.table(_class="stages")[1:]] == ["dense", "prune", "permute"]
    assert any("Not run yet: 03-pack, 03-simulate" in element["text"] for element in page.all("p"))


# --- baselines


def test_baselines_of_a_compare_file(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    report = tightc.compare(model, method=("dense", "nm"), array=ARRAY)
    (tmp_path / "c.json").write_text(json.dumps(report.to_dict()))
    page = written(model, tmp_path / "page.html", compare=str(tmp_path / "c.json"))
    section = page.all("section", id="baselines")[0]["text"]
    assert all(row["variant"] in section and f"{row.cycles:,}" in section for row in report.layers)
    assert not page.all("p", _class="warning")
    other = written(model, tmp_path / "page.html", compare=str(tmp_path / "c.json"), arrays=2)
    assert "arrays 1" in other.all("p", _class="warning")[0]["text"]


def _variant(**changes: Any) -> str:
    row = {"variant": "a", "passes": 1, "cycles": 1, "speedup": 1, "energy_gain": 1, **changes}
    return json.dumps({"schema": "tightc.compare/2", "layers": [row], "totals": {}})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "what is not JSON"),
        ("[" * 100_000, "what is not JSON"),
        ("[]", "a file without its schema"),
        ('{"schema": "tightc.simulate/2"}', "the schema 'tightc.simulate/2'"),
        (_variant(speedup=10**400), "000 as the speedup of a"),
        (_variant(model={"x": 1}), "{'x': 1} as the model of a"),
        ('{"schema": "tightc.compare/2", "layers": [], "totals": {}}', "one without variants"),
        ('{"schema": "tightc.compare/2", "layers": [{}], "totals": {}}', "a variant without a name"),
        (
            '{"schema": "tightc.compare/2", "layers": [{"variant": "a", "passes": NaN}], "totals": {}}',
            "nan as the passes of a",
        ),
        (
            '{"schema": "tightc.compare/2", "layers": [{"variant": "a", "passes": "3"}], "totals": {}}',
            "'3' as the passes of a",
        ),
    ],
)
def test_compare_files_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(
        tightc.ConfigError, match="expected the JSON object of tightc compare, got "
    ) as raised:
        tightc.write_report(model, tmp_path / "page.html", compare=str(tmp_path / "c.json"))
    assert words in raised.value.sentence


def test_a_compare_file_that_is_missing(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    with pytest.raises(tightc.ConfigError, match=r"c\.json: no such file; check the path"):
        tightc.write_report(model, tmp_path / "page.html", compare=str(tmp_path / "c.json"))


# --- refusals


@pytest.mark.parametrize("module", ["altair", "jinja2", "vl_convert"])
def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(tightc.OptionError) as raised:
        tightc.write_report(model, tmp_path / "page.html")
    assert raised.value.remedy == "pip install 'tightc[report]'"
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("layer", "remedy"), [("firs", "did you mean first?"), ("zzz", "give one of first, second, last")]
)
def test_a_layer_that_is_none(tmp_path: Path, layer: str, remedy: str) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    with pytest.raises(tightc.OptionError, match=f"expected the name of a layer, got '{layer}'") as raised:
        tightc.write_report(model, tmp_path / "page.html", layer=[layer])
    assert raised.value.remedy == remedy


@pytest.mark.parametrize("count", [0, 3])
def test_one_or_two_models(tmp_path: Path, count: int) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    with pytest.raises(tightc.OptionError, match=f"expected one or two models or runs, got {count}"):
        tightc.write_report([model] * count, tmp_path / "page.html")


def test_what_is_neither_a_model_nor_a_path(tmp_path: Path) -> None:
    with pytest.raises(tightc.OptionError, match="sources: expected a Model, got int"):
        tightc.write_report([3], tmp_path / "page.html")  # type: ignore[list-item]


def test_hardware_that_the_tiles_do_not_fit(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx", **QUICK)
    with pytest.raises(tightc.OptionError, match="expected 8x4, the array that the model was permuted for"):
        tightc.write_report(model, tmp_path / "page.html", array="16x16")
