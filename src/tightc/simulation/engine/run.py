"""A whole layer on the cycle engine: its passes on one array or several, cycles and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tightc.simulation.accelerator.accelerator import Accelerator, BufferPort
from tightc.simulation.cost_model.passes import Dataflow
from tightc.simulation.engine.cycle_log import Phase, Trace, Traces, new_log, without_padding
from tightc.simulation.engine.loaded_tile import (
    Operands,
    Values,
    accumulated_columns,
    copies_of,
    held_values,
    no_plane,
    plane_of,
)
from tightc.simulation.engine.output_stationary import meet
from tightc.simulation.engine.stationary import LOG_COLUMNS, Plane, load, new_loader, stream
from tightc.tile.dense import dense_blocks, dense_packing
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing

_PLENTY = 1e15  # words in a cycle where nothing limits


@dataclass(frozen=True)
class Ran:
    """What a layer gave: `outputs` (vectors, filters), the `cycles` it took, and PEs x cycles, summed over arrays."""

    outputs: Values
    cycles: int
    pe_steps: int


def run_packing(
    packing: Packing,
    operands: Operands,
    accelerator: Accelerator,
    pieces: int = 1,
    traces: Traces | None = None,
) -> Ran:
    """The tiles of `packing`, weight-stationary; as `layer_cycles` of the closed form, but moved through the array.

    `traces` gets a Trace of each phase of each pass, array by array, in order of time.
    """
    sums, cycles, busy = _stationary(packing, operands, (accelerator, pieces, "ws"), traces)
    return Ran(sums, cycles, busy * accelerator.array.rows * accelerator.array.columns)


def run_dense(
    dataflow: Dataflow,
    operands: Operands,
    accelerator: Accelerator,
    pieces: int = 1,
    traces: Traces | None = None,
) -> Ran:
    """The layer with all its weights, zeros included; `traces` as in `run_packing`."""
    matrix, vectors = operands.weights, operands.vectors
    per_group = matrix.filters_per_group
    if dataflow == "ws":
        packing = dense_packing(matrix.filters, matrix.inputs, matrix.groups, accelerator.array)
        return run_packing(packing, operands, accelerator, pieces, traces)
    if dataflow == "is":
        # the same with the operands' parts exchanged: every vector of every group is a filter
        groups, count = matrix.groups, len(vectors)
        stays = (
            vectors.reshape(count, groups, matrix.inputs)
            .swapaxes(0, 1)
            .reshape(groups * count, matrix.inputs)
        )
        streams = (
            matrix.values.reshape(groups, per_group, matrix.inputs).swapaxes(0, 1).reshape(per_group, -1)
        )
        packing = dense_packing(groups * count, matrix.inputs, groups, accelerator.array)
        exchanged = Operands(LayerMatrix(stays, groups), np.ascontiguousarray(streams))
        sums, cycles, busy = _stationary(packing, exchanged, (accelerator, pieces, "is"), traces)
        outputs = sums.reshape(per_group, groups, count).transpose(2, 1, 0).reshape(count, matrix.filters)
        return Ran(outputs, cycles, busy * accelerator.array.rows * accelerator.array.columns)
    return _output_stationary(operands, accelerator, traces)


def _stationary(
    packing: Packing, operands: Operands, way: tuple[Accelerator, int, Dataflow], traces: Traces | None
) -> tuple[Values, int, int]:
    """(sums, cycles of the array that is busy longest, cycles of all arrays); `way`: chip, pieces, dataflow."""
    accelerator, pieces, dataflow = way
    steps = operands.vectors
    sums = np.zeros((len(steps), packing.filters), steps.dtype)
    if not packing.tiles:
        return sums, 0, 0
    items = len(packing.tiles) * pieces
    at_once = min(accelerator.arrays, items)
    stores = (
        (accelerator.activations, accelerator.weights)
        if dataflow == "ws"
        else (accelerator.weights, accelerator.activations)
    )
    ports = _ports((*stores, accelerator.sums), at_once)
    cuts = np.append(0, np.cumsum([len(part) for part in np.array_split(np.arange(len(steps)), pieces)]))
    accumulated = accumulated_columns(packing)
    held = held_values(packing, operands.weights)
    took = []
    for array in range(at_once):
        turns = []
        for item in range(array, items, accelerator.arrays):
            piece, number = divmod(item, len(packing.tiles))
            copies = copies_of(packing.tiles[number], len(steps) // pieces, accelerator)
            plane = plane_of((packing, number, copies), accumulated[number], held[number], accelerator)
            turns.append(_Turn(array, piece, number, plane, copies, slice(cuts[piece], cuts[piece + 1])))
        took.append(_in_turn(turns, (steps, sums), ports, accelerator, traces))
    return sums, max(took), sum(took)


@dataclass(frozen=True)
class _Turn:
    """A pass on one array: the `plane` with all `copies` of its tile, and the `steps` of its piece."""

    array: int
    piece: int
    tile: int
    plane: Plane
    copies: int
    steps: slice


def _in_turn(
    turns: Sequence[_Turn],
    values: tuple[Values, Values],
    ports: NDArray[np.float64],
    accelerator: Accelerator,
    traces: Traces | None,
) -> int:
    """Runs passes on one array, one after the other; gives the cycles. `values`: what streams, and the sums."""
    steps, sums = values
    loader = new_loader(*accelerator.array, steps.dtype)
    nothing = no_plane(accelerator, steps.dtype)
    cycles = 0
    for i, turn in enumerate(turns):
        following = turns[i + 1].plane if accelerator.prefetch and i + 1 < len(turns) else nothing
        own, found = _beside(turn, steps), _beside(turn, sums)
        part = turn.steps.stop - turn.steps.start
        loading = _longest_load(turn.plane, ports, accelerator)
        log = new_log(loading, traces)
        took = load(loader, turn.plane, ports[1], log)  # nothing is left to do where it was prefetched
        _keep(traces, turn, "load", log[:took])
        cycles += took
        streaming = len(own) + accelerator.fill + float((len(own) * turn.plane.demands / ports).max())
        log = new_log(streaming + _longest_load(following, ports, accelerator), traces)
        took = stream(loader, turn.plane, following, own, found, ports, log)
        _apart(turn, found, sums)
        without_padding(log[:took], turn.plane, part, turn.copies)
        _keep(traces, turn, "stream", log[:took])
        cycles += took
    return cycles


def _beside(turn: _Turn, values: Values) -> Values:
    """What each copy has to do side by side: (steps, n) -> (steps of the first copy, copies * n), zeros at the end."""
    if turn.copies == 1:
        return values[turn.steps]
    parts = np.array_split(values[turn.steps], turn.copies)
    wide = np.zeros((len(parts[0]), turn.copies, values.shape[1]), values.dtype)
    for copy, part in enumerate(parts):
        wide[: len(part), copy] = part
    return wide.reshape(len(parts[0]), -1)


def _apart(turn: _Turn, wide: Values, values: Values) -> None:
    """The inverse of `_beside`: writes what each copy found to the steps of `values` that were its own."""
    if turn.copies == 1:
        return  # then `wide` is a view
    parts = np.array_split(values[turn.steps], turn.copies)
    for copy, part in enumerate(parts):
        part[:] = wide.reshape(len(wide), turn.copies, -1)[: len(part), copy]


def _longest_load(plane: Plane, ports: NDArray[np.float64], accelerator: Accelerator) -> float:
    return accelerator.array.rows + float(plane.row_words.sum() / ports[1])


def _keep(traces: Traces | None, turn: _Turn, phase: Phase, log: NDArray[np.int64]) -> None:
    if traces is not None and len(log):
        traces.append(Trace(turn.array, turn.piece, turn.tile, phase, log))


def _output_stationary(operands: Operands, accelerator: Accelerator, traces: Traces | None) -> Ran:
    matrix, vectors = operands.weights, operands.vectors
    outputs = np.zeros((len(vectors), matrix.filters), vectors.dtype)
    passes = list(_corners(matrix, len(vectors), accelerator))
    at_once = min(accelerator.arrays, len(passes))
    ports = _ports((accelerator.activations, accelerator.weights), at_once)
    took = np.zeros(at_once, np.int64)
    for number, corners in enumerate(passes):
        left = np.concatenate([vectors[corner.rows, corner.inputs].T for corner in corners], axis=1)
        above = np.concatenate([matrix.values[corner.filters].T for corner in corners], axis=1)
        shape = (accelerator.array.rows, accelerator.array.columns)
        demands = np.array([left.shape[1], above.shape[1]])
        log = new_log(len(left) + accelerator.fill + float((len(left) * demands / ports).max()), traces)
        used = _diagonal([(corner.height, corner.width) for corner in corners])
        sums, cycles = meet(np.ascontiguousarray(left), np.ascontiguousarray(above), used, shape, ports, log)
        row = column = leaving = 0
        for corner in corners:
            part = outputs[corner.rows, corner.filters]
            part[:] = sums[row : row + part.shape[0], column : column + part.shape[1]]
            row, column, leaving = row + part.shape[0], column + part.shape[1], leaving + part.size
        # they leave while the next pass runs, which waits if it ends first
        lasts = max(cycles, ceil(leaving * at_once / accelerator.sums.words - 1e-9))
        took[number % at_once] += lasts
        if traces is not None:
            waiting = np.zeros((lasts - cycles, len(LOG_COLUMNS)), np.int64)
            log = np.concatenate([log[:cycles], waiting])
            traces.append(Trace(number % at_once, 0, number, "stream", log))
    if traces is not None:
        traces.sort(key=lambda trace: trace.array)
    return Ran(outputs, int(took.max()), int(took.sum()) * accelerator.array.rows * accelerator.array.columns)


@dataclass(frozen=True)
class _Corner:
    """A block of outputs that one pass makes: `rows` are vectors, `inputs` and `filters` are those of its group."""

    rows: slice
    inputs: slice
    filters: slice

    @property
    def height(self) -> int:
        """Vectors that it holds."""
        return int(self.rows.stop - self.rows.start)

    @property
    def width(self) -> int:
        """Filters that it holds."""
        return int(self.filters.stop - self.filters.start)


def _diagonal(sizes: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Blocks of (height, width), each below and to the right of the one before."""
    used = np.zeros(tuple(map(sum, zip(*sizes, strict=True))), bool)
    row = column = 0
    for height, width in sizes:
        used[row : row + height, column : column + width] = True
        row, column = row + height, column + width
    return used


def _corners(matrix: LayerMatrix, vectors: int, accelerator: Accelerator) -> Iterator[list[_Corner]]:
    """The blocks of outputs of each output-stationary pass, one below and beside the other."""
    size = matrix.filters_per_group
    blocks = dense_blocks(size, vectors, matrix.groups, accelerator.array)
    starts = np.flatnonzero(np.diff(blocks.tile, prepend=-1))
    for members in np.split(np.arange(len(blocks.tile)), starts[1:]):
        corners = []
        for b in members:
            group, row, column = int(blocks.group[b]), int(blocks.first_input[b]), int(blocks.first_filter[b])
            first = group * size + column
            corners.append(
                _Corner(
                    slice(row, row + int(blocks.inputs[b])),
                    slice(group * matrix.inputs, (group + 1) * matrix.inputs),
                    slice(first, first + int(blocks.filters[b])),
                )
            )
        yield corners


def _ports(stores: Sequence[BufferPort], sharing: int) -> NDArray[np.float64]:
    """Words that each store delivers to one array in a cycle; (stores,), finite."""
    words = np.array([store.words / sharing for store in stores])
    return np.where(np.isinf(words), _PLENTY, words)
