"""Two tiles as waves: the ports of the array in each cycle, with and without overlapped draining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from hardware_pictures.example import ARRAY, FAN_IN, SLOTS, VECTORS, WEIGHTS
from hardware_pictures.svg import arrow, document, rect, text, text_lines, wire
from hardware_pictures.trace import Trace, simulate
from tightc.tile.packing import EMPTY

_WIDTH, _LEFT, _CELL = 700, 116, 25
_LEVEL, _LINE, _PHASE = 17, 14, 18  # heights: of a signal of one bit, of a line of values, of a phase
_KINDS = ("first", "second")  # the colors of the tiles
_ROWS, _COLUMNS = ARRAY.rows, ARRAY.columns
_FOOT = (
    "Lane r lags lane 0 by r cycles; the sums of column c lag those of column 0 by c cycles.",
    "The red line is the end of the layer. In the cycle before it, the bottom PE of column 2 computes the last sum;",
    "in the cycle after it, the accumulators take that sum.",
    "With overlap, tile 1 starts max(T, 2R - 1) = 5 cycles after tile 0.",
)


def draw() -> bytes:
    """The picture, from two simulations."""
    plain = simulate()
    overlapped = simulate(overlap=True)
    body = [
        text(10, 20, f"Two tiles on a {ARRAY} array with a fan-in of {FAN_IN}, {VECTORS} vectors", "bold")
    ]
    body += _tiles(30)
    rows, end = _waves(plain, f"Without options: {plain.cycles} cycles", 142)
    second = end + 28
    body += rows
    rows, end = _waves(overlapped, f"--prefetch-weights --overlap-drain: {overlapped.cycles} cycles", second)
    body += rows + _saved(plain.cycles, overlapped.cycles, second + 46)
    body += text_lines(10, end + 22, _FOOT, "small")
    label = "Waves of two tiles on an array: load, stream and drain, without and with overlapped draining"
    return document(_WIDTH, end + 76, label, body)


def _tiles(top: int) -> list[str]:
    """What the slots of both tiles hold."""
    width, height, found = 56, 20, []
    for number, (slots, weights) in enumerate(zip(SLOTS.tolist(), WEIGHTS.tolist(), strict=True)):
        left = _LEFT + 280 * number
        found.append(text(left - 10, top + 14, f"tile {number}", "end bold small"))
        found += [
            text(left + width * (column + 0.5), top + 14, f"column {column}", "mid small")
            for column in range(_COLUMNS)
        ]
        for lane in range(_ROWS):
            y = top + 20 + height * lane
            found.append(text(left - 10, y + 14, f"lane {lane}", "end small"))
            for column, (slot, weight) in enumerate(zip(slots[lane], weights[lane], strict=True)):
                x, empty = left + width * column, slot == EMPTY
                found.append(rect(x, y, width, height, "empty" if empty else _KINDS[number]))
                content = "empty" if empty else f"{weight} · x{slot}"
                found.append(text(x + width / 2, y + 14, content, "mid small"))
    return found


def _waves(trace: Trace, title: str, top: int) -> tuple[list[str], int]:
    """The waves of one simulation, and where they end."""
    count, y = trace.cycles + 1, top + 28
    found = [text(10, top, title, "bold"), text(10, top + 22, "cycle", "small")]
    found += [text(_x(cycle) + _CELL / 2, top + 22, f"{cycle}", "mid small") for cycle in range(count)]
    rows: list[str] = []
    for tile, start in enumerate(trace.starts):
        rows += _phases(trace, tile, start, y)
        y += _PHASE + 2
    for name, signals in (("load, column", trace.load), ("swap, row", trace.swap)):
        for place, levels in enumerate(signals.T.tolist()):
            rows += [text(10, y + 13, f"{name} {place}", "small"), _levels(levels, y)]
            y += _LEVEL
        y += 4
    for lane in range(_ROWS):
        rows += _values(f"inputs, lane {lane}", trace, lane, trace.lanes[:, lane], y)
        y += _LINE * FAN_IN + 4
    y += 4
    for column in range(_COLUMNS):
        rows += _values(f"sums, column {column}", trace, _ROWS + column, trace.sums[:, [column]], y)
        y += _LINE + 4
    grid = [wire(((_x(cycle), top + 28), (_x(cycle), y)), "grid") for cycle in range(count + 1)]
    end = wire(((_x(trace.cycles), top + 10), (_x(trace.cycles), y)), "mark")
    return [*found, *grid, *rows, end], y


def _x(cycle: int) -> int:
    return _LEFT + _CELL * cycle


def _phases(trace: Trace, tile: int, start: int, y: int) -> list[str]:
    """When a tile is loaded, streams and drains."""
    loaded = [cycle for cycle in range(start) if trace.load[cycle, 0]][-_ROWS:]
    drain = _ROWS + _COLUMNS - 2
    found = [text(10, y + 13, f"tile {tile}", "small")]
    for first, length, name in (
        (loaded[0], _ROWS, "load R"),
        (start, VECTORS, "stream T"),
        (start + VECTORS, drain, "drain R + C - 2"),
    ):
        found.append(rect(_x(first), y, _CELL * length, _PHASE, _KINDS[tile]))
        found.append(text(_x(first) + _CELL * length / 2, y + 13, name, "mid small"))
    return found


def _levels(levels: Sequence[bool], y: int) -> str:
    """A signal of one bit."""
    points: list[tuple[float, float]] = []
    for cycle, level in enumerate(levels):
        height = y + (3 if level else _LEVEL - 3)
        points += [(_x(cycle), height), (_x(cycle + 1), height)]
    return wire(points)


def _values(name: str, trace: Trace, lag: int, values: NDArray[Any], y: int) -> list[str]:
    """A bus, (cycles + 1, values): what it carries for the vectors of each tile, `lag` cycles after its start."""
    height = _LINE * values.shape[1] + 2
    middle = y + height / 2
    found = [
        text(10, middle + 4, name, "small"),
        wire(((_x(0), middle), (_x(trace.cycles + 1), middle)), "bare"),
    ]
    for tile, start in enumerate(trace.starts):
        for cycle in range(start + lag, start + lag + VECTORS):
            found.append(rect(_x(cycle), y, _CELL, height, _KINDS[tile]))
            found += text_lines(
                _x(cycle) + _CELL / 2, y + 12, [str(value) for value in values[cycle].tolist()], "mid small"
            )
    return found


def _saved(plain: int, overlapped: int, y: int) -> list[str]:
    """How much earlier the layer ends."""
    return [
        *arrow(((_x(plain), y), (_x(overlapped), y)), "mark"),
        text(_x(plain) - 4, y - 6, f"{plain - overlapped} cycles saved", "end small note"),
    ]
