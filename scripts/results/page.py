"""The tables that all records make, between two marks of docs/results/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results.folder import Record
from results.matrix import Comparison
from results.rows import Measured, measured_rows, packed_row, title
from tightc.errors import OptionError
from tightc.files import write_file_atomically

BEGIN, END = "<!-- experiments: begin -->", "<!-- experiments: end -->"
_COLUMNS = (
    "row", "method", "epochs", "fan-in", "seeds", "accuracy, %", "drop", "density", "compression", "passes",
    "speedup", "energy gain", "bytes",
)  # fmt: skip
_COMPARED = {"compression": "matrix_compression_rate", "speedup": "speedup", "energy gain": "energy_gain"}


def rewrite(
    page: Path, records: Sequence[Record], comparisons: Sequence[Comparison], drawing: str | None
) -> None:
    """Puts the tables of `records` between the two marks of `page`; `drawing` is the SVG's path as seen from it.

    OptionError where the page or the marks are missing.
    """
    if not page.is_file():
        raise OptionError(f"{page}: expected a page, got no file", "give the folder of one with --results")
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise OptionError(
            f"{page}: expected one {BEGIN} before one {END}", "put both where the tables belong"
        )
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    body = tables(records, comparisons, drawing)
    write_file_atomically(page, f"{before}{BEGIN}\n{body}\n{END}{after}".encode())


def tables(records: Sequence[Record], comparisons: Sequence[Comparison], drawing: str | None) -> str:
    """What is between the marks; without any record a sentence that says so."""
    networks = measured_rows(records)
    if not networks:
        return "No run is recorded yet."
    rows = {one.name: one for measured in networks.values() for one in measured}
    parts = [_compared(comparisons, rows)] if comparisons else []
    if drawing:
        parts.append(f"![Drop of accuracy over compression and over speedup, by method]({drawing})")
    for network, measured in networks.items():
        dense = sorted({f"{one.dense_accuracy:.2f} %" for one in measured})
        parts += [
            f"### {title(network)}, dense {' or '.join(dense)}",
            _table(_COLUMNS, [_row(one) for one in measured]),
        ]
    return "\n\n".join([*parts, _surroundings(records)])


def _row(one: Measured) -> list[str]:
    return [
        one.name,
        one.method,
        f"{one.epochs}",
        f"{one.fan_in or '-'}",
        one.seeds,
        one.points("accuracy"),
        one.points("accuracy_drop"),
        f"{one.mean('density'):.3f}",
        f"{one.mean('matrix_compression_rate'):.2f}x",
        f"{one.mean('passes'):,.0f}",
        f"{one.mean('speedup'):.2f}x",
        f"{one.mean('energy_gain'):.2f}x",
        f"{one.mean('bytes'):,.0f}",
    ]


def _compared(comparisons: Sequence[Comparison], rows: dict[str, Measured]) -> str:
    """Ratios of two rows each, all figures of the same two; what has no run yet is a dash."""
    head = ("headline", "rows", "epochs", "seeds", "drop, points", *_COMPARED)
    return _table(head, [_comparison(one, rows) for one in comparisons])


def _comparison(one: Comparison, rows: dict[str, Measured]) -> list[str]:
    named = f"`{one.over}` / `{one.under}`"
    if one.over not in rows or one.under not in rows:
        return [one.claim, named, *["-"] * (3 + len(_COMPARED))]
    over, under = rows[one.over], rows[one.under]
    return [
        one.claim,
        named,
        f"{over.epochs} / {under.epochs}",
        f"{over.seeds} / {under.seeds}",
        f"{over.points('accuracy_drop')} / {under.points('accuracy_drop')}",
        *(_ratio(over.mean(figure), under.mean(figure)) for figure in _COMPARED.values()),
    ]


def _ratio(over: float, under: float) -> str:
    return f"{over / under:.2f} ({over:.2f}x / {under:.2f}x)"


def _surroundings(records: Sequence[Record]) -> str:
    """Epochs, versions and machines; alternatives are joined by "or"."""
    epochs = sorted({record["epochs"] for record in records if packed_row(record)})
    versions: dict[str, set[str]] = {}
    for record in records:
        for name, number in record["versions"].items():
            versions.setdefault(name, set()).add(number)
    cores: dict[str, set[int]] = {}
    for record in records:
        cores.setdefault(record["processor"], set()).add(record["cores"])
    machines = [f"{_either(map(str, sorted(numbers)))} cores of {name}" for name, numbers in cores.items()]
    return (
        f"{_either(map(str, epochs))} epochs a run; {_either(machines)}; "
        + ", ".join(f"{name} {_either(sorted(numbers))}" for name, numbers in versions.items())
        + "."
    )


def _either(texts: Sequence[str] | map[str]) -> str:
    return " or ".join(texts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(3, *map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
