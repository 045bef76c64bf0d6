"""Slow, plain answers to compare tightc with: loops over lists, nothing imported from tightc.

A packing is a list of tiles; a tile is a dict of plain lists: `lanes` (the inputs that each lane carries), `filters`
(one for each column) and `select` (rows of columns, -1 for an empty slot).
"""

from oracle.banks import best_step
from oracle.counts import SCALE_SIM, dense_cycles, events, live_sums, map_bytes_fetched, map_cells
from oracle.dense import Part, dense_blocks, dense_tiles, with_groups
from oracle.keeping import (
    greedy_units,
    largest_faults,
    largest_step,
    most_relaxed_saliency,
    most_saliency,
    most_saliency_of_points,
    points,
    regrown,
    segments,
    smallest_zeroed,
)
from oracle.machine import Machine, Run
from oracle.packings import (
    EMPTY,
    best_nm_magnitude,
    block_diagonal,
    combined_inputs,
    combined_kept,
    first_fit,
    lower_bound,
    nm_bound,
    nm_kept,
    packing_faults,
    plain,
)
from oracle.pass_bounds import fewest_passes, passes_bound
from oracle.slots import anneal_cost, index_bits, measures, packed_bits, with_index
from oracle.systolic import cut, run_dense, run_packing, run_stationary, stored_words
from oracle.windows import convolution, im2col

__all__ = [
    "EMPTY",
    "SCALE_SIM",
    "Machine",
    "Part",
    "Run",
    "anneal_cost",
    "best_nm_magnitude",
    "best_step",
    "block_diagonal",
    "combined_inputs",
    "combined_kept",
    "convolution",
    "cut",
    "dense_blocks",
    "dense_cycles",
    "dense_tiles",
    "events",
    "fewest_passes",
    "first_fit",
    "greedy_units",
    "im2col",
    "index_bits",
    "largest_faults",
    "largest_step",
    "live_sums",
    "lower_bound",
    "map_bytes_fetched",
    "map_cells",
    "measures",
    "most_relaxed_saliency",
    "most_saliency",
    "most_saliency_of_points",
    "nm_bound",
    "nm_kept",
    "packed_bits",
    "packing_faults",
    "passes_bound",
    "plain",
    "points",
    "regrown",
    "run_dense",
    "run_packing",
    "run_stationary",
    "segments",
    "smallest_zeroed",
    "stored_words",
    "with_groups",
    "with_index",
]
