"""What no choice of weights can exceed: the largest speedup of ResNet-20 at a number of weights, by array."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import tightc
from benchmarks.networks import RESNET20, missing
from benchmarks.page import Page
from tightc.tile.array import ArrayShape

TITLE = "Bounds: the largest speedup that any choice of weights has"
_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "models"
_TIGHT, _COMBINED = "r20-w-8x", "r20-cc-5x"
_ARRAYS = ("8x8", "16x16", "32x32", "64x64")
_GOAL = 2.12  # throughput over column combining, of the DAC abstract


class _Layer(NamedTuple):
    """A layer matrix and the number of its input vectors."""

    filters: int
    inputs: int
    vectors: int

    @property
    def size(self) -> int:
        """Its weights, zeros included."""
        return self.filters * self.inputs


def run(page: Page) -> None:
    """A row for each array and number of weights."""
    if missing(RESNET20):
        page.text(missing(RESNET20))
        return
    page.text(
        f"ResNet-20 with as many weights as `{_TIGHT}` and as `{_COMBINED}` keep, wherever they are best. Every layer "
        "takes one pass at least, and a pass of an R x C array holds R C weights. Further weights go to the layers of "
        "the fewest cycles. So no packing of so many weights has fewer cycles, at any fan-in. Replicated: an array "
        "holds a tile several times, each replica for a part of the vectors; then w weights stream for w / (R C) times "
        "the vectors, at least. Column combining: its speedup on that array, alpha 8, as recorded on 32x32 and else "
        f"packed anew with gamma 0. The goal is {_GOAL} times that."
    )
    page.head(
        "array",
        "weights",
        "bound",
        "bound, replicated",
        f"{_COMBINED}, combined",
        "bound / combined",
        "goal is",
    )
    layers, counts = _layers(), [_kept(_TIGHT), _kept(_COMBINED)]
    for name in _ARRAYS[:1] if page.quick else _ARRAYS:
        array = ArrayShape.parse(name)
        dense = sum(_dense_cycles(layer, array) for layer in layers)
        combined = dense / _combined_cycles(name)
        for count in counts:
            bound = dense / _least_cycles(layers, count, array)
            replicated = dense / _least_replicated(layers, count, array)
            verdict = "excluded" if bound < _GOAL * combined else "not excluded"
            page.row(name, count, bound, replicated, combined, bound / combined, verdict)
    page.end()


def _least_cycles(layers: list[_Layer], count: int, array: ArrayShape) -> float:
    """Cycles that `count` weights take at least, where a pass costs the same however few weights it holds."""
    room = array.rows * array.columns
    each = [array.pass_cycles(layer.vectors) for layer in layers]
    steps = [(0.0, min(room, layer.size)) for layer in layers]
    steps += [(cycles / room, max(0, layer.size - room)) for cycles, layer in zip(each, layers, strict=True)]
    return sum(each) + _cheapest(steps, count)


def _least_replicated(layers: list[_Layer], count: int, array: ArrayShape) -> float:
    """The same where a pass that holds few weights streams few of its vectors."""
    room, fixed = array.rows * array.columns, array.pass_cycles(0)
    steps = [(layer.vectors / room, min(room, layer.size)) for layer in layers]
    steps += [((layer.vectors + fixed) / room, max(0, layer.size - room)) for layer in layers]
    return fixed * len(layers) + _cheapest(steps, count)


def _cheapest(steps: list[tuple[float, int]], count: int) -> float:
    """The cost of `count` weights from `steps`, (cost of a weight, number of weights), the cheapest first."""
    spent = 0.0
    for cost, size in sorted(steps):
        taken = min(count, size)
        spent += cost * taken
        count -= taken
    return spent


def _dense_cycles(layer: _Layer, array: ArrayShape) -> int:
    passes = ceil(layer.inputs / array.rows) * ceil(layer.filters / array.columns)
    return passes * array.pass_cycles(layer.vectors)


def _layers() -> list[_Layer]:
    found = tightc.simulate(tightc.load(RESNET20), array="8x8").layers
    return [_Layer(row["filters"], row["inputs"], row["vectors"]) for row in found]


def _kept(name: str) -> int:
    return int(_totals(name)["nonzeros"])


def _totals(name: str) -> dict[str, Any]:
    return dict(tightc.simulate(tightc.load(_RESULTS / f"{name}.onnx")).totals)


def _combined_cycles(array: str) -> int:
    packed = tightc.load(_RESULTS / f"{_COMBINED}.onnx")
    if array != "32x32":
        packed = tightc.permute(
            tightc.unpack(packed)[0], method="column-combine", alpha=8, gamma=0.0, array=array
        )[0]
    return int(tightc.simulate(packed, array=array).totals["cycles"])
