"""A step of a tile, served word by word by the banks of a buffer; nothing imported from tightc."""

from __future__ import annotations


def seen_banks(lane: int, rotation: int, banks: int, reach: int, rows: int) -> set[int]:
    """The banks that `lane` sees in `rotation`, where banks with the same number modulo the groups stand together."""
    if reach == banks:
        return set(range(banks))
    groups = min(banks, rows)
    per_group = banks // groups
    first = lane + rotation * (reach // per_group)
    groups_seen = {(first + step) % groups for step in range(reach // per_group)}
    return {bank for bank in range(banks) if bank % groups in groups_seen}


def step(lanes: list[list[int]], layout: list[int], banks: int, reach: int, rows: int) -> tuple[int, int]:
    """(cycles, words read) until every lane has the inputs that it carries; input i is in bank `layout`[i]."""
    missing = {(lane, i) for lane, carried in enumerate(lanes) for i in carried}
    cycles = words = 0
    for rotation in range(banks // reach):
        sees = [seen_banks(lane, rotation, banks, reach, rows) for lane in range(len(lanes))]
        while True:
            given = {}  # the word that each bank gives in this cycle
            for lane, i in sorted(missing):
                if layout[i] in sees[lane]:
                    given.setdefault(layout[i], i)
            if not given:
                break
            cycles, words = cycles + 1, words + len(given)
            missing -= {(lane, i) for lane, i in missing if i in given.values() and layout[i] in sees[lane]}
    assert not missing
    return cycles, words


def best_step(
    lanes: list[list[int]], banks: int, reach: int, rows: int, layout: list[int] | None = None
) -> tuple[int, int]:
    """The fewest cycles, then words, of any shift of the banks; without a `layout`, input i is in bank i % `banks`."""
    if layout is None:
        layout = [i % banks for i in range(1 + max(i for carried in lanes for i in carried))]
    return min(
        step(lanes, [(bank + shift) % banks for bank in layout], banks, reach, rows) for shift in range(banks)
    )
