"""The report page: simulates what it is about, and fills the template."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.layer_view.layer_names import find_layers
from tightc.names import escape
from tightc.progress import Progress, no_progress
from tightc.report import Figures, Report
from tightc.report_page.baselines import Baselines, read_baselines
from tightc.report_page.chain import chain
from tightc.report_page.charts import (
    MOST_BARS,
    annealing_chart,
    area_chart,
    baselines_chart,
    cycles_chart,
    energy_chart,
    gains_chart,
    roofline_chart,
    shown_layers,
    slots_chart,
)
from tightc.report_page.headline import comparison, definitions, headline
from tightc.report_page.layer_data import MOST_SLOTS, layer_data
from tightc.report_page.layer_table import (
    densities,
    layer_columns,
    layer_cycles,
    layer_labels,
    layer_names,
    layer_rows,
)
from tightc.report_page.options import MOST_LAYERS, ReportOptions
from tightc.report_page.reasons import steps
from tightc.report_page.style import altair
from tightc.report_page.subject import LETTERS, Subject, read_subject
from tightc.reporting.uncovered import uncovered_lines
from tightc.simulation.why import why

_SCRIPTS = ("start.js", "table.js", "arrays.js", "matrix.js", "tiles.js", "layer.js")
_DEFINED = (
    "speedup",
    "energy_gain",
    "accuracy",
    "accuracy_drop",
    "density",
    "passes",
    "dense_passes",
    "passes_lower_bound",
    "cycles",
    "dense_cycles",
    "stall_cycles",
    "utilisation",
    "matrix_compression_rate",
    "tightness",
    "fan_in_max",
    "roof",
    "macs_covered",
    "energy_pj",
)


@dataclass(frozen=True)
class Reason:
    """Why a layer of a subject gains what it gains: a sentence, and the steps, each with its width as a bar."""

    letter: str
    text: str
    steps: tuple[tuple[str, float, str, float], ...]


def report_page(
    sources: Sequence[Model | Path], options: ReportOptions, *, progress: Progress = no_progress
) -> tuple[bytes, Report]:
    """The page on one or two models, or folders of runs, as HTML; and a report of what it holds.

    Nothing is searched, trained or measured: the models are simulated by closed forms. The same input gives the same
    bytes. OptionError where the packages that draw are missing, or where no layer has a name that the options give.
    """
    altair()
    if not 0 < len(sources) <= len(LETTERS):
        raise OptionError(
            f"expected one or two models or runs, got {len(sources)}", "write a page for each two of them"
        )
    subjects = []
    for number, source in enumerate(sources):
        letter = LETTERS[number] if len(sources) > 1 else ""
        subjects.append(read_subject(source, letter, options))
        progress("report", (number + 1) / (len(sources) + 3), {})
    compared = read_baselines(Path(options.compare), subjects[0].totals) if options.compare else None
    chosen = _chosen_layers(subjects, options.layer)
    data = _layer_data(subjects, chosen)
    progress("report", 0.6, {})
    html = _render(subjects, chosen, data, compared, options)
    progress("report", 1.0, {})
    totals = {
        "models": [subject.name for subject in subjects],
        "layers": len(layer_names(subjects)),
        "layers_with_tiles": [escape(layer_labels(subjects)[name]) for name in chosen],
        "bytes": len(html),
    }
    return html, Report("report", totals, notes=subjects[0].report.notes)


def _chosen_layers(subjects: Sequence[Subject], names: Sequence[str]) -> list[str]:
    """The layers whose tiles the page holds; OptionError where one of `names` is none."""
    known = layer_names(subjects)
    if names:
        layers = [layer for subject in subjects for layer in subject.network.layers]
        found = {layer.name for name in names for layer in find_layers(layers, name, "--layer")}
        return [name for name in known if name in found]
    cycles = layer_cycles(subjects)
    most = sorted(known, key=lambda name: -cycles[name])[:MOST_LAYERS]
    return [name for name in known if name in most]


def _first_shown(subjects: Sequence[Subject], chosen: Sequence[str]) -> str:
    """The layer that is shown first: the one with most cycles, then most dense cycles, of those with tiles."""
    cycles = layer_cycles(subjects)
    dense = {str(row["name"]): row["dense_cycles"] for subject in subjects for row in subject.rows}
    return max(chosen, key=lambda name: (cycles[name], dense[name]))


def _layer_data(subjects: Sequence[Subject], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """The matrix and tiles of each chosen layer of each subject; the slots of the page are shared out between them."""
    numbers = {name: number for number, name in enumerate(layer_names(subjects))}
    wanted = [
        (subject, layer) for subject in subjects for layer in subject.network.layers if layer.name in chosen
    ]
    wanted.sort(key=lambda entry: _slots(*entry))  # what small layers leave is for the larger
    found = []
    left = MOST_SLOTS
    for rest, (subject, layer) in zip(range(len(wanted), 0, -1), wanted, strict=True):
        packing = subject.packings.get(layer.weight)
        record = layer_data(subject.network, layer, packing, left // rest)
        left = max(0, left - min(_slots(subject, layer), left // rest))
        found.append({"layer": numbers[layer.name], "letter": subject.letter, **record})
    return sorted(found, key=lambda record: (record["layer"], record["letter"]))


def _slots(subject: Subject, layer: Any) -> int:
    packing = subject.packings.get(layer.weight)
    return sum(tile.area for tile in packing.tiles) if packing else 0


def _reasons(subjects: Sequence[Subject]) -> list[list[Reason]]:
    """The reasons of each layer of the page, in the order of the table."""
    found: dict[str, list[Reason]] = {name: [] for name in layer_names(subjects)}
    for subject in subjects:
        for row, density in zip(subject.rows, densities(subject), strict=True):
            possible = steps(row, density)
            widest = max((step.gain for step in possible), default=1.0)
            bars = tuple((step.name, step.gain, step.meaning, 100 * step.gain / widest) for step in possible)
            reason = Reason(subject.letter, escape(why(row, subject.totals)), bars)
            found[str(row["name"])].append(reason)
    return list(found.values())


def _render(
    subjects: Sequence[Subject],
    chosen: Sequence[str],
    data: list[dict[str, Any]],
    compared: Baselines | None,
    options: ReportOptions,
) -> bytes:
    import jinja2

    folder = files("tightc.report_page")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tightc.report_page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    script = "".join(folder.joinpath("assets", name).read_text(encoding="utf-8") for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    names = layer_names(subjects)
    layers = shown_layers(subjects)
    text = environment.get_template("page.html.jinja").render(
        title=" and ".join(subject.name for subject in subjects),
        version=version("tightc"),
        subjects=subjects,
        accelerator=_accelerator(subjects[0].totals),
        comparison=comparison(subjects),
        figures=headline(subjects),
        chains=[chain(subject) for subject in subjects],
        columns=layer_columns(subjects),
        rows=list(layer_rows(subjects)),
        reasons=_reasons(subjects),
        chosen=[names.index(name) for name in chosen],
        first=names.index(_first_shown(subjects, chosen)),
        is_default_choice=not options.layer,
        bars_left_out=len(names) > MOST_BARS,
        charts=_charts(subjects, layers, compared),
        bounds=_bounds(subjects),
        baselines=compared,
        definitions=definitions(_DEFINED),
        uncovered=[line for subject in subjects for line in uncovered_lines(subject.report, whole=False)],
        notes=list(dict.fromkeys(escape(note) for subject in subjects for note in subject.report.notes)),
        data={"layers": data},
        style=folder.joinpath("assets", "page.css").read_text(encoding="utf-8"),
        script=script,
        script_digest=digest,
    )
    return text.encode(errors="replace")


def _charts(
    subjects: Sequence[Subject], layers: Mapping[str, str], compared: Baselines | None
) -> dict[str, Any]:
    """The charts of the page, by their place; None where there is nothing to draw."""
    totals = subjects[0].totals
    bandwidth = dram_bytes_per_cycle(totals)
    rows, columns = map(int, totals["array"].split("x"))
    peak = rows * columns * totals["arrays"]
    has_area = all(subject.totals.get("area_mm2") for subject in subjects)
    return {
        "cycles": cycles_chart(subjects, layers),
        "slots": [chart for subject in subjects if (chart := slots_chart(subject, layers))],
        "gains": [gains_chart(subject, layers) for subject in subjects],
        "energy": energy_chart(subjects),
        "area": area_chart(subjects) if has_area else None,
        "roofline": roofline_chart(subjects, bandwidth, peak) if bandwidth else None,
        "annealing": [
            annealing_chart(subject.annealing, layer_labels(subjects))
            for subject in subjects
            if subject.annealing
        ],
        "baselines": baselines_chart(compared.variants, subjects) if compared else None,
    }


def dram_bytes_per_cycle(totals: Figures) -> float | None:
    """What DRAM moves in a cycle, by the hardware file; None for ideal hardware."""
    from tightc.accelerator.hardware import Hardware

    if not totals["hardware_file"]:
        return None
    return Hardware.model_validate(totals["hardware_file"]).dram_bytes_per_cycle


def _bounds(subjects: Sequence[Subject]) -> list[str]:
    """What bounds each subject, a text each."""
    texts = []
    for subject in subjects:
        totals = subject.totals
        if not totals["hardware_file"]:
            text = "The hardware is ideal, with unlimited buffers and no DRAM: the array alone bounds every layer."
        else:
            stalls = totals["stall_cycles"] / max(1, totals["cycles"])
            by_dram = sum(row.get("roof") == "dram" for row in subject.rows)
            text = (
                f"Of {len(subject.rows)} layers {by_dram} lie below the roof of DRAM, the others below that of the "
                f"array. {100 * stalls:.1f} % of the cycles are stalls."
            )
        head = f"{subject.letter}: " if subject.letter else ""
        texts.append(f"{head}{text}{_streaming(subject)}")
    return texts


def _streaming(subject: Subject) -> str:
    """How much of the time vectors stream; empty where several tiles run at a time, or other operands stream."""
    totals = subject.totals
    if totals["dataflow"] != "ws" or totals["arrays"] > 1 or totals["replicate_tiles"]:
        return ""
    steps = sum(row["passes"] // row["temporal_tiles"] * row["vectors"] for row in subject.rows)
    share = 100 * steps / max(1, totals["cycles"])
    return f" Vectors stream in {share:.1f} % of the cycles; in the others tiles load and sums drain."


def _accelerator(totals: Figures) -> str:
    """The accelerator of the page in one line."""
    arrays = f"{totals['arrays']} arrays of " if totals["arrays"] > 1 else ""
    return escape(
        f"{arrays}{totals['array']}, {totals['hardware']} hardware, dataflow {totals['dataflow']}, "
        f"energy table {totals['energy_table']}"
    )
