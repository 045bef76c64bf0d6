"""What nothing can exceed: the speedup of any weights of ResNet-20, the energy gain of any packing of trained ones."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import tightc
from benchmarks.energy_bound import least_energy_pj
from benchmarks.networks import RESNET20, missing
from benchmarks.page import SEED, Page
from tightc.model.file import Model
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.permutation.layer_costs import layer_costs
from tightc.permutation.options import PermuteOptions
from tightc.tile.array import ArrayShape

TITLE = "Bounds: the largest speedup of any weights, the largest energy gain of any packing"
_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "models"
_TIGHT, _COMBINED = "r20-w-8x", "r20-cc-5x"
_ARRAYS = ("8x8", "16x16", "32x32", "64x64")
_GOAL, _ENERGY_GOAL = 2.12, 1.57  # throughput and energy efficiency over others, of the DAC abstract
_FAN_INS = (4, 8)
_HARDWARE: dict[str, Any] = {
    "energy": tightc.configs() / "energy" / "nangate45.yaml",
    "columns_per_lane_register": 4,
    "accumulator_bypass": True,
}


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
    _energy(page)


def _energy(page: Page) -> None:
    """A row for each array and model: what its weights gain at most, and what the search reaches."""
    page.text(
        "### Energy\n\nThe energy gain that no lossless packing of a model's weights exceeds, by nangate45, where a "
        "lane register serves 4 columns and complete sums bypass the accumulators, for dense and column combining "
        "alike. Every weight multiplies and its sum passes a register. Tiles read as many inputs as any packing in so "
        "many passes does, at any fan-in. A filter of n weights has ceil(n / R) columns, and all but one write and "
        "read sums. Idle PEs count, levels of multiplexers do not. Tight: the better fan-in of "
        f"{' and '.join(map(str, _FAN_INS))}, objective energy, seed {SEED}. Column combining: of `{_COMBINED}` as "
        f"above. The goal is {_ENERGY_GOAL} times that."
    )
    page.head(
        "array", "weights of", "bound", "tight", "tight / bound", "combined", "bound / combined", "goal is"
    )
    models = {name: tightc.unpack(_recorded(name))[0] for name in (_TIGHT, _COMBINED)}
    for array in _ARRAYS[:1] if page.quick else _ARRAYS:
        combined = _gain(_combined(array))
        for name, model in models.items():
            bound = _energy_bound(model, array)
            reached = max(
                _gain(
                    tightc.permute(
                        model, array=array, fan_in=fan_in, objective="energy", seed=SEED, **_HARDWARE
                    )[0]
                )
                for fan_in in _FAN_INS
            )
            verdict = "excluded" if bound < _ENERGY_GOAL * combined else "not excluded"
            page.row(array, name, bound, reached, reached / bound, combined, bound / combined, verdict)
    page.end()


def _energy_bound(model: Model, array: str) -> float:
    """The largest energy gain of any lossless packing of a plain `model`."""
    network = read_network(model)
    costs, _ = layer_costs(model, network, PermuteOptions(array=array, objective="energy", **_HARDWARE))
    dense = least = 0.0
    for layer in network.owners:
        own = costs[layer.output]
        dense += own.of_dense().energy_pj
        least += least_energy_pj(layer_matrix(network, layer).slots(), own.gemm, own.accelerator, own.table)
    return dense / least


def _gain(model: Model) -> float:
    return float(tightc.simulate(model, **_HARDWARE).totals["energy_gain"])


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
    return dict(tightc.simulate(_recorded(name)).totals)


def _combined_cycles(array: str) -> int:
    return int(tightc.simulate(_combined(array), array=array).totals["cycles"])


def _combined(array: str) -> Model:
    """Column combining's weights as it packs them for `array`."""
    packed = _recorded(_COMBINED)
    if array == "32x32":
        return packed
    plain = tightc.unpack(packed)[0]
    return tightc.permute(plain, method="column-combine", alpha=8, gamma=0.0, array=array)[0]


def _recorded(name: str) -> Model:
    return tightc.load(_RESULTS / f"{name}.onnx")
