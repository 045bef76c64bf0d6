"""The meaning of a simulation's measures: name, unit, definition and formula. Shown by `tightc simulate --explain`."""

from __future__ import annotations

from typing import NamedTuple

SYMBOLS = (
    "R, C: rows and columns of the array; A: arrays. N, K: filters and inputs of a layer (of one group); M: its "
    "vectors, output pixels x batch. A tile is what the array holds in one pass. dense_ measures are those of the same "
    "layer with all its weights on an ordinary array of the same accelerator. Metrics of a packing, such as tightness, "
    "are those of tightc permute."
)


class Definition(NamedTuple):
    """A measure: its unit, empty for a count or a ratio, and its meaning."""

    unit: str
    meaning: str


GLOSSARY: dict[str, Definition] = {
    "passes": Definition(
        "",
        "loads of an array: tiles x temporal tiles. Dense: ws ceil(K/R) ceil(N/C), os ceil(M/R) ceil(N/C), is "
        "ceil(K/R) ceil(M/C), for each group; the last blocks of several groups share a pass where they fit on the "
        "diagonal of the array",
    ),
    "temporal_tiles": Definition(
        "",
        "parts that the steps of a layer are cut into, so that live partial sums or feature maps fit their buffer, or "
        "several arrays have work; each takes all passes. The steps are the M vectors with ws, the N filters with is",
    ),
    "dense_temporal_tiles": Definition("", "temporal_tiles of the dense layer"),
    "passes_by_slots": Definition(
        "", "tiles that the non-zeros fill: non-zeros / (R C), rounded up; no lossless packing has fewer"
    ),
    "passes_by_filters": Definition(
        "",
        "tiles that the columns of the filters fill: sum of ceil(non-zeros of a filter / R) / C, rounded up; no "
        "lossless packing has fewer, whatever its fan-in",
    ),
    "why": Definition(
        "",
        "with --why: a sentence on what limits the gain. Its numbers are those of the layer with a limit taken away: "
        "tiles by slots, by filters and by fan-in, cycles without stalls, energy without a part",
    ),
    "arrays_used": Definition("", "arrays that the layer runs on; fewer than A where buffers limit"),
    "pass_compression": Definition("", "dense_passes / passes"),
    "cycles": Definition("cycles", "compute_cycles + all stall cycles"),
    "compute_cycles": Definition(
        "cycles",
        "cycles on the arrays without stalls. A pass takes R (load) + T (stream) + R + C - 2 (drain), with T = M for "
        "ws and N for is; for os it takes K + R + C - 2. These are SCALE-Sim 3.0.0's total cycles + 1. With "
        "prefetching, loading overlaps the stream before: first load + sum of max(T + R + C - 2, next load). With g "
        "columns to a lane register, R - 1 + (C - 1) // g replaces R + C - 2. With overlapped draining, the start of "
        "each tile but the first is max(T, R - 1 + its load) after the start before. Where tiles are replicated, T is "
        "divided among the replicas of a tile. Passes are dealt to the A arrays in turn, and the busiest array counts",
    ),
    "activation_stall_cycles": Definition(
        "cycles",
        "stalls of the activation buffer: a pass that reads w distinct words a step takes max(T, ceil(T w / words per "
        "cycle)) to stream. Arrays share the bandwidth. Where several buffers limit, stalls are attributed to "
        "activations first, then weights, then sums",
    ),
    "bank_stall_cycles": Definition(
        "cycles",
        "where the activation buffer has B banks: stalls that a buffer without banks would not have. The "
        "positions of a channel are in consecutive banks. Channels begin where the one before ends, or where a descent "
        "finds fewer conflicts. Each bank gives one word in a cycle. A step takes as many cycles as the fullest "
        "bank has words of it. Where a lane reaches fewer banks, a rotator brings them all to it: a step takes the "
        "cycles of all rotations, and a word that lanes need in several rotations is read in each. Arrays and "
        "replicas take turns at the banks. These stalls come before those of the buffers",
    ),
    "weight_stall_cycles": Definition(
        "cycles",
        "stalls of the weight buffer: loading takes max(R, ceil(words of tile and index / words per cycle))",
    ),
    "sum_stall_cycles": Definition(
        "cycles",
        "stalls of the partial-sum buffer: a step writes a sum for each column, and reads one where an earlier pass "
        "or column left a partial sum; with the bypass, complete sums are not written",
    ),
    "dram_stall_cycles": Definition(
        "cycles",
        "stalls of DRAM: transfers through double buffers beyond the cycles on the arrays, and all transfers through "
        "single buffers; a decoder takes weights / its rate, at the same time",
    ),
    "stall_cycles": Definition("cycles", "all stall cycles together"),
    "speedup": Definition("", "dense_cycles / cycles"),
    "utilisation": Definition("", "multiply-accumulates of non-zero weights / (A R C x cycles)"),
    "time_ms": Definition("ms", "cycles / clock"),
    "latency_ms": Definition(
        "ms",
        "of the whole network in one run, with the batch: (cycles + vector_unit_cycles) / clock. Layers and the vector "
        "unit take turns. Unknown where vector_unit_cycles are",
    ),
    "vector_unit_cycles": Definition(
        "cycles",
        "operations of each operator that no array runs / vector_unit of the hardware file, rounded up, summed over "
        "the operators. Elementwise operators and reductions take an operation for each element that they read or "
        "write, whichever are more; pools one for each cell of their windows; softmax and normalizations five an "
        "element; linear resizing four a pixel; layers that are not covered one for each multiply-accumulate. Bias, "
        "batch normalization, scale, Relu and Clip right behind a layer run as its sums leave, and quantization as "
        "results are written: none. Addressing (reshape, concatenate, split, slice): none. Unknown where the "
        "operations of an operator are",
    ),
    "vector_unit_operators": Definition("", "the operators of vector_unit_cycles, with their operations"),
    "dram_bytes": Definition("bytes", "dram_activation_bytes + dram_weight_bytes + dram_output_bytes"),
    "dram_activation_bytes": Definition(
        "bytes",
        "feature map read: once if a temporal tile of it fits the activation buffer, else for every pass the channels "
        "that it reads; 0 if the map fits and the hardware keeps feature maps",
    ),
    "dram_weight_bytes": Definition(
        "bytes",
        "weights and index read: once if the layer's fit their buffer, else for each temporal tile; of layers in a "
        "weight stream, with --weights stream, its bytes",
    ),
    "stream_bits": Definition(
        "bits",
        "weights, selects, lists of inputs and filters as an entropy-coded memory image, as pack --stream writes it; "
        "layers without tiles of their own do not count",
    ),
    "dram_output_bytes": Definition("bytes", "outputs written; 0 if they stay on chip for the next layer"),
    "macs_per_dram_byte": Definition(
        "",
        "operational intensity: multiply-accumulates done (zeros of a dense layer included) / dram_bytes",
    ),
    "macs_per_cycle": Definition("", "multiply-accumulates done / cycles"),
    "roof_macs_per_cycle": Definition(
        "",
        "min(A R C, macs_per_dram_byte x DRAM bytes per cycle): the roofline",
    ),
    "roof": Definition("", "the lower roof: array or dram"),
    "energy_pj": Definition(
        "pJ",
        "events x the energy table; a model, not a measurement. mac: multiply and add; empty slots of a tile do "
        "nothing, zeros of a dense array do. idle: cycles of PEs without a multiply-accumulate, on all arrays: A R C "
        "x cycles less these; 0 where the table assumes clock gating. multiplexer: 2:1 levels that an activation "
        "passes, ceil(log2 fan-in) for each MAC, with the fan-in of the hardware or, on ideal hardware, of the tiles; "
        "none for tiles of fan-in 1. registers: a lane's inputs move through the registers of all columns used, a sum "
        "(4 bytes) through all lanes used, weights to their row. lanes: words put on the edges. activation_buffer: "
        "distinct inputs of a tile x T, outputs written, and read again if they go to DRAM. weight_buffer: lanes x "
        "columns of each tile; of a dense layer its weights. partial_sum_buffer: every sum written once and read "
        "once, to be added to or to leave, but for those that bypass it. index: selects, lane lists, column filters. "
        "dram: dram_bytes. bank_network, where there are banks: 2:1 levels, ceil(log2 reach) for each lane input; "
        "with a reach below all banks also ceil(log2 banks) for each word read. Transfers from DRAM are also written "
        "to their buffer. Groups and replicas are placed on the diagonal: streamed operands pass those before their "
        "own, and sums those after",
    ),
    "energy_parts_pj": Definition("pJ", "energy_pj by part, as named there"),
    "energy_gain": Definition("", "dense_energy_pj / energy_pj"),
    "zero_gated_energy_pj": Definition(
        "pJ",
        "dense_energy_pj on an array whose PEs hold still for zero weights: these take their slots and cycles, and "
        "count as idle, not as multiply-accumulates. Zero activations are not known, and the gating itself takes no "
        "energy",
    ),
    "energy_gain_over_zero_gated": Definition("", "zero_gated_energy_pj / energy_pj"),
    "energy_per_inference_uj": Definition(
        "uJ", "energy_pj x 1e-6 / batch; of a whole run where the batch is unknown"
    ),
    "batch": Definition(
        "",
        "inputs of the network in one run, whose cycles and energy are counted: the first dimension of the model's "
        "inputs; unknown where they disagree, or where it is above 1 and no output has it, at its beginning if fixed",
    ),
    "energy_gain_if": Definition(
        "",
        "sensitivity: energy_gain with an entry of the energy table halved, 20 % lower or higher, or doubled, with all "
        "assumed ones, or with a range at its upper end; assumed: whether the entry is, or a range",
    ),
    "area_mm2": Definition(
        "mm2",
        "with --area: of the arrays by a synthesized table, without wiring, clock tree and buffers. pes: R x C "
        "processing elements, of which C // g a row hold the lane's registers. feeders: R x fan-in inputs. "
        "accumulators and requantizers: one a column. control: controller and step counter. bank_network, where there "
        "are banks: for each of R x fan-in lane inputs a multiplexer of the banks in reach, and a register; with a "
        "reach below all banks also a rotator of banks x ceil(log2 banks) 2:1 multiplexers. The fan-in is that of the "
        "hardware, else that of the packings. dense_area_mm2: the same with whole weights and a fan-in of 1",
    ),
    "zero_gated_area_mm2": Definition(
        "mm2", "dense_area_mm2 with elements that gate zeros, where the table has them"
    ),
    "area_parts_mm2": Definition("mm2", "area_mm2 by part, as named there"),
    "speedup_per_area_if": Definition(
        "",
        "sensitivity: speedup_per_area with an entry of the area table that it depends on halved, 20 % lower or "
        "higher, or doubled",
    ),
    "speedup_per_area": Definition("", "speedup / (area_mm2 / dense_area_mm2)"),
    "macs_covered": Definition("", "fraction of the model's multiply-accumulates that the layers do"),
    "engine_cycles": Definition(
        "cycles",
        "with --verify: cycles on the arrays that the cycle engine counted",
    ),
    "verified_layers": Definition(
        "",
        "with --verify: layers on which engine, closed form and onnxruntime agree; all, or the command fails",
    ),
    "value_error": Definition(
        "",
        "with --verify: largest difference between the engine's and onnxruntime's outputs / the largest output",
    ),
}
