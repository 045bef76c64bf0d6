"""The measures that a requirement may name, and what each needs to have a value."""

from __future__ import annotations

from collections.abc import Mapping

DATA, BASE, TILES, HARDWARE, AREA = "data", "base", "tiles", "hardware", "area"

# what a measure needs -> the measures
_BY_NEED = {
    "": "passes dense_passes pass_compression cycles dense_cycles compute_cycles stall_cycles dense_stall_cycles "
    "activation_stall_cycles weight_stall_cycles sum_stall_cycles dram_stall_cycles speedup utilisation energy_pj "
    "dense_energy_pj energy_gain zero_gated_energy_pj energy_gain_over_zero_gated energy_per_inference_uj "
    "dense_energy_per_inference_uj macs_covered weights nonzeros density bytes batch arrays fan_in "
    "columns_per_lane_register",
    TILES: "matrix_compression_rate tightness passes_lower_bound gap area area_lower_bound fan_in_max "
    "fan_in_lower_bound lane_inputs lane_inputs_lower_bound packed_bits bit_compression stream_bits",
    HARDWARE: "time_ms dense_time_ms latency_ms dense_latency_ms vector_unit_cycles dram_bytes dense_dram_bytes "
    "dram_activation_bytes dram_weight_bytes dram_output_bytes macs_per_dram_byte macs_per_cycle "
    "roof_macs_per_cycle bank_stall_cycles",
    AREA: "area_mm2 dense_area_mm2 zero_gated_area_mm2 speedup_per_area",
    DATA: "accuracy",
    BASE: "accuracy_drop agreement",
}
# measure -> what it needs, empty where every model has it
MEASURES: Mapping[str, str] = {name: need for need, names in _BY_NEED.items() for name in names.split()}

# why a measure that needs something has no value
MISSING: Mapping[str, str] = {
    DATA: "it needs data; add --data",
    BASE: "it needs data and the model to compare with; add --data and --against",
    TILES: "it needs tiles; permute the model first",
    HARDWARE: "it needs hardware of that kind; add --hardware",
    AREA: "it needs an area table; add --area",
    "": "it is unknown for this model; require another measure",
}
# what tables call a measure -> its name
TITLES: Mapping[str, str] = {
    "compression": "matrix_compression_rate",
    "bound": "passes_lower_bound",
    "energy": "energy_pj",
    "energy_per_inference": "energy_per_inference_uj",
    "stalls": "stall_cycles",
    "bits": "packed_bits",
    "size": "bytes",
    "drop": "accuracy_drop",
    "mm2": "area_mm2",
    "ms": "latency_ms",
    "per_area": "speedup_per_area",
}
# totals of simulate that would always hold: what permute dropped is zero in the model
COUNTED_BY_PERMUTE = ("dropped_weights", "dropped_magnitude")
