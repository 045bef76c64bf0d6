"""The picture of a tile is drawn from a real packing, the same bytes each time."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np

import draw_tile
from tightc.tile.packing import EMPTY


def test_the_picture_is_up_to_date() -> None:
    assert draw_tile.main(["--check"]) == 0


def test_the_picture_shows_the_first_tile_of_the_packing() -> None:
    matrix, packing = draw_tile.example()
    tile = packing.tiles[0]
    svg = draw_tile.draw(matrix, packing)
    texts = [
        "".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")
    ]
    weights = [text for text in texts if re.fullmatch(r"-?\d\.\d\d", text)]
    filters, inputs = tile.slots()
    assert weights == [f"{value:.2f}" for value in matrix.values[filters, inputs]]
    assert [text for text in texts if text.startswith("f") and text[1:].isdigit()] == [
        f"f{n}" for n in tile.filters
    ]
    used = np.count_nonzero(tile.select != EMPTY)
    assert f"tightness: {used} of {tile.area} slots = {used / tile.area:.2f}" in texts


def test_another_picture_is_noticed(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(draw_tile, "DRAWING", tmp_path / "images" / "tile.svg")
    assert draw_tile.main(["--check"]) == 1
    assert draw_tile.main([]) == 0
    assert draw_tile.main(["--check"]) == 0
