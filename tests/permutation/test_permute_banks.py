"""Permute for hardware with banks: lanes in an order that is never slower, and the same bytes for any jobs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from helpers import models
from helpers.loading import loaded
from helpers.methods import METHODS
from helpers.small_accelerator import HARDWARE, SMALL, hardware
from tightc.accelerator.hardware import Hardware
from tightc.model.file import Model
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.permutation.layer_costs import layer_costs
from tightc.permutation.options import PermuteOptions
from tightc.permutation.packing_costs import PackingCosts
from tightc.permutation.pattern import Pattern
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.packing import Packing

KEYS = ({"banks": 3}, {"banks": 8, "lane_reach": 2}, {"banks": 16, "lane_reach": 2})
REACH = KEYS[1]
FASTEST = {"arrays": 1, "dram": {"bandwidth": "100 GB/s", "keep_feature_maps": True}}


def with_keys(keys: Mapping[str, object], **changes: object) -> Hardware:
    """The small hardware, its activation buffer of 4 KiB with these keys."""
    buffer = {**HARDWARE["activation_buffer"], "size": "4 KiB", "bandwidth": "64 words/cycle", **keys}  # type: ignore[dict-item]
    return hardware(activation_buffer=buffer, **changes)


def options(keys: Mapping[str, object], method: str = "tight", **changes: object) -> PermuteOptions:
    """Small options for hardware with these keys."""
    given = {"hardware": with_keys(keys, **FASTEST), "method": method, "alpha": 3, "pattern": Pattern(1, 3)}
    return SMALL.model_copy(update={**given, **changes})


def random_model(seed: int) -> Model:
    """A convolution and a matrix product of random sizes and sparsity."""
    rng = np.random.default_rng(seed)
    channels, filters, density = rng.integers(2, 9), rng.integers(4, 20), rng.uniform(0.2, 0.6)
    text = f"""net (float[1, {channels}, 6, 6] x) => (float[1, 6] y) {{
        [conv] a = Conv(x, v)
        b = GlobalAveragePool(a)
        c = Flatten(b)
        [mm] y = MatMul(c, w)
    }}"""
    kernels = models.sparse(filters, channels, 3, 3, density=density, seed=seed)
    return loaded(models.build(text, v=kernels, w=models.sparse(filters, 6, density=density, seed=seed)))


def as_sets(packing: Packing) -> list[list[tuple[tuple[int, ...], tuple[int, ...]]]]:
    """The lanes of each tile, what they carry and select, in any order."""
    return [
        sorted(
            (tuple(tile.inputs[first:last].tolist()), tuple(select.tolist()))
            for first, last, select in zip(
                tile.lane_starts[:-1], tile.lane_starts[1:], tile.select, strict=True
            )
        )
        for tile in packing.tiles
    ]


def test_bank_conflicts_count_in_the_search() -> None:
    permuted = permute(loaded(models.cnn()), options({}))[0]
    network, packings = read_network(permuted), read_packings(permuted)
    weight, output = network.owners[0].weight, network.owners[0].output
    free, banked = (layer_costs(permuted, network, options(keys))[0][output] for keys in ({}, REACH))
    assert banked.of(packings[weight]).cycles > free.of(packings[weight]).cycles


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize(
    ("method", "objective"),
    [*((method, "passes") for method in METHODS), ("tight", "cycles"), ("tight", "energy")],
)
def test_permuting_for_banks_is_never_slower_on_them(
    method: str, objective: str, keys: dict[str, int]
) -> None:
    for seed in range(4):
        model = random_model(seed)
        cycles = [
            [
                row["cycles"]
                for row in simulate(
                    permute(model, options(given, method, objective=objective))[0],
                    SimulateOptions(hardware=options(keys).hardware),
                ).layers
            ]
            for given in (keys, {})
        ]
        assert all(banked <= plain for banked, plain in zip(*cycles, strict=True))


@pytest.mark.parametrize("method", ["tight", "first-fit", "column-combine", "nm"])
def test_lanes_change_places_and_nothing_else(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, own = random_model(1), options(REACH, method)
    placed = permute(model, own)[0]
    monkeypatch.setattr(PackingCosts, "place_lanes", lambda _, packing, _ended: packing)
    found = permute(model, own)[0]
    packings = [read_packings(one) for one in (placed, found)]
    for name, packing in packings[0].items():
        assert as_sets(packing) == as_sets(packings[1][name])
    totals = [simulate(one, SimulateOptions(hardware=own.hardware)).totals for one in (placed, found)]
    assert totals[0]["cycles"] < totals[1]["cycles"]
    assert (
        simulate(placed, SimulateOptions(hardware=own.hardware, verify=True)).totals["verified_layers"] == 2
    )


def test_a_dense_packing_keeps_its_lanes() -> None:
    model = random_model(1)
    with_banks, without = (permute(model, options(keys, "dense"))[0] for keys in (REACH, {}))
    for name, packing in read_packings(with_banks).items():
        assert as_sets(packing) == as_sets(read_packings(without)[name])
        assert all((np.diff(tile.inputs) > 0).all() for tile in packing.tiles)


@pytest.mark.parametrize("words", [1, 2, 3, 4])
def test_an_order_that_costs_more_is_not_taken(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer cycles of banks may take more words: more energy, and more cycles where the bandwidth is low."""
    model = random_model(9)
    keys = {"banks": 8, "lane_reach": 4, "bandwidth": f"{words} words/cycle"}
    own = options({}, "first-fit", hardware=with_keys(keys))
    placed = permute(model, own)[0]
    monkeypatch.setattr(PackingCosts, "place_lanes", lambda _, packing, _ended: packing)
    rows = [
        simulate(one, SimulateOptions(hardware=own.hardware)).layers
        for one in (placed, permute(model, own)[0])
    ]
    for row, without in zip(*rows, strict=True):
        assert row["cycles"] <= without["cycles"]
        assert row["energy_pj"] <= without["energy_pj"]


@pytest.mark.parametrize("method", ["tight", "first-fit"])
def test_any_number_of_threads_gives_the_same_bytes(method: str) -> None:
    model = random_model(0)
    serial, parallel = (permute(model, options(REACH, method, jobs=jobs), seed=3)[0] for jobs in (1, 4))
    assert serial.to_bytes() == parallel.to_bytes()


SLOWER = "more cycles than dense, since tiles wait for the banks of the activation buffer; "


@pytest.mark.parametrize("objective", ["passes", "cycles"])
@pytest.mark.parametrize("keys", [{"banks": 1}, {}], ids=["one bank", "no banks"])
def test_layers_that_banks_make_slower_than_dense_are_named(
    keys: Mapping[str, object], objective: str
) -> None:
    """By permute and simulate alike, where and only where simulate has them slower."""
    given = options(keys, objective=objective)
    slower = 0
    for seed in range(4):
        permuted, report = permute(random_model(seed), given)
        simulated = simulate(permuted, SimulateOptions(hardware=given.hardware))
        names = [row["name"] for row in simulated.layers if row["cycles"] > row["dense_cycles"]]
        slower += len(names)
        for found in (report, simulated):
            notes = [note for note in found.notes if SLOWER in note]
            assert notes == (
                [f"{' and '.join(names)}: {SLOWER}permute by tight with --objective cycles on this hardware"]
                if names
                else []
            )
    assert (slower > 0) == (bool(keys) and objective == "passes")
