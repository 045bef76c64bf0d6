"""What nothing can exceed: the speedup of any weights of ResNet-20, the energy gain of any packing of given ones."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import tightc
from benchmarks.energy_bound import least_energy_pj
from benchmarks.networks import RESNET20, RESNET20_BN, missing
from benchmarks.page import SEED, Page
from benchmarks.saliency_bound import least_cycles
from tightc.model.file import Model
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.permutation.layer_costs import layer_costs
from tightc.permutation.options import PermuteOptions
from tightc.selection.balance import layer_balanced
from tightc.tile.array import ArrayShape

TITLE = "Bounds: the largest speedup of any weights, the largest energy gain of any packing"
_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "models"
_TIGHT, _COMBINED = "r20-w-8x", "r20-cc-5x"
_ARRAYS = ("8x8", "16x16", "32x32", "64x64")
_GOAL, _ENERGY_GOAL = 2.12, 1.57  # throughput and energy efficiency over others, of the DAC abstract
_FAN_INS = (4, 8)
_SPEEDUPS = {"8x8": 7, "16x16": 6, "32x32": 5, "64x64": 2.9}  # that pruning asks for, by array
_OF_COMBINED = (0.5, 0.65, 0.8, 0.95)  # of these, what column combining asks for
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
    _equal_saliency(page)
    _energy(page)


def _equal_saliency(page: Page) -> None:
    """A row for each array: the speedup at the saliency that pruning leaves, of column combining, tight and at most."""
    page.text(
        "### Equal saliency\n\nThe dense network with its norms, pruned in one step towards a speedup, with "
        f"balanced saliency, and packed for a fan-in of 8 with the objective cycles and seed {SEED}. Lost: of the "
        "saliency, in percent. Bound: the largest speedup of any weights that lose no more, in any packing, at "
        "any fan-in. Column combining: within budgets of speedup, alpha 8, gamma 0.5, between those that lose a "
        f"little less and more. Its array has the same fan-in, so the same area. The goal is {_GOAL} times its "
        "speedup. Accuracy after training decides; saliency only stands for it."
    )
    page.head(
        "array", "lost, %", "bound", "tight", "tight / bound", "combined", "bound / combined", "goal is"
    )
    model = tightc.load(RESNET20_BN)
    saliency = _saliency(model)
    whole = sum(float(values.sum()) for values in saliency)
    layers = _layers()
    for name in _ARRAYS[:1] if page.quick else _ARRAYS:
        array = ArrayShape.parse(name)
        dense = sum(_dense_cycles(layer, array) for layer in layers)
        asked = _SPEEDUPS[name]
        pruned = tightc.prune(
            model,
            align=name,
            budget=f"speedup={asked}",
            criterion="balanced",
            tile_heights=_heights(array),
            fan_in=8,
        )[0]
        tight = tightc.permute(pruned, array=name, fan_in=8, objective="cycles", seed=SEED)[0]
        lost = _lost(tight, saliency)
        others = [
            tightc.permute(
                model,
                array=name,
                fan_in=8,
                method="column-combine",
                alpha=8,
                gamma=0.5,
                budget=f"speedup={part * asked:g}",
            )[0]
            for part in _OF_COMBINED
        ]
        combined = _between(lost, [(_lost(other, saliency), _speedup(other)) for other in others])
        cycles = [array.pass_cycles(layer.vectors) for layer in layers]
        bound = dense / least_cycles(saliency, cycles, array.rows * array.columns, whole * (1 - lost))
        reached = _speedup(tight)
        verdict = "excluded" if bound < _GOAL * combined else "not excluded"
        page.row(name, 100 * lost, bound, reached, reached / bound, combined, bound / combined, verdict)
    page.end()


def _saliency(model: Model) -> list[NDArray[np.float64]]:
    """The balanced saliency of the weights of each layer."""
    network = read_network(model)
    matrices = [layer_matrix(network, layer).dequantized for layer in network.owners]
    return [layer_balanced(np.square(matrix, dtype=np.float64)) for matrix in matrices]


def _lost(model: Model, saliency: list[NDArray[np.float64]]) -> float:
    """The fraction of the dense network's `saliency` that its weights in `model` no longer have."""
    network = read_network(model)
    kept = sum(
        float(values[layer_matrix(network, layer).values != 0].sum())
        for layer, values in zip(network.owners, saliency, strict=True)
    )
    return 1 - kept / sum(float(values.sum()) for values in saliency)


def _between(lost: float, points: list[tuple[float, float]]) -> float:
    """The speedup at `lost`, linear between `points`, (lost, speedup) of rising speedups."""
    losses, speedups = zip(*points, strict=True)
    if not losses[0] <= lost <= losses[-1]:
        raise ValueError(f"expected a loss from {losses[0]} to {losses[-1]}, got {lost}: change the budgets")
    return float(np.interp(lost, losses, speedups))


def _heights(array: ArrayShape) -> list[int]:
    return [array.rows // part for part in (1, 2, 4) if array.rows // part >= 4]


def _speedup(model: Model) -> float:
    return float(tightc.simulate(model).totals["speedup"])


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
