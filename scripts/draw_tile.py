"""Draws docs/images/tile.svg: a tile of a real packing beside the rows of the layer matrix that it holds.

    python scripts/draw_tile.py [--check]

The layer is conv2 of the embedded example, pruned to a tenth and packed for an 8x8 array with a fan-in of 4. The same
version gives the same bytes. With --check nothing is written, and exit code 1 says that the file is out of date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tightc.example import RECIPE
from tightc.files import write_file_atomically
from tightc.model.file import load_model
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing, Tile

DRAWING = Path(__file__).resolve().parents[1] / "docs" / "images" / "tile.svg"
ARRAY, FAN_IN, WEIGHT = ArrayShape(8, 8), 4, "conv2.weight"

_COLORS = ("#bfd7ea", "#f6d7a7", "#c8e3c0", "#e6c5dc")  # for the inputs of a lane, in their order
_DOT, _CELL, _LEFT, _TOP = 4, 40, 190, 60
_STYLE = (
    "text{font-family:sans-serif;font-size:12px;fill:#222}.small{font-size:10px}.bold{font-weight:bold}"
    ".mid{text-anchor:middle}.end{text-anchor:end}"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 where --check finds another drawing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args(arguments).check
    svg = draw(*example())
    if not check:
        DRAWING.parent.mkdir(parents=True, exist_ok=True)
        write_file_atomically(DRAWING, svg)
        return 0
    if DRAWING.exists() and DRAWING.read_bytes() == svg:
        return 0
    print(f"{DRAWING}: out of date; run python scripts/draw_tile.py", file=sys.stderr)
    return 1


def example() -> tuple[LayerMatrix, Packing]:
    """A layer of the embedded example and its packing."""
    pruned, _ = prune(load_model(RECIPE.parent / "digits.onnx"), PruneOptions(sparsity=0.9))
    permuted, _ = permute(pruned, PermuteOptions(array=ARRAY, fan_in=FAN_IN), seed=0)
    network = read_network(permuted)
    (layer,) = (layer for layer in network.owners if layer.weight == WEIGHT)
    return layer_matrix(network, layer, None), read_packings(permuted)[WEIGHT]


def draw(matrix: LayerMatrix, packing: Packing) -> bytes:
    """The first tile of `packing` under the rows of `matrix` that it takes weights from."""
    tile = packing.tiles[0]
    filters = [int(number) for number in dict.fromkeys(tile.filters.tolist())]
    rows = _rows(matrix, tile, filters)
    below = _TOP + len(filters) * (_DOT + 2) + 60
    width = _LEFT + max(matrix.inputs * _DOT, tile.columns * _CELL) + 40
    height = below + tile.lanes * _CELL + 70
    body = [*rows, *_grid(matrix, tile, below), *_legend(tile, below)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="A tile and the rows of the layer matrix that it holds">'
    )
    lines = [head, f"<style>{_STYLE}</style>", _rect(0, 0, width, height, "#ffffff"), *body, "</svg>"]
    return ("\n".join(lines) + "\n").encode()


def _rows(matrix: LayerMatrix, tile: Tile, filters: Sequence[int]) -> list[str]:
    """The filters of the tile over all inputs: dark in this tile, gray in another, light where a weight is zero."""
    here = set(zip(*(ids.tolist() for ids in tile.slots()), strict=True))
    nonzeros = int(np.count_nonzero(matrix.values[filters]))
    size = len(filters) * matrix.inputs
    lines = [
        _text(10, 20, "Layer matrix", "bold"),
        _text(10, 36, f"{len(filters)} of {matrix.filters} filters,"),
        _text(10, 52, f"{matrix.inputs} inputs"),
        _text(
            _LEFT,
            20,
            f"{nonzeros} of {size:,} weights are not zero; {len(here)} of them are in this tile (dark).",
        ),
        _text(_LEFT, 36, "An ordinary array loads the zeros, too."),
    ]
    for place, row in enumerate(filters):
        top = _TOP + place * (_DOT + 2)
        lines.append(_rect(_LEFT, top, matrix.inputs * _DOT, _DOT, "#eeeeee"))
        lines += [
            _rect(_LEFT + column * _DOT, top, _DOT, _DOT, "#1b4965" if (row, column) in here else "#a3a3a3")
            for column in np.nonzero(matrix.values[row])[0].tolist()
        ]
    return lines


def _grid(matrix: LayerMatrix, tile: Tile, top: int) -> list[str]:
    """The slots, with the filter of each column above and the inputs of each lane to the left."""
    lines = [_text(10, top - 22, "Tile", "bold")]
    lines += [
        _text(_LEFT + column * _CELL + _CELL // 2, top - 8, f"f{number}", "mid small")
        for column, number in enumerate(tile.filters.tolist())
    ]
    for lane in range(tile.lanes):
        y = top + lane * _CELL
        inputs = tile.inputs[tile.lane_starts[lane] : tile.lane_starts[lane + 1]].tolist()
        lines.append(_text(10, y + 24, f"lane {lane}", "small"))
        for place, number in enumerate(inputs):
            lines.append(_rect(52 + place * 33, y + 11, 31, 18, _COLORS[place]))
            lines.append(_text(67 + place * 33, y + 24, f"{number}", "mid small"))
        for column, select in enumerate(tile.select[lane].tolist()):
            x = _LEFT + column * _CELL
            empty = select == EMPTY
            lines.append(
                _rect(x, y, _CELL - 2, _CELL - 2, "#ffffff" if empty else _COLORS[select], "#888888")
            )
            if not empty:
                weight = float(matrix.values[tile.filters[column], inputs[select]])
                lines.append(_text(x + _CELL // 2 - 1, y + 23, f"{weight:.2f}", "mid small"))
    return lines


def _legend(tile: Tile, top: int) -> list[str]:
    """What the picture shows, to the right of the slots and below them."""
    x, y = _LEFT + tile.columns * _CELL + 20, top + 14
    used = int(np.count_nonzero(tile.select != EMPTY))
    right = (
        "column: one filter; it adds up products",
        "lane: an array row with a few inputs",
        f"fan-in: at most {FAN_IN} inputs on a lane",
        "slot: one PE; its color says which of",
        "the lane's inputs the weight multiplies",
        "white: an empty slot",
        f"tightness: {used} of {tile.area} slots = {used / tile.area:.2f}",
    )
    lines = [_text(x, y + 22 * place, text) for place, text in enumerate(right)]
    foot = top + tile.lanes * _CELL + 24
    lines.append(
        _text(10, foot, "The tile stays in the array for one pass, while all input vectors stream through.")
    )
    lines.append(
        _text(
            10,
            foot + 18,
            "Other tiles hold the other weights of these filters. The accumulators add up the sums of all passes.",
        )
    )
    return lines


def _rect(x: int, y: int, width: int, height: int, fill: str, stroke: str = "none") -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}" stroke="{stroke}"/>'


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}"' + (f' class="{kind}"' if kind else "") + f">{text}</text>"


if __name__ == "__main__":
    sys.exit(main())
