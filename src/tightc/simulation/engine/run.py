"""A whole layer on the cycle engine: its passes on one array or several, with cycles and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.cost_model.passes import Dataflow
from tightc.simulation.engine.cycle_log import Phase, Trace, Traces, new_log, remove_padding
from tightc.simulation.engine.loaded_tile import (
    LoadedTile,
    Operands,
    TilePlacer,
    Values,
    column_hops,
    no_tile,
    tile_replicas,
)
from tightc.simulation.engine.output_stationary import run_output_stationary
from tightc.simulation.engine.overlapped import OverlappedPass, new_state, run_overlapped
from tightc.simulation.engine.scheduled_pass import ScheduledPass, no_pass
from tightc.simulation.engine.stationary import LOG_COLUMNS, load, new_loader, stream
from tightc.tile.dense import dense_blocks, dense_packing
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing

_UNLIMITED = 1e15  # words in a cycle where nothing limits
_ROUNDING = 1e-9  # as in the closed form


@dataclass(frozen=True)
class EngineResult:
    """The result of a layer: `outputs` (vectors, filters), `cycles`, and `pe_steps`: PEs x cycles over all arrays."""

    outputs: Values
    cycles: int
    pe_steps: int


def run_packing(
    packing: Packing,
    operands: Operands,
    accelerator: Accelerator,
    temporal_tiles: int = 1,
    traces: Traces | None = None,
) -> EngineResult:
    """The tiles of `packing`, weight-stationary, on `accelerator`: `layer_cycles` is the closed form of its cycles.

    `operands`: the weights of all slots, and the vectors, which are cut into `temporal_tiles`. `traces` gets a Trace of
    each phase of each pass, array by array, in order of time.
    """
    run = _run_stationary(packing, operands, accelerator, "ws", temporal_tiles, traces=traces)
    return run.result(accelerator, run.sums)


def run_dense(
    dataflow: Dataflow,
    operands: Operands,
    accelerator: Accelerator,
    temporal_tiles: int = 1,
    traces: Traces | None = None,
) -> EngineResult:
    """The layer with all its weights, zeros included, in `dataflow`.

    `operands`, `accelerator`, `temporal_tiles` and `traces`: as in `run_packing`.
    """
    matrix = operands.weights
    if dataflow == "ws":
        packing = dense_packing(matrix.filters, matrix.inputs, matrix.groups, accelerator.array)
        return run_packing(packing, operands, accelerator, temporal_tiles, traces)
    if dataflow == "is":
        return _run_input_stationary(operands, accelerator, temporal_tiles, traces)
    return _run_output_stationary(operands, accelerator, traces)


def _run_input_stationary(
    operands: Operands, accelerator: Accelerator, temporal_tiles: int, traces: Traces | None
) -> EngineResult:
    """As weight-stationary with the operands exchanged: every vector of every group is a filter."""
    matrix, vectors = operands.weights, operands.vectors
    groups, per_group, count = matrix.groups, matrix.filters_per_group, len(vectors)
    stationary = (
        vectors.reshape(count, groups, matrix.inputs).swapaxes(0, 1).reshape(groups * count, matrix.inputs)
    )
    streamed = matrix.values.reshape(groups, per_group, matrix.inputs).swapaxes(0, 1).reshape(per_group, -1)
    packing = dense_packing(groups * count, matrix.inputs, groups, accelerator.array)
    exchanged = Operands(
        LayerMatrix(stationary, groups), np.ascontiguousarray(streamed), overlaps=operands.overlaps
    )
    run = _run_stationary(packing, exchanged, accelerator, "is", temporal_tiles, traces=traces)
    outputs = run.sums.reshape(per_group, groups, count).transpose(2, 1, 0).reshape(count, matrix.filters)
    return run.result(accelerator, outputs)


@dataclass(frozen=True)
class _Run:
    """`sums` (steps, filters) of a run, and the `cycles` of each array that took part."""

    sums: Values
    cycles: Sequence[int]

    def result(self, accelerator: Accelerator, outputs: Values) -> EngineResult:
        """The result of the layer, with `outputs` made from the sums."""
        pes = accelerator.array.rows * accelerator.array.columns
        return EngineResult(outputs, max(self.cycles, default=0), sum(self.cycles) * pes)


def _run_stationary(
    packing: Packing,
    operands: Operands,
    accelerator: Accelerator,
    dataflow: Dataflow,
    temporal_tiles: int,
    *,
    traces: Traces | None,
) -> _Run:
    """All passes of `packing`, dealt to the arrays in turn."""
    steps = operands.vectors
    sums = np.zeros((len(steps), packing.filters), steps.dtype)
    if not packing.tiles:
        return _Run(sums, ())
    items = len(packing.tiles) * temporal_tiles
    busy = min(accelerator.arrays, items)
    buffers = [accelerator.activations, accelerator.weights]
    if dataflow == "is":
        buffers.reverse()
    bandwidths = np.append(_bandwidths([*buffers, accelerator.sums], busy), 1 / busy)
    lengths = [len(part) for part in np.array_split(np.arange(len(steps)), temporal_tiles)]
    cuts = np.append(0, np.cumsum(lengths))
    placer = TilePlacer.of(packing, operands, accelerator)
    cycles = []
    for array in range(busy):
        passes = []
        for item in range(array, items, accelerator.arrays):
            number, tile = divmod(item, len(packing.tiles))
            replicas = tile_replicas(packing.tiles[tile], len(steps) // temporal_tiles, accelerator)
            part = slice(cuts[number], cuts[number + 1])
            loaded = placer.place(tile, replicas)
            passes.append(ScheduledPass(array, number, tile, loaded, replicas, steps=part))
        cycles.append(_StationaryArray(accelerator, bandwidths, traces).run(passes, steps, sums))
    return _Run(sums, cycles)


@dataclass(frozen=True)
class _StationaryArray:
    """One array; `bandwidths`: as in `stationary.stream`."""

    accelerator: Accelerator
    bandwidths: NDArray[np.float64]
    traces: Traces | None

    def run(self, passes: Sequence[ScheduledPass], steps: Values, sums: Values) -> int:
        """Runs `passes` one after the other, adding to `sums` in place; returns the cycles."""
        if self.accelerator.overlap_drain:
            return self._run_overlapped(passes, steps, sums)
        loader = new_loader(*self.accelerator.array, steps.dtype)
        nothing = no_tile(self.accelerator, steps.dtype)
        total = 0
        for i, scheduled in enumerate(passes):
            prefetches = self.accelerator.prefetch and i + 1 < len(passes)
            next_tile = passes[i + 1].loaded if prefetches else nothing
            tile = scheduled.loaded
            streamed, found = scheduled.split(steps), scheduled.split(sums)
            log = new_log(self._longest_load(tile), self.traces)
            cycles = load(loader, tile, self.bandwidths[1], log)  # 0 where the tile was prefetched
            self._record(scheduled, "load", log[:cycles])
            total += cycles
            log = new_log(self._longest_stream(tile, len(streamed), next_tile), self.traces)
            cycles = stream(loader, tile, next_tile, streamed, found, bandwidths=self.bandwidths, log=log)
            scheduled.merge(found, sums)
            length = scheduled.steps.stop - scheduled.steps.start
            remove_padding(log[:cycles], tile, length, scheduled.replicas)
            self._record(scheduled, "stream", log[:cycles])
            total += cycles
        return total

    def _run_overlapped(self, passes: Sequence[ScheduledPass], steps: Values, sums: Values) -> int:
        """As `run`, where the sums of a pass still leave when the next has started."""
        rows, most = self.accelerator.array.rows, max(len(scheduled.loaded.inputs) for scheduled in passes)
        state = new_state(rows, passes[0].loaded.hops, most, sums)
        following = passes[0].overlapped(steps, sums.shape[1])
        current = nothing = no_pass(following)
        total = 0
        for i in range(len(passes) + 1):
            log = new_log(self._longest_overlapped(current, following), self.traces)
            cycles = run_overlapped(state, current, following, self.bandwidths, log)
            self._record(passes[max(0, i - 1)], "stream" if i else "load", log[:cycles])
            total += cycles
            current = following
            following = passes[i + 1].overlapped(steps, sums.shape[1]) if i + 1 < len(passes) else nothing
        return total

    def _longest_overlapped(self, current: OverlappedPass, following: OverlappedPass) -> float:
        entering = len(current.steps) + float((len(current.steps) * current.demands / self.bandwidths).max())
        loading = len(following.row_words) + float(following.row_words.sum() / self.bandwidths[1])
        return self.accelerator.drain_cycles + entering + self.accelerator.array.rows + loading

    def _longest_load(self, tile: LoadedTile) -> float:
        return self.accelerator.array.rows + float(tile.row_words.sum() / self.bandwidths[1])

    def _longest_stream(self, tile: LoadedTile, steps: int, next_tile: LoadedTile) -> float:
        waiting = float((steps * tile.demands / self.bandwidths).max())
        return steps + self.accelerator.drain_cycles + waiting + self._longest_load(next_tile)

    def _record(self, scheduled: ScheduledPass, phase: Phase, log: NDArray[np.int64]) -> None:
        if self.traces is not None and len(log):
            entry = Trace(scheduled.array, scheduled.temporal_tile, scheduled.tile, phase, log)
            self.traces.append(entry)


def _run_output_stationary(
    operands: Operands, accelerator: Accelerator, traces: Traces | None
) -> EngineResult:
    matrix, vectors = operands.weights, operands.vectors
    outputs = np.zeros((len(vectors), matrix.filters), vectors.dtype)
    passes = list(_output_passes(matrix, len(vectors), accelerator))
    busy = min(accelerator.arrays, len(passes))
    bandwidths = _bandwidths([accelerator.activations, accelerator.weights], busy)
    total = [0] * busy
    for number, blocks in enumerate(passes):
        left = np.concatenate([vectors[block.vectors, block.inputs].T for block in blocks], axis=1)
        above = np.concatenate([matrix.values[block.filters].T for block in blocks], axis=1)
        demands = np.array([left.shape[1], above.shape[1]])
        longest = len(left) + accelerator.drain_cycles + float((len(left) * demands / bandwidths).max())
        log = new_log(longest, traces)
        sums, cycles = run_output_stationary(
            np.ascontiguousarray(left),
            np.ascontiguousarray(above),
            _diagonal(blocks),
            accelerator.array,
            column_hops(accelerator),
            bandwidths=bandwidths,
            log=log,
        )
        count = _unload(blocks, sums, outputs)
        if accelerator.accumulator_bypass and not operands.overlaps:
            count = 0  # they are complete
        # the sums leave while the next pass runs, which waits for them if it is done first
        unload = ceil(count * busy / accelerator.sums.words_per_cycle - _ROUNDING)
        lasting = max(cycles, unload)
        total[number % busy] += lasting
        if traces is not None:
            waiting = np.zeros((lasting - cycles, len(LOG_COLUMNS)), np.int64)
            log = np.concatenate([log[:cycles], waiting])
            traces.append(Trace(number % busy, 0, number, "stream", log))
    if traces is not None:
        traces.sort(key=lambda trace: trace.array)
    return _Run(outputs, total).result(accelerator, outputs)


@dataclass(frozen=True)
class _OutputBlock:
    """A block of outputs that one pass computes; `inputs` are those of its group."""

    vectors: slice
    inputs: slice
    filters: slice

    @property
    def height(self) -> int:
        """Vectors of the block."""
        return int(self.vectors.stop - self.vectors.start)

    @property
    def width(self) -> int:
        """Filters of the block."""
        return int(self.filters.stop - self.filters.start)


def _output_passes(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator
) -> Iterator[list[_OutputBlock]]:
    """The blocks of outputs of each output-stationary pass, along the diagonal."""
    size = matrix.filters_per_group
    blocks = dense_blocks(size, vectors, matrix.groups, accelerator.array)
    starts = np.flatnonzero(np.diff(blocks.tile, prepend=-1))
    for members in np.split(np.arange(len(blocks.tile)), starts[1:]):
        found = []
        for b in members:
            group, row, column = int(blocks.group[b]), int(blocks.first_input[b]), int(blocks.first_filter[b])
            first = group * size + column
            found.append(
                _OutputBlock(
                    slice(row, row + int(blocks.inputs[b])),
                    slice(group * matrix.inputs, (group + 1) * matrix.inputs),
                    slice(first, first + int(blocks.filters[b])),
                )
            )
        yield found


def _diagonal(blocks: Sequence[_OutputBlock]) -> NDArray[np.bool_]:
    """The PEs of `blocks`, each below and to the right of the one before: (rows used, columns used) bool."""
    used = np.zeros((sum(block.height for block in blocks), sum(block.width for block in blocks)), bool)
    row = column = 0
    for block in blocks:
        used[row : row + block.height, column : column + block.width] = True
        row, column = row + block.height, column + block.width
    return used


def _unload(blocks: Sequence[_OutputBlock], sums: Values, outputs: Values) -> int:
    """Writes the sums of `blocks` on the diagonal of `sums` to `outputs`; returns how many there are."""
    row = column = count = 0
    for block in blocks:
        part = sums[row : row + block.height, column : column + block.width]
        outputs[block.vectors, block.filters] = part
        row, column, count = row + block.height, column + block.width, count + part.size
    return count


def _bandwidths(buffers: Sequence[BufferPort], sharing: int) -> NDArray[np.float64]:
    """Words that each buffer delivers in a cycle to one of `sharing` arrays; (buffers,), finite."""
    words = np.array([buffer.words_per_cycle / sharing for buffer in buffers])
    return np.where(np.isinf(words), _UNLIMITED, words)
