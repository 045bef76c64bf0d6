"""What banks of the activation buffer and a small reach of the lanes cost: cycles, area and energy."""

from __future__ import annotations

import tightc
from benchmarks.networks import RESNET20
from benchmarks.page import SEED, Page
from tightc.accelerator.bank_network import BankNetwork
from tightc.accelerator.hardware import Hardware
from tightc.config.input_sizes import InputSizeOptions
from tightc.config.yaml import read_options
from tightc.cost_model.bank_layout import chosen_banks, interleaved_banks
from tightc.cost_model.banks import network_reads
from tightc.cost_model.lane_inputs import LaneInputs
from tightc.example import RECIPE
from tightc.model.file import Model
from tightc.model.packings.metadata import read_packings, with_packings
from tightc.permutation.lane_placement import place_lanes
from tightc.simulation.workload import read_workload

TITLE = "Banks of the activation buffer, and the reach of a lane"
_TABLES = ("nangate45", "sg13g2")
_BANKS = (32, 64, 128, 256)
_REACHES = (None, 16, 8)
_VARIANTS = ((None, False), (16, False), (16, True), (8, False), (8, True))


def run(page: Page) -> None:
    """Cycles for each packing, number of banks and reach; then area and energy for each cell library."""
    source = RECIPE.parent / "digits.onnx" if page.quick else RESNET20
    model = tightc.prune(tightc.load(source), sparsity=0.9)[0]
    packings = _packings(model)
    page.text(
        f"{source.name} at sparsity 0.9 on configs/hardware/tight-32x32.yaml, with the fan-in of the packing. Complete "
        "sums bypass the accumulators, and neither bandwidths nor DRAM limit, so banks alone do. Each bank gives a "
        "word in a cycle ([simulator](../simulator.md#banks))."
    )
    page.text(
        "Speedup over the dense network on the same banks, which never waits for them. Reach: banks that a lane sees "
        "in a cycle. Placed: with the lanes of each tile in the order of `place_lanes`. Below 1, few passes are slower "
        "than dense: `permute` and `simulate` name such layers, and `--objective cycles` ranks by cycles on the banks."
    )
    page.head("packing", "banks", "all", "reach 16", "placed", "reach 8", "placed")
    for label, (fan_in, packed) in packings.items():
        if label == "dense":
            continue
        page.row(label, "none", _totals(packed, _hardware(fan_in, None, None))["speedup"], *[""] * 4)
        for banks in _BANKS:
            page.row(
                label,
                banks,
                *(_speedup(packed, _hardware(fan_in, banks, r), variant) for r, variant in _VARIANTS),
            )
    page.end()
    _layouts(page, *packings["tight, fan-in 8"])
    for table in _TABLES:
        _costs(page, packings, table)


def _layouts(page: Page, fan_in: int, packed: Model) -> None:
    page.text(
        f"What the layout makes of it, for fan-in {fan_in} where lanes see all banks. Interleaved: input i is in bank "
        "i mod banks. Chosen: channels are placed for the tiles. Even: words are spread evenly, which no layout beats."
    )
    page.head("banks", "interleaved", "chosen", "even")
    dense = _totals(packed, _hardware(fan_in, None, None))["dense_cycles"]
    for banks in _BANKS:
        cycles = [0, 0, 0]
        for layer in read_workload(packed, InputSizeOptions()).layers:
            lanes, network = LaneInputs.of_packing(layer.packing), BankNetwork(banks)
            layouts = interleaved_banks(layer.gemm, banks), chosen_banks(lanes, layer.gemm, banks)
            found = [network_reads(lanes, layout, network) for layout in layouts]
            steps = [*(own for own, _ in found), -(-found[0][1] // banks)]
            without_stream = len(steps[0]) * layer.packing.array.pass_cycles(0)
            for number, own in enumerate(steps):
                cycles[number] += int(own.sum()) * layer.gemm.vectors + without_stream
        page.row(banks, *(dense / own for own in cycles))
    page.end()


def _costs(page: Page, packings: dict[str, tuple[int, Model]], table: str) -> None:
    page.text(
        f"Area and energy by {table} ([synthesis](synthesis.md)), lanes placed. Network: mm2 of the network from banks "
        "to lanes, of all mm2. Of dense: the area over that of the dense array with the same banks and reach. Per "
        "area: speedup / that. Energy gain: over the dense network there; in brackets, the network's part of the "
        "energy."
    )
    page.head(
        "packing",
        "banks",
        "reach",
        "network",
        "all",
        "of dense",
        "speedup",
        "per area",
        "energy uJ",
        "energy gain",
    )
    for label, (fan_in, packed) in packings.items():
        for banks in (None, *_BANKS):
            for reach in _REACHES if banks else (None,):
                hardware = _hardware(fan_in, banks, reach)
                totals = _totals(_placed(packed, hardware), hardware, table)
                energy, network = totals["energy_pj"], totals["energy_parts_pj"].get("bank_network", 0.0)
                page.row(
                    label,
                    banks or "none",
                    reach or "all",
                    totals["area_parts_mm2"].get("bank_network", 0.0),
                    totals["area_mm2"],
                    totals["area_mm2"] / totals["dense_area_mm2"],
                    totals["speedup"],
                    totals["speedup_per_area"],
                    f"{energy / 1e6:.2f}",
                    f"{totals['energy_gain']:.3f} ({100 * network / energy:.0f} %)",
                )
    page.end()


def _packings(model: Model) -> dict[str, tuple[int, Model]]:
    """Fan-in and model of each packing, by label."""
    found = {
        f"tight, fan-in {fan_in}": (fan_in, tightc.permute(model, fan_in=fan_in, seed=SEED)[0])
        for fan_in in (4, 8)
    }
    combined = tightc.permute(model, method="column-combine", fan_in=8, alpha=8, seed=SEED)[0]
    return {**found, "column combining, alpha 8": (8, combined), "dense": (1, model)}


def _hardware(fan_in: int, banks: int | None, reach: int | None) -> Hardware:
    """The hardware on which nothing but the array and the banks limits."""
    file = read_options(str(tightc.configs() / "hardware" / "tight-32x32.yaml"), Hardware)
    wide = {
        name: {**getattr(file, name).model_dump(), "bandwidth": "65536 words/cycle"}
        for name in ("activation_buffer", "weight_buffer", "partial_sum_buffer")
    }
    wide["activation_buffer"] |= {"banks": banks, "lane_reach": reach}
    changes = {**wide, "fan_in": fan_in, "accumulator_bypass": True}
    dram = {**file.dram.model_dump(), "bandwidth": "10000 GB/s"}
    return Hardware.model_validate({**file.model_dump(), **changes, "dram": dram})


def _placed(model: Model, hardware: Hardware) -> Model:
    network = BankNetwork.of(hardware.activation_buffer, hardware.array.rows)
    if network is None:
        return model
    layers = read_workload(model, InputSizeOptions()).layers
    positions = {layer.layer.weight: layer.gemm.positions for layer in layers}
    placed = {
        name: place_lanes(packing, network, positions[name]) for name, packing in read_packings(model).items()
    }
    return with_packings(model, placed)


def _speedup(model: Model, hardware: Hardware, placed: bool) -> float:
    totals = _totals(_placed(model, hardware) if placed else model, hardware)
    return float(totals["speedup"])


def _totals(model: Model, hardware: Hardware, table: str | None = None) -> dict[str, object]:
    folder = tightc.configs()
    if table is None:
        return dict(tightc.simulate(model, hardware=hardware).totals)
    return dict(
        tightc.simulate(
            model,
            hardware=hardware,
            area=folder / "area" / f"{table}.yaml",
            energy=folder / "energy" / f"{table}.yaml",
        ).totals
    )
