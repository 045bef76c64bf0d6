"""The tables that all records make, between two marks of docs/results/README.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from equal_accuracy.folder import Record
from equal_accuracy.settings import (
    LEVELS,
    Level,
    Setting,
    best,
    is_combined,
    is_subword,
    is_tight,
    packed_row,
    settings_of,
    title,
)
from tightc.errors import OptionError
from tightc.files import write_file_atomically

BEGIN, END = "<!-- experiments: begin -->", "<!-- experiments: end -->"
_COLUMNS = (
    "run", "method", "epochs", "fan-in", "accuracy", "drop", "density", "compression", "passes", "speedup",
    "energy gain", "bytes",
)  # fmt: skip
Filter = Callable[[Setting], bool]
_PAIRS: tuple[tuple[str, Filter, Filter], ...] = (
    ("tight over combining", is_tight, is_combined),
    ("subwords over combining", is_subword, is_combined),
    ("subwords over weights", is_subword, is_tight),
)
_COMPARED = {"compression": "matrix_compression_rate", "speedup": "speedup", "energy gain": "energy_gain"}


def rewrite(page: Path, records: Sequence[Record], drawing: str | None) -> None:
    """Puts the tables of `records` between the two marks of `page`; `drawing` is the SVG's path as seen from it.

    OptionError where the page or the marks are missing.
    """
    if not page.is_file():
        raise OptionError(f"{page}: there is no such page", "give the folder of one with --docs")
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise OptionError(f"{page}: not one {BEGIN} before one {END}", "put both where the tables belong")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    write_file_atomically(page, f"{before}{BEGIN}\n{written(records, drawing)}\n{END}{after}".encode())


def written(records: Sequence[Record], drawing: str | None) -> str:
    """The section's body; without any record a sentence that says so."""
    networks = settings_of(records)
    if not networks:
        return "No run is recorded yet."
    parts = [f"![Accuracy over matrix compression rate, by method]({drawing})"] if drawing else []
    for network, settings in networks.items():
        dense = sorted({one.dense_accuracy for one in settings})
        parts.append(f"### {title(network)}, dense {_either(map(_percent, dense))}")
        parts += [_table(_COLUMNS, [_row(one) for one in _leading(settings)]), _largest(settings)]
        parts += _compared(settings)
    return "\n\n".join([*parts, _surroundings(records)])


def _leading(settings: Sequence[Setting]) -> list[Setting]:
    """For each method the settings that lead in some figure at some level, and all that have several seeds."""
    found = {id(one) for one in settings if len(one.records) > 1}
    for method in {one.method for one in settings}:
        of_method = [one for one in settings if one.method == method]
        within = [level.met(of_method) for level in LEVELS]
        for group in [group for group in within if group] or [of_method]:
            found |= {id(best(group, figure)) for figure in _COMPARED.values()}
    return [one for one in settings if id(one) in found]


def _row(one: Setting) -> list[str]:
    accuracies = one.each("accuracy")
    spread = f" ({min(accuracies):.2f} to {max(accuracies):.2f})" if len(accuracies) > 1 else ""
    return [
        one.ids,
        one.method,
        f"{one.epochs}",
        f"{one.fan_in or '-'}",
        _percent(one.mean("accuracy")) + spread,
        f"{one.mean('accuracy_drop'):.2f}",
        f"{one.mean('density'):.3f}",
        f"{one.mean('matrix_compression_rate'):.2f}x",
        f"{one.mean('passes'):,.0f}",
        f"{one.mean('speedup'):.2f}x",
        f"{one.mean('energy_gain'):.2f}x",
        f"{one.mean('bytes'):,.0f}",
    ]


def _largest(settings: Sequence[Setting]) -> str:
    """For each method the most compression at each level of accuracy."""
    rows = []
    for method in dict.fromkeys(one.method for one in settings):
        of_method = [one for one in settings if one.method == method]
        found = [best(level.met(of_method), "matrix_compression_rate") for level in LEVELS]
        rows.append([method, *(_largest_cell(one) for one in found)])
    return _table(["largest compression", *(level.label for level in LEVELS)], rows)


def _largest_cell(one: Setting | None) -> str:
    if one is None:
        return "-"
    return f"{one.mean('matrix_compression_rate'):.2f}x ({_percent(one.mean('accuracy'))})"


def _compared(settings: Sequence[Setting]) -> list[str]:
    """Ratios between kinds of packing; each row compares two runs, those with the largest of a figure."""
    found = []
    for name, over, under in _PAIRS:
        if any(map(over, settings)) and any(map(under, settings)):
            rows = [row for level in LEVELS for row in _ratios(level, settings, over, under)]
            found.append(_table([name, "the two with most", *_COMPARED], rows))
    return found


def _ratios(level: Level, settings: Sequence[Setting], over: Filter, under: Filter) -> list[list[str]]:
    """A row for each pair of runs that some figure chooses; one without figures where a side has no run."""
    met = level.met(settings)
    chosen: dict[tuple[str, str], tuple[Setting, Setting, list[str]]] = {}
    for name, figure in _COMPARED.items():
        first, second = best(filter(over, met), figure), best(filter(under, met), figure)
        if first is None or second is None:
            return [[level.label, *["-"] * (1 + len(_COMPARED))]]
        chosen.setdefault((first.ids, second.ids), (first, second, []))[2].append(name)
    return [
        [level.label, ", ".join(names), *(_ratio(first, second, figure) for figure in _COMPARED.values())]
        for first, second, names in chosen.values()
    ]


def _ratio(first: Setting, second: Setting, figure: str) -> str:
    one, other = first.mean(figure), second.mean(figure)
    return f"{one / other:.2f} ({one:.2f}x, {other:.2f}x)"


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


def _percent(value: float) -> str:
    return f"{value:.2f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(3, *map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
