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
ONE_HOT, BYPASS, PREFETCH = (
    {"multiplexer": "one-hot"},
    {"accumulator_bypass": True},
    {"prefetch_weights": True},
)
SUBWORDS = {"subword_bits": 4}


FAILED = r"got others from icarus: .*FAILED"


@dataclass(frozen=True)
class Fault:
    """A text of a module that is replaced, and the options of the accelerator that shows it."""

    module: str
    before: str
    after: str
    options: dict[str, Any] = field(default_factory=dict)


FAULTS = {
    "another input is selected": Fault(
        "multiplexer", "padded[8*select[LEVELS-1:0] +: 8]", "padded[8*(select[LEVELS-1:0] ^ 1) +: 8]"
    ),
    "another input, one-hot": Fault(
        "multiplexer", "inputs[8*i+b] & select[i]", "inputs[8*((i+1)%FAN_IN)+b] & select[i]", ONE_HOT
    ),
    "two inputs, one-hot": Fault("multiplexer", "& select[i];", "& (select[i] | select[0]);", ONE_HOT),
    "a carry is lost in the array": Fault(
        "pe",
        "sum_below <= sum_above + product;",
        "sum_below <= {sum_above[SUM_BITS-1:8] + product[SUM_BITS-1:8], sum_above[7:0] + product[7:0]};",
    ),
    "a carry is lost in the accumulators": Fault(
        "accumulators",
        "total = total + partial[address[ADDRESS_BITS*i +: ADDRESS_BITS]];",
        "total = {total[SUM_BITS-1:12] + partial[address[ADDRESS_BITS*i +: ADDRESS_BITS]][SUM_BITS-1:12], "
        "total[11:0] + partial[address[ADDRESS_BITS*i +: ADDRESS_BITS]][11:0]};",
    ),
    "sums have 13 bits": Fault(
        "pe", "sum_below <= sum_above + product;", "sum_below <= 32'($signed(13'(sum_above + product)));"
    ),
    "weights have no sign": Fault("pe", "chosen * $signed(slot)", "chosen * $signed({1'b0, slot})"),
    "subwords have no sign": Fault("pe", "negative ? -exact : exact", "exact", SUBWORDS),
    "subwords at a wrong place": Fault(
        "pe", "<< (SUBWORD_BITS * place)", "<< (SUBWORD_BITS * 32'(!place))", SUBWORDS
    ),
    "sums are added a cycle late": Fault(
        "accelerator",
        "always_ff @(posedge clock) leaving <= {bottom_valid, bottom_step};",
        "logic [32:0] held; always_ff @(posedge clock) {leaving, held} <= {held, bottom_valid, bottom_step};",
    ),
    "sums are added a cycle early": Fault(
        "accelerator",
        "always_ff @(posedge clock) leaving <= {bottom_valid, bottom_step};",
        "assign leaving = {bottom_valid, bottom_step};",
    ),
    "weights are swapped a cycle late": Fault(
        "accelerator",
        "assign swap_rows = {ROWS{swap}};",
        "logic late; always_ff @(posedge clock) late <= swap; assign swap_rows = {ROWS{late}};",
        PREFETCH,
    ),
    "the wave of swaps is a cycle late": Fault(
        "accelerator",
        ".clock(clock), .in(swap), .taps(swap_rows)",
        ".clock(clock), .in(late), .taps(swap_rows)); "
        "logic late; always_ff @(posedge clock) late <= swap; initial if (0) $display(1",
        OVERLAP,
    ),
    "all columns are swapped at once": Fault(
        "array", "swaps[OVERLAP != 0 ? c / COLUMNS_PER_REGISTER : 0]", "swaps[0]", OVERLAP
    ),
    "all columns are loaded at once": Fault(
        "loader",
        "requests[REQUEST_BITS*(c/COLUMNS_PER_REGISTER) +: REQUEST_BITS]",
        "requests[0 +: REQUEST_BITS]",
        OVERLAP,
    ),
    "a swap takes the slot before": Fault(
        "pe",
        "if (swap) {slot, select} <= load ? {slot_below, select_below} : {next_slot, next_select};",
        "if (swap) {slot, select} <= {next_slot, next_select};",
        PREFETCH,
    ),
    "a swap takes the lane's list before": Fault(
        "lane_feeder", "entries <= load ? entries_in : next_entries", "entries <= next_entries", PREFETCH
    ),
    "lanes have no registers": Fault(
        "array", "== COLUMNS_PER_REGISTER - 1 ? 1 : 0", "== COLUMNS_PER_REGISTER - 1 ? 0 : 0"
    ),
    "lanes have too many registers": Fault(
        "array",
        "c % COLUMNS_PER_REGISTER == COLUMNS_PER_REGISTER - 1 ? 1 : 0",
        "1",
        {"columns_per_lane_register": 2},
    ),
    "padding is zero": Fault("lane_feeder", ": zero_point", ": 8'd0"),
    "the map is a row too high": Fault(
        "lane_feeder", "at_y < $signed({2'b00, height})", "at_y <= $signed({2'b00, height})"
    ),
    "the map is a column too narrow": Fault("lane_feeder", "at_x >= 0", "at_x > 0"),
    "strides are exchanged": Fault("step_counter", "x + stride_x, y}", "x + stride_y, y}"),
    "the next row is missed": Fault("step_counter", "corner + row_jump", "corner + 32'(stride_x)"),
    "the next image is missed": Fault("step_counter", "corner + image_jump", "corner + row_jump"),
    "the first part is added too": Fault("accumulators", "if (!first[i]) total", "if (1) total"),
    "no part is added": Fault("accumulators", "if (!first[i]) total", "if (0) total"),
    "parts of all filters together": Fault("accumulators", "* filters + 32'(filter)", "* filters"),
    "the last part is not marked": Fault(
        "accumulators", "valid[c] && used[c] && last[c]", "valid[c] && used[c] && last[c] && filter != 1"
    ),
    "every part is marked": Fault("accumulators", "valid[c] && used[c] && last[c]", "valid[c] && used[c]"),
    "a part leaves alone": Fault(
        "accumulators",
        "complete_sum[SUM_BITS*i +: SUM_BITS] <= total",
        "complete_sum[SUM_BITS*i +: SUM_BITS] <= sums[SUM_BITS*i +: SUM_BITS]",
        BYPASS,
    ),
    "no half is added": Fault(
        "requantizer", "64'(multiplier) + offset)", "64'(multiplier) + offset - ((64'sd1 << shift) >> 1))"
    ),
    "negative values are not shifted": Fault("requantizer", "offset) >>> shift", "offset) >> shift"),
    "bytes are not cut below": Fault("requantizer", "scaled < 64'(low) ? low : ", ""),
    "bytes are not cut above": Fault("requantizer", "scaled > 64'(high) ? high : ", ""),
    "the next filter's multiplier": Fault(
        "accelerator",
        "first_filter + complete_filter[32*c +: 32]",
        "first_filter + (complete_filter[32*c +: 32] ^ 1)",
    ),
    "a tile starts before it is loaded": Fault(
        "controller", "ready = loaded || last_row", "ready = loaded || load"
    ),
    "a tile starts before the array is empty": Fault(
        "controller", "elapsed + 1 == steps + DRAIN", "elapsed + 2 == steps + DRAIN"
    ),
    "a tile starts before the last step": Fault(
        "controller", "elapsed + 1 >= steps", "elapsed + 2 >= steps", OVERLAP
    ),
    "a tile starts a cycle late": Fault("controller", "elapsed + 1 >= steps", "elapsed >= steps", OVERLAP),
    "a tile is loaded early": Fault(
        "controller", "OVERLAP != 0 ? ROWS - 1 : 0", "OVERLAP != 0 ? ROWS - 2 : 0", OVERLAP
    ),
    "a tile is loaded late": Fault(
        "controller", "OVERLAP != 0 ? ROWS - 1 : 0", "OVERLAP != 0 ? ROWS : 0", {**OVERLAP, "short": True}
    ),
    "a tile is left out": Fault("controller", "!swap && started == tiles", "!swap && started + 1 == tiles"),
    "a layer never ends": Fault("controller", "!swap && started == tiles", "!swap && started == tiles + 1"),
}


def proto(short: bool) -> onnx.ModelProto:
    """Two convolutions with zero points, padding, different strides and bytes cut on both sides."""
    side = 3 if short else 6
    return network(
        (1 if short else 2, 3, side, side),
        Weighted("Conv", int8(5, 3, 3, 3), "<pads = [1, 1, 1, 1], strides = [2, 1]>"),
        Weighted("Conv", int8(6, 5, 2, 2), "<pads = [0, 0, 1, 1]>"),
        zero_point=np.uint8(100),
        scale=0.01,
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
    with pytest.raises(VerifyError, match=FAILED):
        simulate_folder(folder, "icarus")


def flip(folder: Path, name: str, number: int, bit: int) -> None:
    """Changes a bit of a word of an image."""
    words = (folder / name).read_text().split()
    words[number] = f"{int(words[number], 16) ^ 1 << bit:0{len(words[number])}x}"
    (folder / name).write_text("\n".join(words) + "\n")


def used_slot(images: Images) -> tuple[int, int, int]:
    """Tile, row and column of a slot that multiplies an input other than its lane's first."""
    selects = images.tile_words("selects.hex", images.array[1])
    tile, row, column = np.argwhere(selects > 1 << (images.fan_in - 1).bit_length())[0]
    return int(tile), int(row), int(column)


def slot_word(images: Images) -> int:
    tile, row, column = used_slot(images)
    return (tile * images.array[0] + row) * images.array[1] + column


def lane_word(images: Images) -> int:
    """The word of the input that the slot multiplies."""
    tile, row, column = used_slot(images)
    number = images.tile_words("selects.hex", images.array[1])[tile, row, column]
    lane = (tile * images.array[0] + row) * images.fan_in
    return int(lane + (number & (1 << (images.fan_in - 1).bit_length()) - 1))


def column_word(images: Images) -> int:
    """The word of the slot's column."""
    tile, _, column = used_slot(images)
    return tile * images.array[1] + column


FLIPPED = {
    "a weight": ("slots.hex", slot_word, 2),
    "the number of a select": ("selects.hex", slot_word, 0),
    "the use of a slot": ("selects.hex", slot_word, 2),
    "the use of a lane's input": ("lanes.hex", lane_word, 63),
    "x of a lane's input": ("lanes.hex", lane_word, 50),
    "y of a lane's input": ("lanes.hex", lane_word, 34),
    "the offset of a lane's input": ("lanes.hex", lane_word, 0),
    "the use of a column": ("columns.hex", column_word, 31),
    "the first part": ("columns.hex", column_word, 30),
    "the last part": ("columns.hex", column_word, 29),
    "the filter of a column": ("columns.hex", column_word, 0),
    "a multiplier": ("multipliers.hex", lambda _: 1, 28),
    "an offset": ("offsets.hex", lambda _: 1, 45),
    "a shift": ("shifts.hex", lambda _: 1, 0),
    "an activation": ("activations.hex", lambda _: 8, 0),
    "a sum": ("sums.hex", lambda _: 0, 0),
    "a byte": ("bytes.hex", lambda _: 1, 1),
    "a start": ("starts.hex", lambda _: 1, 0),
}


@pytest.mark.parametrize("name", FLIPPED)
def test_a_flipped_bit_of_an_image_is_found(name: str, written: Any, tmp_path: Path) -> None:
    folder = written(tmp_path, {})
    file, word, bit = FLIPPED[name]
    flip(folder, file, word(Images(folder)), bit)
    with pytest.raises(VerifyError, match=FAILED):
        simulate_folder(folder, "icarus")


# all that are read but 20, which says whether bytes are compared at all, and 21, which only --chain reads
@pytest.mark.parametrize("word", [number for number in range(23) if number not in (20, 21)])
def test_a_flipped_bit_of_a_record_is_found(word: int, written: Any, tmp_path: Path) -> None:
    folder = written(tmp_path, {})
    flip(folder, "layers.hex", 24 + word, 0)
    with pytest.raises(VerifyError, match=FAILED):
        simulate_folder(folder, "icarus")


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An accelerator whose second layer reads the first through a mean."""
    proto = network(
        (2, 3, 8, 7),
        Weighted("Conv", int8(4, 3, 2, 2), "<pads = [0, 0, 1, 1]>"),
        "Relu",
        "AveragePool<kernel_shape = [3, 2], strides = [2, 1], pads = [1, 1, 1, 1]>",
        Weighted("Conv", int8(3, 4, 2, 2)),
        zero_point=np.int8(0),
    )
    folder = tmp_path_factory.mktemp("rtl") / "linked"
    write(randomly_packed(proto, (4, 4), 3), folder)
    simulate_folder(folder, "icarus", chain=True)
    return folder


# all but 0: without a link, the layer reads what the image holds
@pytest.mark.parametrize("word", range(1, 14))
def test_a_flipped_bit_of_a_link_is_found(word: int, linked: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(linked, tmp_path / "rtl"))
    flip(folder, "links.hex", 16 + word, 0)
    with pytest.raises(VerifyError, match=FAILED):
        simulate_folder(folder, "icarus", chain=True)


def test_a_flipped_first_activation_is_found(linked: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(linked, tmp_path / "rtl"))
    flip(folder, "layers.hex", 24 + 21, 0)
    with pytest.raises(VerifyError, match=FAILED):
        simulate_folder(folder, "icarus", chain=True)


IMAGES = [
    "layers", "slots", "selects", "lanes", "columns", "multipliers", "offsets", "shifts", "activations", "sums",
    "bytes", "starts", "links",
]  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("lines", [None, 0, 1])
def test_an_image_that_is_missing_or_cut_is_found(
    name: str, lines: int | None, linked: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(linked, tmp_path / "rtl"))
    path = folder / f"{name}.hex"
    if lines is None:
        path.unlink()
    else:
        path.write_text("".join(line + "\n" for line in path.read_text().split()[:lines]))
    with pytest.raises(VerifyError):
        simulate_folder(folder, "icarus", chain=True)


def test_an_image_of_x_is_found(linked: Path, tmp_path: Path) -> None:
    for name in IMAGES:
        folder = Path(shutil.copytree(linked, tmp_path / name))
        path = folder / f"{name}.hex"
        path.write_text("".join("x" * len(line) + "\n" for line in path.read_text().split()))
        with pytest.raises(VerifyError):
            simulate_folder(folder, "icarus", chain=True)
