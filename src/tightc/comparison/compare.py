"""Compare: methods on the same weights, each simulated on the same accelerator with the same energy table."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import PurePath
from typing import Any

from tightc.comparison.options import CompareOptions
from tightc.comparison.variants import Variant, variants
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.history import early_end_reason
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import matching_packings, read_packings, with_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.permutation.network_progress import WHOLE
from tightc.permutation.permute import permute
from tightc.progress import Progress, no_progress
from tightc.report import Figures, Report
from tightc.simulation.batch import UNKNOWN_BATCH
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape
from tightc.tile.measures import ratio

_AS_PERMUTED = "as arranged"
_DEFAULT_ARRAY = ArrayShape(32, 32)
_ACCELERATOR = (
    "array",
    "arrays",
    "hardware",
    "dataflow",
    "prefetch_weights",
    "replicate_tiles",
    "columns_per_lane_register",
    "overlap_drain",
    "accumulator_bypass",
    "energy_table",
    "area_table",
    "hardware_file",
    "energy_file",
)
_MEASURED = (
    "matrix_compression_rate",
    "tightness",
    "dropped_weights",
    "dropped_magnitude",
    "packed_bits",
    "bit_compression",
    "fan_in_max",
)
_OF_AREA = ("area_mm2", "speedup_per_area")
_SIMULATED = (
    "energy_per_inference_uj",
    "utilisation",
    "time_ms",
    "latency_ms",
    "vector_unit_cycles",
    "dram_bytes",
    *_OF_AREA,
)  # all but the first two only if hardware or an area table define them
_EQUAL_AREA_NOTE = (
    "ranked by speedup at equal area: speedup / (area / area of the dense array), each on an array of its own fan-in; "
    "energy is that of one run and does not depend on how many arrays fit"
)
_SEARCH = 0.99  # fraction of the progress of a variant


def compare(
    models: Sequence[Model], options: CompareOptions, *, seed: int = 0, progress: Progress = no_progress
) -> Report:
    """A row for each variant and model, each packed anew from the weights as they are, with the same `seed`.

    A method that is tuned has one row, that of its best variant: the one of fewest cycles, then of least energy, or
    at equal area the fastest there.

    The dense variant has all its weights, zeros included. A lossy method runs without the weights that it drops. A
    model that is arranged already has one more row, as it is, if it runs on this accelerator; else `notes` say why not.
    """
    plain = [_ready(model) for model in models]
    array = _array_of(plain, options)
    run = _Run(
        options.simulated(array),
        seed,
        progress,
        several=len(models) > 1,
        equal_area=options.equal_area,
    )
    entries = variants(options, array)
    rows: list[dict[str, Any]] = []
    for name, model in zip(_names(models), plain, strict=True):
        found = [run.enter(name, with_packings(model, {}), variant) for variant in entries]
        found = _best_of_tuned(found, entries, equal_area=options.equal_area)
        if read_packings(model):
            found += run.as_permuted(name, model)
        found = _against_reference(found, entries, equal_area=options.equal_area)
        rows += _ranked(found) if options.equal_area else found
    notes = (
        *_noted(models),
        *run.notes,
        *dict.fromkeys(variant.note for variant in entries if variant.note),
        *run.omissions,
        *_lossy_note(rows),
        *_fan_in_notes(rows, len(models) > 1),
        *((_EQUAL_AREA_NOTE,) if options.equal_area else ()),
    )
    return Report("compare", {**run.totals, "seed": seed}, tuple(rows), run.uncovered, notes)


def _ready(model: Model) -> Model:
    """The plain model, without notes; ModelError if its packings do not fit its weights."""
    plain = unpack_layers(model)
    matching_packings(plain, read_network(plain))
    return replace(plain, notes=())


def _noted(models: Sequence[Model]) -> list[str]:
    """The notes of each model from when it was read."""
    named = zip(_names(models), models, strict=True)
    return [f"{name}: {note}" if len(models) > 1 else note for name, model in named for note in model.notes]


@dataclass
class _Run:
    """One comparison in progress; collects what the simulations report of accelerator and models."""

    simulated: SimulateOptions
    seed: int
    progress: Progress
    several: bool
    equal_area: bool
    totals: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    omissions: list[str] = field(default_factory=list)
    uncovered: tuple[Figures, ...] = ()
    _seen: set[str] = field(default_factory=set)

    def enter(self, name: str, plain: Model, variant: Variant) -> dict[str, Any]:
        """The row of `variant`, without figures if the hardware cannot run it."""
        head = {
            "model": name,
            "variant": variant.label,
            "method": variant.method,
            "fan_in": variant.fan_in,
        }
        if variant.permute is None:
            return {**head, **_row({}, {}), **dict.fromkeys(_OF_AREA if self.simulated.area else ())}
        task = f"{name} {variant.label}" if self.several else variant.label
        progress = _VariantProgress(task, self.progress)
        permuted, report = permute(plain, variant.permute, seed=self.seed, progress=progress)
        by = early_end_reason(permuted)
        if by:
            self.omissions.append(f"{task}: the {by} ended the search before all moves were tried")
        totals = self._simulate(name, plain if variant.method == "dense" else permuted, variant.fan_in)
        self.progress(task, 1.0, {"cycles": f"{totals['cycles']:,}"})
        return {**head, **_row(totals, report.totals)}

    def as_permuted(self, name: str, model: Model) -> list[dict[str, Any]]:
        """The row of a model as it is, if it runs on this accelerator."""
        packings = read_packings(model).values()
        methods = sorted({packing.method for packing in packings})
        fan_in = max(packing.fan_in for packing in packings)
        head = {
            "model": name,
            "variant": _AS_PERMUTED,
            "method": ", ".join(methods),
            "fan_in": fan_in,
        }
        try:
            totals = self._simulate(name, model, fan_in)
        except OptionError as fault:
            self.omissions.append(f"{name} is not compared as it is arranged: {fault.sentence}")
            return []
        return [{**head, **_row(totals, totals)}]

    def _simulate(self, name: str, model: Model, fan_in: int) -> Figures:
        """The totals of `model`; at equal area the hardware has multiplexers of `fan_in`, all that its lanes need."""
        simulated, hardware = self.simulated, self.simulated.hardware
        if self.equal_area and hardware:
            own = hardware.model_copy(update={"fan_in": fan_in})
            simulated = simulated.model_copy(update={"hardware": own})
        report = simulate(model, simulated)
        if not self.totals:
            self.totals = {key: report.totals[key] for key in _ACCELERATOR if key in report.totals}
            if hardware:
                given = {**report.totals["hardware_file"], "fan_in": hardware.fan_in}
                self.totals["hardware_file"] = given
        self.notes = self.notes or report.notes[:1]
        if name not in self._seen:
            self._seen.add(name)
            self.uncovered += tuple({"model": name, **entry} for entry in report.uncovered)
            if report.totals["batch"] is None:
                self.omissions.append(f"{name}: {UNKNOWN_BATCH}" if self.several else UNKNOWN_BATCH)
        return report.totals


class _VariantProgress:
    """Reports the search in all layers as one task: its time left, and the figures of the layer that reported last."""

    def __init__(self, task: str, progress: Progress) -> None:
        self._task, self._progress = task, progress
        self._lock = threading.Lock()
        self._layer: dict[str, str] = {}

    def __call__(self, task: str, done: float, figures: Mapping[str, str], /) -> None:
        if task != WHOLE:  # a report of the whole follows
            own = {label: value for label, value in figures.items() if label != "left"}
            with self._lock:
                self._layer = {"": task, **own}
            return
        with self._lock:
            layer = self._layer
        self._progress(self._task, _SEARCH * min(1.0, done), {**figures, **layer})


def _row(simulated: Figures, measured: Figures) -> dict[str, Any]:
    """The figures of one variant; None for those it has not."""
    return {
        "passes": simulated.get("passes"),
        "cycles": simulated.get("cycles"),
        "stall_cycles": simulated.get("stall_cycles"),
        "speedup": simulated.get("speedup"),
        "over_column_combine": None,
        "energy_pj": simulated.get("energy_pj"),
        "energy_gain": simulated.get("energy_gain"),
        "energy_gain_over_zero_gated": simulated.get("energy_gain_over_zero_gated"),
        "energy_gain_over_column_combine": None,
        **{name: measured.get(name) for name in _MEASURED},
        "stream_bits": simulated.get("stream_bits"),
        **{name: simulated[name] for name in _SIMULATED if name in simulated},
    }


def _best_of_tuned(
    rows: list[dict[str, Any]], variants: Sequence[Variant], *, equal_area: bool
) -> list[dict[str, Any]]:
    """The rows of one model without those of tuned methods but their best; of equals the one that comes first."""

    def badness(row: dict[str, Any]) -> tuple[float, ...]:
        costs = (row["cycles"], row["energy_pj"])
        return (-(row["speedup_per_area"] or 0.0), *costs) if equal_area else costs

    best: dict[str, dict[str, Any]] = {}
    for row, variant in zip(rows, variants, strict=True):
        key = variant.method if variant.tuned else variant.label
        if key not in best or badness(row) < badness(best[key]):
            best[key] = row
    return list(best.values())


def _against_reference(
    rows: list[dict[str, Any]], variants: Sequence[Variant], *, equal_area: bool
) -> list[dict[str, Any]]:
    """The rows of one model, compared with the row of lossless column combining if there is one."""
    if equal_area:
        for row in rows:
            row["over_column_combine_per_area"] = None
    labels = {variant.label for variant in variants if variant.is_reference}
    reference = next((row for row in rows if row["variant"] in labels), None)
    if reference is not None:
        for row in rows:
            if row["cycles"] is not None:
                row["over_column_combine"] = ratio(reference["cycles"], row["cycles"])
                row["energy_gain_over_column_combine"] = ratio(reference["energy_pj"], row["energy_pj"])
            if equal_area and row["speedup_per_area"] is not None:
                row["over_column_combine_per_area"] = ratio(
                    row["speedup_per_area"], reference["speedup_per_area"]
                )
    return rows


def _ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one model, the fastest at equal area first, those without figures last."""
    return sorted(rows, key=lambda row: row["speedup_per_area"] or 0.0, reverse=True)


def _array_of(plain: Sequence[Model], options: CompareOptions) -> ArrayShape:
    """The array of the comparison; OptionError if the models are arranged for several and no option decides."""
    if options.array or options.hardware:
        return options.array or options.hardware.array  # type: ignore[union-attr]
    permuted = sorted({packing.array for model in plain for packing in read_packings(model).values()})
    if len(permuted) > 1:
        shapes = " and ".join(map(str, permuted))
        raise OptionError(f"the models are arranged for {shapes}", "choose one with --array")
    return permuted[0] if permuted else _DEFAULT_ARRAY


def _names(models: Sequence[Model]) -> list[str]:
    """The stems of the models' files; their paths if two stems are equal; with numbers if two paths are."""
    origins = [model.origin for model in models]
    stems = [PurePath(origin).stem for origin in origins]
    if len(set(stems)) == len(stems):
        return stems
    seen = [origins[:at].count(origin) for at, origin in enumerate(origins)]
    return [
        f"{origin} ({before + 1})" if before else origin for origin, before in zip(origins, seen, strict=True)
    ]


def _lossy_note(rows: Sequence[Figures]) -> tuple[str, ...]:
    if not any(row["dropped_weights"] for row in rows):
        return ()
    return (
        "rows that drop weights are compared before tightc finetune: what accuracy that costs is not counted",
    )


def _fan_in_notes(rows: Sequence[Figures], several: bool) -> list[str]:
    """Which fan-in is best for tight, if several are compared."""
    notes = []
    for name, group in groupby(rows, key=lambda row: row["model"]):
        tight = [row for row in group if row["method"] == "tight" and row["variant"] != _AS_PERMUTED]
        if len(tight) > 1:
            least, fastest = (
                min(tight, key=lambda row: row[key])["variant"] for key in ("energy_pj", "cycles")
            )
            prefix = f"{name}: " if several else ""
            notes.append(f"{prefix}least energy of the tight ones: {least}; fewest cycles: {fastest}")
    return notes
