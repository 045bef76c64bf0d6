"""Closed forms, counts of events and energy; nothing imported from tightc."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import ceil
from typing import Any

from oracle.machine import Run
from oracle.packings import EMPTY

# SCALE-Sim 3.0.0: (ifmap height and width with padding, kernel, channels, filters) -> cycles on a 32x32 array
SCALE_SIM = {
    (34, 3, 16, 16): {"ws": 5590, "os": 6592, "is": 17600},
    (18, 3, 32, 32): {"ws": 3150, "os": 2800, "is": 9072},
    (10, 3, 64, 64): {"ws": 5688, "os": 2552, "is": 5688},
}


def dense_cycles(dataflow: str, R: int, C: int, N: int, K: int, M: int) -> int:
    """SCALE-Sim's "Total Cycles" + 1."""
    if dataflow == "ws":
        return ceil(K / R) * ceil(N / C) * (2 * R + C + M - 2)
    if dataflow == "os":
        return ceil(M / R) * ceil(N / C) * (K + R + C - 2)
    return ceil(K / R) * ceil(M / C) * (2 * R + C + N - 2)


def events(
    dataflow: str,
    run: Run,
    outputs: int,
    operand_bytes: int,
    moved: tuple[int, int, int],
    pe_cycles: int,
) -> dict[str, int]:
    """Bytes and bits from the words that `run` counted; sums have 4 bytes.

    `outputs`: of the layer, written to the activation buffer. `moved`: bytes of activations, weights and outputs
    between DRAM and the buffers; the first two are written to theirs, outputs are read from that of activations.
    `pe_cycles`: PEs of all arrays x cycles of the layer.
    """
    counts, size = run.counts, operand_bytes
    loaded = counts["loaded"] * size
    from_left, from_above = counts["streamed"] * size, counts["from_above"] * size
    by_dataflow = {  # read by the array from the buffers of activations and of weights
        "ws": (from_left, loaded),
        "is": (loaded, from_left),
        "os": (from_left, from_above),
    }
    activations, weights = by_dataflow[dataflow]
    return {
        "macs": counts["mac"],
        "multiplied_words": counts["mac"],
        "idle_pe_cycles": pe_cycles - counts["mac"],
        "multiplexer_bytes": counts["level"] * size,
        "register_bytes": (counts["register"] + counts["load_hops"]) * size + counts["sum"] * 4,
        "lane_bytes": counts["edge"] * size + loaded,
        "activation_buffer_bytes": activations + outputs * size + moved[0] + moved[2],
        "weight_buffer_bytes": weights + moved[1],
        # what was written last for a place is read too, to leave
        "partial_sum_buffer_bytes": 4 * (2 * counts["sum_written"]),
        "index_bits": counts["index_bits"],
        "dram_bytes": sum(moved),
    }


def map_cells(
    dataflow: str, shape: tuple[int, int, int], vectors: int, positions: int, tiles: Any
) -> list[set[tuple[int, int]]]:
    """For each pass the (channel, vector) cells of the feature map that it reads.

    `shape`: filters and inputs of a group, groups; `positions`: inputs from one channel. `tiles`: the tiles of ws and
    is, whose columns are vectors; the blocks of os, whose inputs are vectors.
    """
    _, inputs, _ = shape
    cells = []
    for tile in tiles:
        if dataflow == "os":
            read = {
                ((part.group * inputs + k) // positions, m)
                for part in tile
                for k in range(inputs)
                for m in part.inputs
            }
        else:
            read = {
                (lane[choice] // positions, m)
                for lane, selected in zip(tile["lanes"], tile["select"], strict=True)
                for f, choice in zip(tile["filters"], selected, strict=True)
                if choice != EMPTY
                for m in (range(vectors) if dataflow == "ws" else [f % vectors])
            }
        cells.append(read)
    return cells


def map_bytes_fetched(
    cells: list[set[tuple[int, int]]], total_cells: int, size: int, fits: bool, times: int
) -> int:
    """Bytes of a feature map of `size` bytes, spread evenly over its cells, that passes fetch.

    Of one that fits, each cell that any pass reads is fetched once; of another a pass fetches all that it reads, and
    all passes do so `times`.
    """
    if fits:
        return ceil(Fraction(size * len(set().union(*cells)), total_cells))
    return ceil(Fraction(size * times * sum(len(read) for read in cells), total_cells))


def live_sums(filters: list[list[int]], temporal_tiles: list[range], arrays: int) -> int:
    """The most partial sums that are live at any time.

    `filters`: for each pass those of its columns. Each of `temporal_tiles` takes all passes, for each of its steps; the
    passes of one after the other run, `arrays` at a time. A sum is live from the round of its first pass to that of its
    last, if these are two passes.
    """
    spans = []
    for f in {f for own in filters for f in own}:
        its = [number for number, own in enumerate(filters) if f in own]
        if its[0] != its[-1]:
            spans.append((its[0], its[-1]))
    waiting: Counter[int] = Counter()
    for i, temporal_tile in enumerate(temporal_tiles):
        for first, last in spans:
            rounds = (i * len(filters) + first) // arrays, (i * len(filters) + last) // arrays
            for time in range(rounds[0], rounds[1] + 1):
                waiting[time] += len(temporal_tile)
    return max(waiting.values(), default=0)
