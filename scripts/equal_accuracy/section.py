"""The section of docs/results.md that all records make: tables, the drawing, commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from equal_accuracy.running import Record
from equal_accuracy.settings import Setting, baseline, best_within, packed_row, settings_of, title
from tightc.errors import OptionError
from tightc.files import write_whole

BEGIN, END = "<!-- experiments: begin -->", "<!-- experiments: end -->"
_LOSSES = (0.5, 1.0)
_COLUMNS = (
    "method", "seeds", "accuracy", "drop", "density", "compression", "tightness", "passes", "cycles", "speedup",
    "energy gain", "bytes", "compression vs combining", "cycles vs combining", "energy vs combining",
)  # fmt: skip


def rewrite(page: Path, records: Sequence[Record], drawing: str | None) -> None:
    """Puts what `records` say between the two marks of `page`; `drawing` is the SVG's path as seen from it.

    OptionError where the marks are missing.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise OptionError(f"{page}: not one {BEGIN} before one {END}", "put both where the tables belong")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    write_whole(page, f"{before}{BEGIN}\n{written(records, drawing)}\n{END}{after}".encode())


def written(records: Sequence[Record], drawing: str | None) -> str:
    """The section's body; without any record a sentence that says so."""
    networks = settings_of(records)
    if not networks:
        return "No run is recorded yet."
    parts = [f"![Accuracy over matrix compression rate, by method]({drawing})"] if drawing else []
    for network, settings in networks.items():
        parts += [f"### {title(network)}, dense {_percent(settings[0].dense_accuracy)}", _all(settings)]
        parts += [_best(settings), _commands(settings)]
    return "\n\n".join([*parts, _surroundings(records)])


def _all(settings: Sequence[Setting]) -> str:
    reference = baseline(settings)
    table = _table(_COLUMNS, [_row(one, reference) for one in settings])
    if reference is None:
        return table
    return f"{table}\n\nThe last three columns are ratios to {reference.label}, above 1 where better."


def _row(one: Setting, reference: Setting | None) -> list[str]:
    accuracies = one.each("accuracy")
    spread = f" ({min(accuracies):.2f} to {max(accuracies):.2f})" if len(accuracies) > 1 else ""
    ratios = ["", "", ""]
    if reference is not None:
        ratios = [
            f"{one.mean('matrix_compression_rate') / reference.mean('matrix_compression_rate'):.2f}x",
            f"{reference.mean('cycles') / one.mean('cycles'):.2f}x",
            f"{one.mean('energy_gain') / reference.mean('energy_gain'):.2f}x",
        ]
    return [
        one.label,
        ", ".join(map(str, one.seeds)),
        _percent(one.mean("accuracy")) + spread,
        f"{one.mean('accuracy_drop'):.2f}",
        f"{one.mean('density'):.3f}",
        f"{one.mean('matrix_compression_rate'):.2f}x",
        f"{one.mean('tightness'):.3f}",
        f"{one.mean('passes'):,.0f}",
        f"{one.mean('cycles'):,.0f}",
        f"{one.mean('speedup'):.2f}x",
        f"{one.mean('energy_gain'):.2f}x",
        f"{one.mean('bytes'):,.0f}",
        *ratios,
    ]


def _best(settings: Sequence[Setting]) -> str:
    """For each method the most compression at no more than a loss."""
    rows = []
    for method in dict.fromkeys(one.method for one in settings):
        of_method = [one for one in settings if one.method == method]
        rows.append([method, *(_best_cell(best_within(of_method, loss)) for loss in _LOSSES)])
    return _table(["largest compression", *(f"drop up to {loss:g}" for loss in _LOSSES)], rows)


def _best_cell(one: Setting | None) -> str:
    if one is None:
        return "-"
    return f"{one.mean('matrix_compression_rate'):.2f}x (drop {one.mean('accuracy_drop'):.2f})"


def _commands(settings: Sequence[Setting]) -> str:
    return "\n".join(["```sh", *dict.fromkeys(one.command for one in settings), "```"])


def _surroundings(records: Sequence[Record]) -> str:
    """Epochs, versions and machines, those that differ side by side."""
    epochs = sorted({record["epochs"] for record in records if packed_row(record)})
    versions: dict[str, set[str]] = {}
    for record in records:
        for name, number in record["versions"].items():
            versions.setdefault(name, set()).add(number)
    machines = sorted({f"{record['cores']} cores of {record['processor']}" for record in records})
    hours = sum(record["seconds"] for record in records) / 3600
    return (
        f"{_either(map(str, epochs))} epochs a run, {hours:.1f} hours in all; {_either(machines)}; "
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
