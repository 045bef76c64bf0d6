"""What the page says bounds the layers."""

from __future__ import annotations

from pathlib import Path

import pytest

import tightc
from helpers import models
from helpers.report_pages import Page, save

pytest.importorskip("altair", reason="needs altair: pip install 'tightc[report]'")


def bounds(model: tightc.Model, path: Path, **options: object) -> str:
    tightc.write_report(model, path, **options)  # type: ignore[arg-type]
    return str(Page(path.read_text(encoding="utf-8")).all("section", id="bounds")[0]["text"])


def test_the_share_of_cycles_in_which_vectors_stream(tmp_path: Path) -> None:
    model = save(models.cnn(), tmp_path / "net.onnx")
    counts: dict[str, int] = {}
    for tile in tightc.tiles(model):
        counts[tile.layer] = counts.get(tile.layer, 0) + 1
    # M of the two convolutions on 8x8 pixels, the second with stride 2 and without padding, and of the Gemm
    vectors = {"first": 64, "second": 9, "last": 1}
    share = sum(counts[name] * vectors[name] for name in counts) / tightc.simulate(model).cycles
    assert f"Vectors stream in {100 * share:.1f} % of the cycles" in bounds(model, tmp_path / "page.html")
    assert "Vectors stream" not in bounds(model, tmp_path / "page.html", arrays=2)
    assert "the array alone bounds" in bounds(model, tmp_path / "page.html")


def test_layers_below_the_roof_of_dram(tmp_path: Path) -> None:
    hardware = Path(__file__).parents[2] / "configs" / "hardware" / "tight-32x32.yaml"
    model = save(models.cnn(), tmp_path / "net.onnx", array="32x32", fan_in=8)
    report = tightc.simulate(model, hardware=hardware)
    text = bounds(model, tmp_path / "page.html", hardware=hardware)
    below = sum(row["roof"] == "dram" for row in report.layers)
    assert f"Of 3 layers {below} lie below the roof of DRAM" in text
    assert f"{100 * report.stall_cycles / report.cycles:.1f} % of the cycles are stalls" in text
