"""Area of the arrays, from an area table: synthesized cells, without wiring, clock tree and buffers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.bank_network import BankNetwork
from tightc.cost_model.bank_area import network_um2
from tightc.cost_model.sensitivity import area_variations
from tightc.tile.array import ArrayShape
from tightc.tile.subwords import subwords_of

AREA_PARTS = ("pes", "feeders", "accumulators", "requantizers", "control")
_UM2_PER_MM2 = 1e6


@dataclass(frozen=True)
class ArrayForm:
    """What decides the area of an array besides the table.

    `fan_in`: inputs of its multiplexers. `shadow`: second registers, to load a tile while one runs. `subword_bits`:
    of the slots, None for whole weights. `bank_network`: None where it is not modeled.
    """

    array: ArrayShape
    arrays: int
    fan_in: int
    columns_per_lane_register: int
    shadow: bool
    subword_bits: int | None
    bank_network: BankNetwork | None = None

    @property
    def dense(self) -> ArrayForm:
        """The ordinary array of whole words that the same multipliers make."""
        subwords = 1 if self.subword_bits is None else subwords_of(self.subword_bits)
        return replace(self, array=self.array.of_words(subwords), fan_in=1, subword_bits=None)

    @classmethod
    def of(cls, accelerator: Accelerator, fan_in: int, subword_bits: int | None) -> ArrayForm:
        """The arrays of `accelerator` with multiplexers of `fan_in` inputs and slots of `subword_bits`."""
        return cls(
            accelerator.array,
            accelerator.arrays,
            fan_in,
            columns_per_lane_register=accelerator.columns_per_lane_register,
            shadow=accelerator.prefetch,
            subword_bits=subword_bits,
            bank_network=accelerator.bank_network,
        )


def area_metrics(form: ArrayForm, speedup: float | None, table: AreaTable) -> dict[str, Any]:
    """The area of `form` by the names of the glossary, and its `speedup` for what it takes more than a dense array."""
    parts, dense_area = area_mm2(form, table), _areas(form, table)[1]
    return {
        "area_table": table.name,
        "area_mm2": sum(parts.values()),
        "dense_area_mm2": dense_area,
        **_zero_gated_area(form.dense, dense_area, table),
        "speedup_per_area": _per_area(form, speedup, table),
        "area_parts_mm2": parts,
        "speedup_per_area_if": [
            {
                "entry": varied.entry,
                "change": varied.change,
                "speedup_per_area": _per_area(form, speedup, varied.table),
            }
            for varied in area_variations(table, lambda one: _areas(form, one) != _areas(form, table))
        ],
    }


def _areas(form: ArrayForm, table: AreaTable) -> tuple[float, float]:
    """mm2 of all arrays of `form`, and of dense ones."""
    return sum(area_mm2(form, table).values()), sum(area_mm2(form.dense, table).values())


def _per_area(form: ArrayForm, speedup: float | None, table: AreaTable) -> float | None:
    area, dense_area = _areas(form, table)
    return None if speedup is None else speedup * dense_area / area


def _zero_gated_area(dense: ArrayForm, dense_area: float, table: AreaTable) -> dict[str, float]:
    """The area of the `dense` arrays with elements that gate zeros; empty where `table` has none.

    Gating adds the same to an element with a lane register or without.
    """
    if table.zero_gated is None:
        return {}
    added = table.zero_gated.area - table.pe(1).area
    pes = dense.arrays * dense.array.rows * dense.array.columns
    return {"zero_gated_area_mm2": dense_area + pes * added / _UM2_PER_MM2}


def area_mm2(form: ArrayForm, table: AreaTable) -> dict[str, float]:
    """mm2 of each of AREA_PARTS of all arrays of `form`, by `table`, and of `bank_network` where there is one.

    OptionError where the table lacks the form.
    """
    rows, columns = form.array
    pe = table.pe_area(
        form.fan_in,
        columns,
        form.columns_per_lane_register,
        shadow=form.shadow,
        subword_bits=form.subword_bits,
    )
    feeder_input = table.shadow_feeder_input if form.shadow else table.feeder_input
    of_one = {
        "pes": rows * columns * pe,
        "feeders": rows * form.fan_in * feeder_input.area,
        "accumulators": columns * table.accumulator.area,
        "requantizers": columns * table.requantizer.area,
        "control": table.controller.area + table.step_counter.area,
    }
    if form.bank_network is not None:
        of_one["bank_network"] = network_um2(form.bank_network, rows, form.fan_in, table)
    return {part: form.arrays * um2 / _UM2_PER_MM2 for part, um2 in of_one.items()}
