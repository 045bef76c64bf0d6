"""Tables that fit a width: headings in two lines, then fewer columns, which are named, or several tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

_GAP = 2  # characters between columns
_SHORTEST_NAME = 16
_CUT = "…"
_HYPHENATED = {"compression": ("compres-", "sion")}  # wider than its cells


@dataclass(frozen=True)
class Column:
    """A column as text. The cells of a `key` column say what a row is of: it is in every table, and never cut.

    `shortens`: of a key column, whether its cells may lose their beginning, as names of layers do, which share it.
    """

    title: str
    cells: tuple[str, ...]
    left: bool = False
    key: bool = False
    shortens: bool = False

    def width(self, *, folded: bool, shortest: bool = False) -> int:
        """Characters that it takes, with its heading `folded` to a line for each word, names as short as they get."""
        heading = max(map(cell_len, self._heading(folded)))
        cells = max(map(cell_len, self.cells), default=0)
        return max(heading, min(cells, _SHORTEST_NAME) if shortest and self.shortens else cells)

    def heading(self, *, folded: bool) -> str:
        """The title, in a line for each word where it is `folded`."""
        return "\n".join(self._heading(folded))

    def _heading(self, folded: bool) -> list[str]:
        words = self.title.split(" ")
        if not folded or min(map(len, words)) == 1:  # N x K stays in a line
            return [self.title]
        return [part for word in words for part in _HYPHENATED.get(word, (word,))]


@dataclass(frozen=True)
class Fitted:
    """A table and the columns that it leaves out."""

    table: Table
    left_out: tuple[Column, ...] = ()


def fit(columns: Sequence[Column], width: int, least_needed: Sequence[Column]) -> Fitted:
    """One table of at most `width` characters.

    Headings are folded first. Then the columns of `least_needed` are left out one by one, then the last ones.
    """
    shown = list(columns)
    others = [column for column in reversed(columns) if column not in least_needed]
    for column in (*least_needed, *others):
        if _total(shown, folded=True) <= width:
            break
        if not column.key and column in shown:
            shown.remove(column)
    left_out = tuple(column for column in columns if column not in shown)
    return Fitted(_laid_out(shown, width), left_out)


def split(columns: Sequence[Column], width: int) -> Iterator[Table]:
    """Tables of at most `width` characters which together have all columns, each with the key columns."""
    keys = [column for column in columns if column.key]
    part: list[Column] = []
    for column in columns:
        if column.key:
            continue
        if part and _total([*keys, *part, column], folded=True, whole=True) > width:
            yield _laid_out(keys + part, width, whole=True)
            part = []
        part.append(column)
    yield _laid_out(keys + part, width, whole=True)


def _total(columns: Sequence[Column], *, folded: bool, whole: bool = False) -> int:
    widths = (column.width(folded=folded, shortest=not whole) for column in columns)
    return sum(widths) + _GAP * (len(columns) - 1)


def _laid_out(columns: Sequence[Column], width: int, *, whole: bool = False) -> Table:
    """The table. Where there is no room, names lose their beginning, or have several lines if they are `whole`."""
    folded = _total(columns, folded=False, whole=whole) > width
    room = width - _total(columns, folded=folded, whole=True)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
    for column in columns:
        # a cell is folded only where nothing else helps: keys are never cut
        table.add_column(
            column.heading(folded=folded),
            justify="left" if column.left else "right",
            no_wrap=not column.key,
            overflow="fold",
            vertical="top",
        )
    cells = [column.cells if whole or room >= 0 else _shortened(column, room) for column in columns]
    for row in zip(*cells, strict=True):
        table.add_row(*map(Text, row))  # Text: names may hold brackets
    return table


def _shortened(column: Column, room: int) -> tuple[str, ...]:
    """The cells with so many characters less than `room` asks for, as far as they shorten."""
    if not column.shortens:
        return column.cells
    most = max(_SHORTEST_NAME, column.width(folded=True) + room)
    return tuple(_from_the_end(cell, most) for cell in column.cells)


def _from_the_end(name: str, length: int) -> str:
    return name if len(name) <= length else _CUT + name[len(name) - length + 1 :]
