"""What all records make, between marks of docs/results/README.md: the headlines, and a table of each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from results.folder import Record
from results.matrix import Comparison, Published
from results.ratios import ratio_of
from results.rows import Measured, measured_rows, packed_row, title
from tightc.errors import OptionError
from tightc.files import write_file_atomically

_COLUMNS = (
    "row", "method", "epochs", "fan-in", "seeds", "accuracy, %", "drop", "density", "compression", "passes",
    "speedup", "energy gain", "bytes",
)  # fmt: skip
_COMPARED = {"compression": "matrix_compression_rate", "speedup": "speedup", "energy gain": "energy_gain"}
_COMPARED_AT_EQUAL_COST = (
    "row", "array", "budget", "seeds", "accuracy, %", "held out, %", "density", "passes", "speedup", "energy gain",
)  # fmt: skip
_HEADLINE = ("headline", *_COMPARED, "drop, points", "seeds", "rows")


def rewrite(page: Path, bodies: Mapping[str, str]) -> None:
    """Puts each of `bodies` between the two marks of `page` that have its name.

    OptionError where the page or the marks are missing.
    """
    if not page.is_file():
        raise OptionError(f"{page}: expected a page, got no file", "give the folder of one with --results")
    text = page.read_text(encoding="utf-8")
    for name, body in bodies.items():
        begin, end = marks(name)
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise OptionError(
                f"{page}: expected one {begin} before one {end}", "put both where the tables belong"
            )
        text = f"{text.partition(begin)[0]}{begin}\n{body}\n{end}{text.partition(end)[2]}"
    write_file_atomically(page, text.encode())


def marks(name: str) -> tuple[str, str]:
    """The marks before and after what `rewrite` puts into a page under this name."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def headlines(
    records: Sequence[Record], comparisons: Sequence[Comparison], published: Sequence[Published]
) -> str:
    """The ratios of others, then those of `comparisons` whose two rows are recorded."""
    rows = {one.name: one for measured in measured_rows(records).values() for one in measured}
    lines = [[one.claim, one.compression, one.throughput, one.energy, "-", "-", "-"] for one in published]
    lines += [
        _comparison(one.claim, rows[one.over], rows[one.under])
        for one in comparisons
        if one.over in rows and one.under in rows
    ]
    return _table(_HEADLINE, lines)


def tables(records: Sequence[Record], drawing: str | None) -> str:
    """A table of each network; without any record a sentence that says so.

    `drawing`: the path of the SVG as seen from the page.
    """
    networks = measured_rows(records)
    if not networks:
        return "No run is recorded yet."
    parts = []
    if drawing:
        parts.append(f"![Drop of accuracy over compression and over speedup, by method]({drawing})")
    for network, measured in networks.items():
        dense = sorted({f"{one.dense_accuracy:.2f} %" for one in measured})
        parts += [
            f"### {title(network)}, dense {' or '.join(dense)}",
            _table(_COLUMNS, [_row(one) for one in measured]),
        ]
    return "\n\n".join(parts)


def titled_table(records: Sequence[Record], heading: str, names: Sequence[str]) -> str:
    """The rows of these `names`, in their order, under a `heading`; empty where none is recorded."""
    rows = {one.name: one for measured in measured_rows(records).values() for one in measured}
    found = [rows[name] for name in names if name in rows]
    return (
        f"### {heading}\n\n{_table(_COMPARED_AT_EQUAL_COST, [_ablated(one) for one in found])}"
        if found
        else ""
    )


def _ablated(one: Measured) -> list[str]:
    return [
        one.name,
        one.array,
        _last_budget(one.records[0]),
        one.seeds,
        one.points("accuracy"),
        one.points("validation_accuracy"),
        f"{one.mean('density'):.3f}",
        f"{one.mean('passes'):,.0f}",
        f"{one.mean('speedup'):.2f}x",
        f"{one.mean('energy_gain'):.2f}x",
    ]


def _last_budget(record: Record) -> str:
    """That of the last stage of the recipe with one."""
    options = [options for stage in record["recipe"]["stages"] for options in stage.values()]
    return next((str(one["budget"]) for one in reversed(options) if one and one.get("budget")), "-")


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


def _comparison(claim: str, over: Measured, under: Measured) -> list[str]:
    """Ratios of two rows, all figures of the same two."""
    return [
        f"{claim}, {title(over.network)}",
        *(
            f"{ratio_of(over, under, figure)} ({over.mean(figure):.2f}x / {under.mean(figure):.2f}x)"
            for figure in _COMPARED.values()
        ),
        f"{over.points('accuracy_drop')} / {under.points('accuracy_drop')}",
        f"{over.seeds} / {under.seeds}",
        f"`{over.name}` / `{under.name}`",
    ]


def surroundings(records: Sequence[Record]) -> str:
    """Epochs, versions and machines; alternatives are joined by "or". Empty where no run ends with a packed model."""
    epochs = sorted({record["epochs"] for record in records if packed_row(record)})
    if not epochs:
        return ""
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
    *others, last = texts
    return f"{', '.join(others)} or {last}" if others else last


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(3, *map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
