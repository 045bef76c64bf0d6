"""The headline of the page: its main figures, each with what it is made of and its definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tightc.memory import memory_text
from tightc.report import Figures, Measure, MeasureAttributes
from tightc.report_page.subject import Subject
from tightc.reporting.text import column_title, shown
from tightc.simulation.report.glossary import GLOSSARY

_TITLES = {
    "bytes": "file",
    "tightness": "tightness",
    "area_mm2": "area",
    "latency_ms": "latency",
    "energy_per_inference_uj": "energy",
}
_MAIN = ("speedup", "energy_gain", "accuracy")
_ORDER = (
    *_MAIN,
    "passes",
    "matrix_compression_rate",
    "tightness",
    "utilisation",
    "bytes",
    "latency_ms",
    "area_mm2",
    "speedup_per_area",
)
_FILE = "size of the file"


@dataclass(frozen=True)
class Value:
    """A figure of one subject: the figure, and what it is made of."""

    letter: str
    text: str
    detail: str


@dataclass(frozen=True)
class Figure:
    """A measure in the headline, with a value for each subject that has it."""

    name: str
    title: str
    values: tuple[Value, ...]
    meaning: str
    is_main: bool


def headline(subjects: Sequence[Subject]) -> list[Figure]:
    """The main figures of the page; a measure that no subject has is left out."""
    found = []
    for name in _ORDER:
        values = tuple(
            Value(subject.letter, text, _details(subject)[name])
            for subject in subjects
            for text in _texts(subject, name)
        )
        if values:
            title = _TITLES.get(name, column_title(name))
            found.append(Figure(name, title, values, short_definition(name), name in _MAIN))
    return found


def comparison(subjects: Sequence[Subject]) -> str:
    """How the cycles and the energy of two subjects compare, in a sentence; empty where there is one."""
    if len(subjects) != 2:
        return ""
    first, second = (subject.totals for subject in subjects)
    return (
        f"A takes {first['cycles']:,} cycles and {_energy(first['energy_per_inference_uj'])} per inference, "
        f"B {second['cycles']:,} and {_energy(second['energy_per_inference_uj'])}: "
        f"{second['cycles'] / max(1, first['cycles']):.2f} times the cycles of A, and "
        f"{second['energy_pj'] / max(1e-9, first['energy_pj']):.2f} times its energy."
    )


def definition(name: str) -> str:
    """What the measure `name` is, as `simulate --explain` or its attribute of a report has it."""
    return GLOSSARY[name].meaning if name in GLOSSARY else short_definition(name)


def short_definition(name: str) -> str:
    """What the measure `name` is, in a few words, as its attribute of a report has it."""
    measure = vars(MeasureAttributes).get(name)
    if not isinstance(measure, Measure):
        meaning = GLOSSARY[name].meaning if name in GLOSSARY else _FILE if name == "bytes" else ""
        return meaning.partition(". ")[0].removeprefix("with --area: ")
    text = (measure.__doc__ or "").rstrip(".")
    return text[:1].lower() + text[1:]


def definitions(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(title, unit, definition) of each of `names`, those without one left out."""
    texts = [(name, definition(name)) for name in names]
    return [
        (_TITLES.get(name, column_title(name)), GLOSSARY[name].unit if name in GLOSSARY else "", text)
        for name, text in texts
        if text
    ]


def last_accuracy(subject: Subject) -> Figures | None:
    """The last stage of the run that has an accuracy; None where none has."""
    return next((row for row in reversed(subject.stages) if row.get("accuracy") is not None), None)


def _texts(subject: Subject, name: str) -> Iterator[str]:
    """The figure as text, or nothing where the subject does not have it."""
    value: Any
    if name == "accuracy":
        row = last_accuracy(subject)
        value = row and row["accuracy"]
    elif name == "bytes":
        value = next((row["bytes"] for row in reversed(subject.stages) if row.get("bytes")), None)
    else:
        value = subject.totals.get(name)
    if value is None:
        return
    if name == "bytes":
        yield memory_text(value)
    else:
        yield {"area_mm2": f"{value:.4f} mm²", "latency_ms": f"{value:.3f} ms"}.get(name, shown(name, value))


def _details(subject: Subject) -> Mapping[str, str]:
    """What each figure is made of."""
    totals = subject.totals
    found = {
        "speedup": f"{totals['dense_cycles']:,} → {totals['cycles']:,} cycles",
        "energy_gain": f"{_energy(totals['dense_energy_per_inference_uj'])} → "
        f"{_energy(totals['energy_per_inference_uj'])} per inference",
        "passes": f"dense {totals['dense_passes']:,}",
        "utilisation": "of all PEs and cycles",
        "area_mm2": "",
        "speedup_per_area": "",
        "latency_ms": "",
    }
    if "passes_lower_bound" in totals:
        found["passes"] += f"; no lossless packing needs fewer than {_bound(subject):,}"
        found["matrix_compression_rate"] = f"{totals['weights']:,} weights in {totals['area']:,} slots"
        found["tightness"] = f"{totals['nonzeros']:,} nonzeros in {totals['area']:,} slots"
    if totals.get("area_mm2"):
        found["area_mm2"] = f"dense array {totals['dense_area_mm2']:.4f} mm²"
        found["speedup_per_area"] = (
            f"{totals['speedup']:.2f}x on {totals['area_mm2'] / totals['dense_area_mm2']:.2f} x the area"
        )
    if totals.get("latency_ms") is not None and totals.get("dense_latency_ms") is not None:
        found["latency_ms"] = f"dense {totals['dense_latency_ms']:.3f} ms"
    return found | _run_details(subject)


def _bound(subject: Subject) -> int:
    """The least passes, counted for each use of a weight as the passes are."""
    bounds = {
        layer.weight: row["passes_lower_bound"]
        for layer, row in zip(subject.network.layers, subject.rows, strict=True)
        if "passes_lower_bound" in row
    }
    return sum(
        bounds.get(layer.weight, row["passes"]) * (row["temporal_tiles"] if layer.weight in bounds else 1)
        for layer, row in zip(subject.network.layers, subject.rows, strict=True)
    )


def _run_details(subject: Subject) -> dict[str, str]:
    row = last_accuracy(subject)
    drop = row.get("accuracy_drop") if row else None
    images = f" on the {row['split']} split" if row and row.get("split") else ""
    sizes = [row["bytes"] for row in subject.stages if row.get("bytes")]
    return {
        "accuracy": images.strip()
        if drop is None
        else f"{abs(drop):.2f} points {'above' if drop < 0 else 'below'} dense{images}",
        "bytes": f"dense {memory_text(sizes[0])}" if sizes else "",
    }


def _energy(microjoules: float) -> str:
    return shown("_uj", microjoules)
