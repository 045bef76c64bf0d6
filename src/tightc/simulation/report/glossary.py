"""What the figures of a simulation mean: name, unit, definition with its formula. `tightc simulate --explain`."""

from __future__ import annotations

from typing import NamedTuple

SYMBOLS = (
    "R, C: rows and columns of the array; A: arrays; N, K: filters and inputs of a layer (of one group); M: "
    "its vectors, output pixels x batch. A tile is what the array holds in one pass. Every dense_ figure is "
    "that of the same layer with all its weights on an ordinary array of the same chip. Figures of an "
    "arrangement, such as area or tightness, are those of tightc permute."
)


class Definition(NamedTuple):
    """A figure: its unit, empty for a count or a ratio, and what it is."""

    unit: str
    meaning: str


GLOSSARY: dict[str, Definition] = {
    "passes": Definition(
        "",
        "how often an array is loaded: tiles x pieces. Dense: ws ceil(K/R) ceil(N/C), os ceil(M/R) "
        "ceil(N/C), is ceil(K/R) ceil(M/C), for each group; the last blocks of several groups share a pass "
        "where they fit side by side",
    ),
    "pieces": Definition(
        "",
        "into how many parts the steps of a layer are cut, so that sums or feature maps fit or arrays have "
        "something to do; each part takes all passes",
    ),
    "arrays_used": Definition("", "arrays that the layer runs on; fewer than there are where buffers limit"),
    "pass_compression": Definition("", "dense_passes / passes"),
    "cycles": Definition("cycles", "compute_cycles + the four stall cycles"),
    "compute_cycles": Definition(
        "cycles",
        "cycles on the arrays if buffers kept up. A pass takes R (load) + T (stream) + R + C - 2 (empty), T "
        "= M with ws, N with is; with os K + R + C - 2. These are SCALE-Sim 3.0.0's total cycles + 1. With "
        "prefetching the next load hides behind the stream: first load + sum of max(T + R + C - 2, next "
        "load). Side by side, T is divided among the copies of a tile. Passes are dealt to A arrays in "
        "turn, the one that is busy longest counts",
    ),
    "activation_stall_cycles": Definition(
        "cycles",
        "waiting for the activation buffer: a pass that reads w different words a step takes max(T, ceil(T "
        "w / words per cycle)) to stream. Arrays share the words. Where several buffers limit, activations "
        "are relieved first, then weights, then sums, and each counts what it adds",
    ),
    "weight_stall_cycles": Definition(
        "cycles",
        "waiting for the weight buffer: loading takes max(R, ceil(words of tile and index / words per "
        "cycle))",
    ),
    "sum_stall_cycles": Definition(
        "cycles",
        "waiting for the partial-sum buffer: a step writes a sum for each column, and reads one where an "
        "earlier pass or column left it",
    ),
    "dram_stall_cycles": Definition(
        "cycles",
        "waiting for DRAM: what moves through double buffers beyond the cycles on the arrays, and all that "
        "moves through single ones",
    ),
    "stall_cycles": Definition("cycles", "the four together"),
    "speedup": Definition("", "dense_cycles / cycles"),
    "utilisation": Definition("", "multiply-accumulates of weights that are not zero / (A R C x cycles)"),
    "time_ms": Definition("ms", "cycles / clock"),
    "dram_bytes": Definition("bytes", "dram_activation_bytes + dram_weight_bytes + dram_output_bytes"),
    "dram_activation_bytes": Definition(
        "bytes",
        "feature map read: once if a piece of it fits into the activation buffer, else for every pass the "
        "channels that it reads; 0 if it fits and the hardware keeps feature maps",
    ),
    "dram_weight_bytes": Definition(
        "bytes",
        "weights and index: once if a layer's fit into their buffer, else for each of its pieces",
    ),
    "dram_output_bytes": Definition(
        "bytes",
        "outputs written; 0 if they stay on the chip for the next layer",
    ),
    "macs_per_dram_byte": Definition(
        "",
        "operational intensity: multiply-accumulates done (zeros of a dense layer included) / dram_bytes",
    ),
    "macs_per_cycle": Definition("", "multiply-accumulates done / cycles"),
    "roof_macs_per_cycle": Definition(
        "",
        "min(A R C, macs_per_dram_byte x DRAM bytes per cycle): the roofline",
    ),
    "roof": Definition("", "which roof is the lower: array or dram"),
    "energy_pj": Definition(
        "pJ",
        "events x the energy table; a model, not a measurement. mac: multiply and add; empty slots of a "
        "tile do nothing, zeros of a dense array do. multiplexer: each 2:1 level that an activation passes, "
        "ceil(log2 fan-in) for each MAC, the fan-in of the hardware or, on an ideal chip, of the tiles. "
        "registers: a lane's inputs move through all columns used, a sum (4 bytes) through all lanes used, "
        "weights to their row. lanes: words put on the edges. activation_buffer: different inputs of a tile "
        "x T, outputs written, and read again if they go to DRAM. weight_buffer: lanes x columns of each "
        "tile; of a dense layer its weights. partial_sum_buffer: every sum written once and read once, to "
        "be added to or to leave. index: selects, lane lists, column filters. dram: dram_bytes. What comes "
        "from DRAM is also written to its buffer. Groups and copies side by side stand on the diagonal: "
        "what streams in passes those before its own, sums pass those after",
    ),
    "energy_parts_pj": Definition("pJ", "energy_pj by part, as named there"),
    "energy_gain": Definition("", "dense_energy_pj / energy_pj"),
    "energy_gain_if": Definition(
        "",
        "energy_gain if an assumed entry of the table were half or twice as large, or a range at its other "
        "end",
    ),
    "macs_covered": Definition("", "share of the model's multiply-accumulates that the layers do"),
    "engine_cycles": Definition(
        "cycles",
        "with --verify: cycles on the arrays that the cycle engine counted",
    ),
    "verified_layers": Definition(
        "",
        "with --verify: layers in which everyone agreed; all, or the command fails",
    ),
    "value_error": Definition(
        "",
        "with --verify: the largest difference between the engine's and onnxruntime's outputs / the largest "
        "output",
    ),
}
