"""Faults put into the modules and the memory images on purpose: the testbench has to find each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from helpers.rtl_images import Images
from helpers.rtl_models import Weighted, int8, network
from helpers.rtl_runs import icarus, randomly_packed, write
from tightc.errors import VerifyError
from tightc.rtl.cosimulation import simulate_folder

pytestmark = icarus

OVERLAP = {"prefetch_weights": True, "overlap_drain": True}
ONE_HOT, BYPASS, PREFETCH = {"multiplexer": "one-hot"}, {"accumulator_bypass": True}, {"prefetch_weights": True}
SUBWORDS = {"subword_bits": 4}


@dataclass(frozen=True)
class Fault:
    """A text of a module that is replaced, and the options of the accelerator that shows it."""

    module: str
    before: str
    after: str
    options: dict[str, Any] = field(default_factory=dict)


FAULTS = {
    "another input is selected": Fault("multiplexer", "padded[8*select[LEVELS-1:0] +: 8]", "padded[8*(select[LEVELS-1:0] ^ 1) +: 8]"),
    "another input, one-hot": Fault("multiplexer", "inputs[8*i+b] & select[i]", "inputs[8*((i+1)%FAN_IN)+b] & select[i]", ONE_HOT),
    "two inputs, one-hot": Fault("multiplexer", "& select[i];", "& (select[i] | select[0]);", ONE_HOT),
    "an empty slot multiplies": Fault("multiplexer", "select[LEVELS-1:0] +: 8] & {8{select[LEVELS]}}", "select[LEVELS-1:0] +: 8]"),
    "a carry is lost in the array": Fault(
        "pe", "sum_below <= sum_above + product;",
        "sum_below <= {sum_above[SUM_BITS-1:8] + product[SUM_BITS-1:8], sum_above[7:0] + product[7:0]};",
    ),
    "a carry is lost in the accumulators": Fault(
        "accumulators", "total = total + partial[address[ADDRESS_BITS*i +: ADDRESS_BITS]];",
        "total = {total[SUM_BITS-1:12] + partial[address[ADDRESS_BITS*i +: ADDRESS_BITS]][SUM_BITS-1:12], "
        "total[11:0] + partial[address[ADDRESS_BITS*i +: ADDRESS_BITS]][11:0]};",
    ),
    "sums have 16 bits": Fault("pe", "sum_below <= sum_above + product;", "sum_below <= 32'($signed(16'(sum_above + product)));"),
    "weights have no sign": Fault("pe", "chosen * $signed(slot)", "chosen * $signed({1'b0, slot})"),
    "subwords have no sign": Fault("pe", "negative ? -exact : exact", "exact", SUBWORDS),
    "subwords at a wrong place": Fault("pe", "<< (SUBWORD_BITS * place)", "<< (SUBWORD_BITS * 32'(!place))", SUBWORDS),
    "sums are added a cycle late": Fault(
        "accelerator", "always_ff @(posedge clock) leaving <= {bottom_valid, bottom_step};",
        "logic [32:0] held; always_ff @(posedge clock) {leaving, held} <= {held, bottom_valid, bottom_step};",
    ),
    "sums are added a cycle early": Fault(
        "accelerator", "always_ff @(posedge clock) leaving <= {bottom_valid, bottom_step};",
        "assign leaving = {bottom_valid, bottom_step};",
    ),
    "weights are swapped a cycle late": Fault(
        "accelerator", "assign swap_rows = {ROWS{swap}};",
        "logic late; always_ff @(posedge clock) late <= swap; assign swap_rows = {ROWS{late}};", PREFETCH,
    ),
    "the wave of swaps is a cycle late": Fault(
        "accelerator", ".clock(clock), .in(swap), .taps(swap_rows)", ".clock(clock), .in(late), .taps(swap_rows)); "
        "logic late; always_ff @(posedge clock) late <= swap; initial if (0) $display(1", OVERLAP,
    ),
    "all columns are swapped at once": Fault("array", "swaps[OVERLAP != 0 ? c / COLUMNS_PER_REGISTER : 0]", "swaps[0]", OVERLAP),
    "all columns are loaded at once": Fault(
        "loader", "requests[REQUEST_BITS*(c/COLUMNS_PER_REGISTER) +: REQUEST_BITS]", "requests[0 +: REQUEST_BITS]",
        {**OVERLAP, "fit": True},
    ),
    "a swap takes the slot before": Fault(
        "pe", "if (swap) {slot, select} <= load ? {slot_below, select_below} : {next_slot, next_select};",
        "if (swap) {slot, select} <= {next_slot, next_select};", PREFETCH,
    ),
    "a swap takes the lane's list before": Fault("lane_feeder", "entries <= load ? list : next_entries", "entries <= next_entries", PREFETCH),
    "lanes have no registers": Fault("array", "== COLUMNS_PER_REGISTER - 1 ? 1 : 0", "== COLUMNS_PER_REGISTER - 1 ? 0 : 0"),
    "lanes have too many registers": Fault(
        "array", "c % COLUMNS_PER_REGISTER == COLUMNS_PER_REGISTER - 1 ? 1 : 0", "1", {"columns_per_lane_register": 2}
    ),
    "padding is zero": Fault("lane_feeder", ": zero_point", ": 8'd0"),
    "the map is a row too high": Fault("lane_feeder", "at_y < $signed({2'b00, height})", "at_y <= $signed({2'b00, height})"),
    "the map is a column too narrow": Fault("lane_feeder", "at_x >= 0", "at_x > 0"),
    "strides are exchanged": Fault("step_counter", "x + stride_x, y}", "x + stride_y, y}"),
    "the next row is missed": Fault("step_counter", "corner + row_jump", "corner + 32'(stride_x)"),
    "the next image is missed": Fault("step_counter", "corner + image_jump", "corner + row_jump"),
    "the first part is added too": Fault("accumulators", "if (!first[i]) total", "if (1) total"),
    "no part is added": Fault("accumulators", "if (!first[i]) total", "if (0) total"),
    "parts of all filters together": Fault("accumulators", "* filters + 32'(filter)", "* filters"),
    "the last part is not marked": Fault("accumulators", "valid[c] && used[c] && last[c]", "valid[c] && used[c] && last[c] && !first[c]"),
    "every part is marked": Fault("accumulators", "valid[c] && used[c] && last[c]", "valid[c] && used[c]"),
    "a part leaves alone": Fault("accumulators", "complete_sum[SUM_BITS*i +: SUM_BITS] <= total", "complete_sum[SUM_BITS*i +: SUM_BITS] <= sums[SUM_BITS*i +: SUM_BITS]", BYPASS),
    "no half is added": Fault("requantizer", "+ offset)", "+ offset - ((64'sd1 << shift) >> 1))"),
    "negative values are not shifted": Fault("requantizer", "offset) >>> shift", "offset) >> shift"),
    "bytes are not cut below": Fault("requantizer", "scaled < 64'(low) ? low : ", ""),
    "bytes are not cut above": Fault("requantizer", "scaled > 64'(high) ? high : ", ""),
    "the next filter's multiplier": Fault("accelerator", "first_filter + complete_filter[32*c +: 32]", "first_filter + (complete_filter[32*c +: 32] ^ 1)"),
    "a tile starts before it is loaded": Fault("controller", "ready = loaded || last_row", "ready = loaded || load"),
    "a tile starts before the array is empty": Fault("controller", "elapsed + 1 == steps + DRAIN", "elapsed + 2 == steps + DRAIN"),
    "a tile starts before the last step": Fault("controller", "elapsed + 1 >= steps", "elapsed + 2 >= steps", OVERLAP),
    "a tile starts a cycle late": Fault("controller", "elapsed + 1 >= steps", "elapsed >= steps", OVERLAP),
    "a tile is loaded early": Fault("controller", "OVERLAP != 0 ? ROWS - 1 : 0", "OVERLAP != 0 ? ROWS - 2 : 0", OVERLAP),
    "a tile is loaded late": Fault("controller", "OVERLAP != 0 ? ROWS - 1 : 0", "OVERLAP != 0 ? ROWS : 0", {**OVERLAP, "short": True}),
    "a tile is left out": Fault("controller", "!swap && started == tiles", "!swap && started + 1 == tiles"),
    "a layer never ends": Fault("controller", "!swap && started == tiles", "!swap && started == tiles + 1"),
}  # fmt: skip


def proto(short: bool) -> onnx.ModelProto:
    """Two convolutions with zero points, padding, different strides and bytes cut on both sides."""
    side = 3 if short else 6
    return network(
        (2, 3, side, side),
        Weighted("Conv", int8(5, 3, 3, 3), "<pads = [1, 1, 1, 1], strides = [2, 1]>"),
        Weighted("Conv", int8(6, 5, 2, 2), "<pads = [1, 1, 0, 0]>"),
        zero_point=np.uint8(90),
        scale=0.02,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a copy of an accelerator; those with the same options are written once."""
    made: dict[str, Path] = {}

    def copy(to: Path, options: dict[str, Any]) -> Path:
        if str(options) not in made:
            given = dict(options)
            bits, short = given.pop("subword_bits", None), given.pop("short", False)
            folder = made[str(options)] = tmp_path_factory.mktemp("rtl") / "sound"
            write(randomly_packed(proto(short), (4, 4), 3, subword_bits=bits), folder, **given)
            simulate_folder(folder, "icarus")  # sound without the fault
        return Path(shutil.copytree(made[str(options)], to / "rtl"))

    return copy


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_a_module_is_found(fault: Fault, written: Any, tmp_path: Path) -> None:
    folder = written(tmp_path, fault.options)
    source = folder / f"{fault.module}.sv"
    text = source.read_text()
    assert text.count(fault.before) == 1, "the fault has to be written anew"
    source.write_text(text.replace(fault.before, fault.after))
    with pytest.raises(VerifyError, match="got others from icarus: .*FAILED"):
        simulate_folder(folder, "icarus")
