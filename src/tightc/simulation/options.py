"""Options of simulate."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tightc.accelerator.options import AcceleratorOptions
from tightc.config.quantity import WORDS_PER_CYCLE, WordsPerCycle


class SimulateOptions(AcceleratorOptions):
    """What is simulated, and how the result is checked."""

    groups: ClassVar = {
        "Hardware": (
            "hardware",
            "array",
            "arrays",
            "dataflow",
            "prefetch_weights",
            "replicate_tiles",
            "columns_per_lane_register",
            "overlap_drain",
            "accumulator_bypass",
        ),
        "Weights": ("weights", "decoder"),
        "Energy and area": ("energy", "area"),
        "Verification": ("verify", "inputs"),
        "Explanation": ("why",),
        "Model inputs": ("batch", "input_shape"),
    }

    dataflow: Literal["ws", "os", "is"] = Field(
        "ws", description="operand that stays in the array: ws (weights), os (outputs) or is (inputs)"
    )
    weights: Literal["packed", "stream"] = Field(
        "packed",
        description="form in which weights come from DRAM: packed, or stream (entropy-coded, as by pack --stream)",
    )
    decoder: WordsPerCycle | None = Field(
        None,
        description=f"weights that the decoder of the stream gives, {WORDS_PER_CYCLE.range}, such as 1 words/cycle; "
        "default: no limit",
    )
    verify: bool = Field(
        False,
        description="also run every layer on the cycle engine and compare its values and cycles",
    )
    why: bool = Field(False, description="also say in one sentence for each layer why it gains what it gains")
    inputs: str | None = Field(
        None,
        description="NumPy .npz file with an array for each model input, for --trace and --verify (implied); default: "
        "random values",
    )
