"""What a report says first: the rows that matter most, and its main figures in one line at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tightc.names import message_text
from tightc.report import Figures, LayerReport, Report
from tightc.reporting.text import shown

_MOST_ROWS = 12  # of simulate's table


def main_rows(report: Report) -> tuple[Sequence[LayerReport], str]:
    """(the rows of the table, a line on the others): of simulate the layers with most cycles, else all."""
    layers = report.layers
    if report.stage != "simulate" or len(layers) <= _MOST_ROWS:
        return layers, ""
    by_cycles = sorted(range(len(layers)), key=lambda number: -layers[number].cycles)
    chosen = sorted(by_cycles[:_MOST_ROWS])  # in the order of the network
    cycles = sum(layer.cycles for layer in layers)
    rest = cycles - sum(layers[number].cycles for number in chosen)
    return (
        [layers[number] for number in chosen],
        f"{len(layers) - _MOST_ROWS} more layers with {rest / max(1, cycles):.1%} of the cycles; "
        "-v, --json and --csv have them",
    )


def headlines(report: Report) -> Iterator[str]:
    """The main figures of simulate, and of run with the paths of its last model and page; nothing for other reports."""
    if report.stage == "simulate" and report.layers:
        yield message_text(_of_simulation(report.totals))
    elif report.stage == "run":
        yield from map(message_text, _of_run(report))


def _of_simulation(totals: Figures) -> str:
    array, hardware = totals["array"], totals["hardware"]
    accelerator = hardware if array in hardware else f"{hardware} {array}"
    gains = f"speedup {shown('speedup', totals['speedup'])}, energy gain {shown('energy_gain', totals['energy_gain'])}"
    return f"{accelerator}: {gains}, {_passes(totals)}"


def _passes(totals: Figures) -> str:
    """The passes beside their lower bound, which a dense network and one without some weights have not."""
    passes, gap = totals["passes"], totals.get("gap")
    if gap is not None:
        bound = totals["passes_lower_bound"]
        if passes != bound + gap:  # a tile takes several passes, or some layers are dense
            return f"{passes:,} passes (gap of the tiles {gap:,})"
        return f"{passes:,} passes (bound {bound:,}, gap {gap:,})"
    dropped = totals.get("dropped_weights")
    return f"{passes:,} passes, {dropped:,} weights dropped" if dropped else f"{passes:,} passes"


def _of_run(report: Report) -> Iterator[str]:
    """The figures of the last model beside those of the first one, and the paths of it and of the report page."""
    models = [row for row in report.layers if row["bytes"] is not None]
    if len(models) > 1:
        yield from _of_last_model(models, Path(report.totals["folder"]))
    if report.totals.get("report"):
        yield f"report: {report.totals['report']}"


def _of_last_model(models: Sequence[Figures], folder: Path) -> Iterator[str]:
    first, last = models[0], models[-1]
    figures = [f"{last['bytes']:,} bytes ({first['bytes'] / last['bytes']:.2f}x smaller)"]
    if last["accuracy"] is not None:
        drop = last.get("accuracy_drop")
        lower = "" if drop is None else f" (drop {drop:.2f})"
        figures.append(f"accuracy {shown('accuracy', last['accuracy'])}{lower}")
    figures += [
        f"{name.replace('_', ' ')} {shown(name, last[name])}"
        for name in ("speedup", "energy_gain")
        if last[name]
    ]
    packed = "packed model" if last["stage"] == "pack" else "model"
    yield ", ".join(figures)
    yield f"{packed}: {folder / (last['name'] + '.onnx')}"
