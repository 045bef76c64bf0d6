"""Where a layer's data lies: what goes to and from DRAM, how long that takes, and how the steps are best cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, isinf

import numpy as np

from tightc.simulation.accelerator.accelerator import Accelerator
from tightc.simulation.accelerator.hardware import SUM_BYTES
from tightc.simulation.cost_model.cycles import Cycles, layer_cycles
from tightc.simulation.cost_model.gemm import GemmWorkload
from tightc.simulation.cost_model.passes import Passes

_NOTHING = 1e-9  # of a byte, which sums of shares may be off


@dataclass(frozen=True)
class Traffic:
    """Bytes that a layer moves between DRAM and the buffers; index included with the weights."""

    activation_bytes: int = 0
    weight_bytes: int = 0
    output_bytes: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return self.activation_bytes + self.weight_bytes + self.output_bytes


@dataclass(frozen=True)
class LayerSchedule:
    """How a layer runs: its steps in `pieces`, cycles on the arrays, traffic, wait for DRAM.

    `arrays`: how many it uses; `replicate_tiles`: whether small tiles stand there several times.
    """

    pieces: int
    cycles: Cycles
    traffic: Traffic
    dram_stalls: int
    arrays: int = 1
    replicate_tiles: bool = False

    def accelerator(self, whole: Accelerator) -> Accelerator:
        """What it uses of the chip."""
        return replace(whole, arrays=self.arrays, replicate_tiles=self.replicate_tiles)

    @property
    def total(self) -> int:
        """All cycles."""
        return self.cycles.total + self.dram_stalls


def schedule(passes: Passes, work: GemmWorkload, accelerator: Accelerator) -> LayerSchedule:
    """The fastest way found, of equals the one with least traffic, then with fewest pieces.

    Pieces make sums fit that wait from pass to pass, make a piece of the feature map stay for all passes, or give
    several arrays something to do; each piece takes all passes, so each costs loading and emptying again. Where buffers
    limit, half of the arrays, a quarter and so on are tried too, and copies side by side only where they gain.
    """
    found = []
    arrays = accelerator.arrays
    while arrays:
        for beside in {accelerator.replicate_tiles, accelerator.replicate_tiles and accelerator.is_ideal}:
            part = replace(accelerator, arrays=arrays, replicate_tiles=beside)
            ways = [pieces for pieces in _pieces(passes, work, part) if _sums_fit(passes, part, pieces)]
            found += [_schedule(passes, work, part, pieces) for pieces in ways]
        arrays = 0 if accelerator.is_ideal else arrays // 2
    return min(
        found, key=lambda way: (way.total, way.traffic.total, way.pieces, -way.arrays, way.replicate_tiles)
    )


def _pieces(passes: Passes, work: GemmWorkload, accelerator: Accelerator) -> set[int]:
    """Numbers of pieces that may be worth a try."""
    if passes.dataflow == "os":
        return {1}  # every step adds to what stays
    least = _pieces_for_sums(passes, accelerator)
    wishes = {least, max(least, _pieces_for_map(passes, work, accelerator))}
    shares = range(1, 2 * accelerator.arrays + 1) if accelerator.arrays > 1 else (1,)
    return {min(passes.steps, max(wish, share)) for wish in wishes for share in shares}


def _schedule(passes: Passes, work: GemmWorkload, accelerator: Accelerator, pieces: int) -> LayerSchedule:
    cycles = layer_cycles(passes, accelerator, pieces)
    moved = traffic(passes, work, accelerator, pieces)
    stalls = dram_stalls(moved, cycles.total, accelerator)
    return LayerSchedule(pieces, cycles, moved, stalls, accelerator.arrays, accelerator.replicate_tiles)


def dram_stalls(moved: Traffic, busy_cycles: int, accelerator: Accelerator) -> int:
    """Cycles that the arrays wait for DRAM: through double buffers only what takes longer than they are busy."""
    if accelerator.dram is None:
        return 0
    ways = (
        (moved.activation_bytes, accelerator.activations.hidden),
        (moved.weight_bytes, accelerator.weights.hidden),
        (moved.output_bytes, accelerator.activations.hidden),
    )
    hidden = sum(count for count, is_hidden in ways if is_hidden)
    return ceil((moved.total - hidden) / accelerator.dram) + max(
        0, ceil(hidden / accelerator.dram) - busy_cycles
    )


def traffic(passes: Passes, work: GemmWorkload, accelerator: Accelerator, pieces: int) -> Traffic:
    """Bytes to and from DRAM; none where it is not modeled.

    Weights that do not fit into their buffer all at once are fetched whenever they are used. A feature map of which a
    piece does not fit is fetched for every pass, as far as the pass reads it. A map that fits stays on the chip between
    layers where the hardware keeps it.
    """
    if accelerator.dram is None:
        return Traffic()
    read, written = work.maps.read * accelerator.operand_bytes, work.maps.written * accelerator.operand_bytes
    share = float(passes.map_share.sum()) * (pieces if passes.dataflow == "is" else 1)
    if _map_fits(passes, read, accelerator, pieces):
        share = min(passes.map_read, share)
    return Traffic(
        0
        if _kept(max(work.maps.read, work.maps.read_from), work.maps.from_outside, accelerator)
        else ceil(read * share - _NOTHING),
        _weight_bytes(passes, work, accelerator, pieces),
        0
        if _kept(max(work.maps.written, work.maps.written_for), work.maps.to_outside, accelerator)
        else written,
    )


def _weight_bytes(passes: Passes, work: GemmWorkload, accelerator: Accelerator, pieces: int) -> int:
    if passes.dataflow == "ws":
        layer = int(passes.loaded_words.sum()) * accelerator.operand_bytes + ceil(
            int(passes.loaded_bits.sum()) / 8
        )
        return layer if layer <= accelerator.weights.usable else layer * pieces
    layer = work.weights * accelerator.operand_bytes
    return (
        layer
        if layer <= accelerator.weights.usable
        else int(passes.weight_words.sum()) * passes.steps * accelerator.operand_bytes
    )


def _kept(elements: int, crosses: bool, accelerator: Accelerator) -> bool:
    """Whether a map stays on the chip; the one read and the one written have half a buffer each."""
    fits = (
        accelerator.activations.size is None
        or 2 * elements * accelerator.operand_bytes <= accelerator.activations.size
    )
    return accelerator.keeps_feature_maps and not crosses and fits


def _map_fits(passes: Passes, count: int, accelerator: Accelerator, pieces: int) -> bool:
    """Whether what the arrays read at a time of a map of `count` bytes fits into the activation buffer."""
    if passes.dataflow != "ws":  # there a piece has fewer filters, each of which needs the whole map
        return count <= accelerator.activations.usable
    at_once = min(pieces, max(1, accelerator.arrays // max(1, len(passes))))
    return ceil(count / pieces) * at_once <= accelerator.activations.usable


def _pieces_for_map(passes: Passes, work: GemmWorkload, accelerator: Accelerator) -> int:
    """Fewest pieces of which one fits into the activation buffer; as many as there are steps at most."""
    if passes.dataflow != "ws":
        return 1
    return min(
        passes.steps, ceil(work.maps.read * accelerator.operand_bytes / accelerator.activations.usable) or 1
    )


def _pieces_for_sums(passes: Passes, accelerator: Accelerator) -> int:
    """Fewest pieces of which all sums that wait from pass to pass fit into their buffer at once."""
    waiting = open_sums(passes, accelerator.arrays) * SUM_BYTES
    if waiting * passes.steps <= accelerator.sums.usable:
        return 1
    steps_at_once = int(accelerator.sums.usable // (waiting * max(1, accelerator.arrays // len(passes))))
    return min(passes.steps, ceil(passes.steps / max(1, steps_at_once)))


def _sums_fit(passes: Passes, accelerator: Accelerator, pieces: int) -> bool:
    """Whether sums that wait fit into their buffer also where several arrays are at more than one piece at a time.

    On one array fewer cannot wait than with the fewest pieces that are tried.
    """
    if accelerator.arrays == 1 or isinf(accelerator.sums.usable) or not len(passes.open_sums):
        return True
    lengths = passes.steps // pieces + (np.arange(pieces) < passes.steps % pieces)
    first, last, count = passes.open_sums.T
    begin = np.arange(pieces)[:, None] * len(passes)
    change = np.zeros(pieces * len(passes) // accelerator.arrays + 2, np.int64)
    waiting = lengths[:, None] * count
    np.add.at(change, (begin + first) // accelerator.arrays, waiting)
    np.add.at(change, (begin + last) // accelerator.arrays + 1, -waiting)
    return int(np.cumsum(change).max()) * SUM_BYTES <= accelerator.sums.usable


def open_sums(passes: Passes, arrays: int) -> int:
    """The most sums of one step that wait for a later pass at any time, with passes dealt to `arrays` in turn."""
    if not len(passes.open_sums):
        return 0
    first, last, count = passes.open_sums.T
    change = np.zeros(len(passes) // arrays + 2, np.int64)
    np.add.at(change, first // arrays, count)
    np.add.at(change, last // arrays + 1, -count)
    return int(np.cumsum(change).max())
