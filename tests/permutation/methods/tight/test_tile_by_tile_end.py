"""Filling tiles one by one ends in time, and holds every weight once all the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tightc.permutation.methods.tight.tile_by_tile import fill_tile_by_tile
from tightc.tile.array import ArrayShape


@pytest.mark.parametrize("ends_after", [None, 0, 2])
def test_it_ends_between_two_tiles(ends_after: int | None) -> None:
    random, asked = np.random.default_rng(0), Counter[str]()
    filters, inputs = (part.astype(np.int32) for part in np.nonzero(random.random((20, 30)) < 0.3))

    def ended() -> bool:
        asked["times"] += 1
        return ends_after is not None and asked["times"] > ends_after

    tiles = fill_tile_by_tile(filters, inputs, ArrayShape(4, 4), 2, np.random.SeedSequence(1), ended=ended)
    held = Counter(
        pair for tile in tiles for pair in zip(*(part.tolist() for part in tile.slots()), strict=True)
    )
    assert held == Counter(zip(filters.tolist(), inputs.tolist(), strict=True))
    if ends_after is None:
        assert 2 < len(tiles) <= asked["times"]
    else:  # first fit takes the rest
        assert asked["times"] == ends_after + 1
