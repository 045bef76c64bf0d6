"""Check: whether a model meets requirements on its measures, all of which are computed from the model itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any

from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.data.samples import Samples
from tightc.errors import OptionError
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.model.file import Model
from tightc.model.layer_view.layer_metrics import density_metrics
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.packed_form import unpack_layers
from tightc.progress import Progress, no_progress
from tightc.report import Report
from tightc.requirements.measures import BASE, DATA, MEASURES, MISSING
from tightc.requirements.options import CheckOptions
from tightc.requirements.requirement import Requirement, is_number
from tightc.simulation.simulate import simulate

_SETTINGS = ("array", "hardware", "dataflow", "energy_table", "area_table")
_ITSELF = "the model is compared with itself: accuracy_drop is 0 and agreement 100 whatever it is"
_MEASURED_ON_DATA = [name for name, need in MEASURES.items() if need in (DATA, BASE)]


def check(
    model: Model,
    options: CheckOptions,
    *,
    against: Model | None = None,
    data: NormalizedImages | Samples | None = None,
    progress: Progress = no_progress,
) -> Report:
    """A row for each requirement of `options`: its value for `model`, and whether it holds; without one it does not.

    The model is simulated, and evaluated on `data` where that is required; `accuracy_drop` and `agreement` compare it
    with `against`. What the model's metadata say of any measure is not read. OptionError where `data` or `against` are
    given without a requirement on what they are for.
    """
    required = {requirement.name for requirement in options.requirements}
    _refuse_unused(required, data is not None, against is not None)
    report = simulate(model, options.simulated, progress=progress)
    measures = {name: report.totals[name] for name in report.totals if name in MEASURES}
    if "density" not in measures:
        density, _ = density_metrics(read_network(unpack_layers(model)))
        measures |= density
    measures["bytes"] = model.size
    if data is not None:
        measures |= _evaluated(model, against, data, required, options, progress)
    # NaN and infinity are no values, and JSON cannot hold them
    measures = {name: value if is_number(value) else None for name, value in measures.items()}
    given = {DATA: data is not None, BASE: data is not None and against is not None}
    rows = [_row(requirement, measures, given) for requirement in options.requirements]
    failed = sum(row["result"] == "failed" for row in rows)
    totals = {
        "model": model.origin,
        "against": against and against.origin,
        "passed": not failed,
        "requirements": len(rows),
        "failed": failed,
        **{name: report.totals[name] for name in _SETTINGS if name in report.totals},
        "measures": measures,
    }
    itself = against is not None and against.sha256 == model.sha256
    notes = (*report.notes, *((_ITSELF,) if itself else ()), *_reasons(rows))
    return Report("check", totals, rows, report.uncovered, notes)


def needs_data(options: CheckOptions) -> bool:
    """Whether a requirement of `options` has a value only where the model is evaluated on data."""
    return any(requirement.name in _MEASURED_ON_DATA for requirement in options.requirements)


def needs_labels(options: CheckOptions) -> bool:
    """Whether a requirement of `options` is on the accuracy."""
    return any(requirement.name.startswith("accuracy") for requirement in options.requirements)


def needs_base(options: CheckOptions) -> bool:
    """Whether a requirement of `options` compares the model with another."""
    return any(MEASURES[requirement.name] == BASE for requirement in options.requirements)


def _refuse_unused(required: Set[str], has_data: bool, has_base: bool) -> None:
    for option, given, needs in (("data", has_data, (DATA, BASE)), ("against", has_base, (BASE,))):
        names = [name for name, need in MEASURES.items() if need in needs]
        if given and not required & set(names):
            raise OptionError(
                f"--{option}: expected a requirement on {' or '.join(names)}, got none",
                f"add --require, or leave --{option} out",
            )


def _evaluated(
    model: Model,
    against: Model | None,
    data: NormalizedImages | Samples,
    required: Set[str],
    options: CheckOptions,
    progress: Progress,
) -> dict[str, float]:
    """The required measures on `data`: of `model`, and compared with `against` if there is one."""
    images: Images | Samples
    images, normalization = (
        (data, Normalization()) if isinstance(data, Samples) else (data.images, data.normalization)
    )
    runs = EvaluateOptions(batch_size=options.batch_size, threads=options.threads)

    def accuracy(of: Model) -> float:
        return float(evaluate(of, images, normalization, runs, progress=progress).accuracy)

    found: dict[str, float] = {}
    if required & {"accuracy", "accuracy_drop"}:
        found["accuracy"] = accuracy(model)
    if against is not None and "accuracy_drop" in required:
        found["accuracy_drop"] = accuracy(against) - found["accuracy"]
    if against is not None and "agreement" in required:
        report = evaluate(model, images, normalization, runs, teacher=against, progress=progress)
        found |= {name: report.totals[name] for name in ("agreement",) if name in report.totals}
    return found


def _row(requirement: Requirement, measures: Mapping[str, Any], given: Mapping[str, bool]) -> dict[str, Any]:
    """The row of a requirement."""
    value = measures.get(requirement.name)
    need = MEASURES[requirement.name]
    reason = None
    if value is None:
        reason = MISSING["" if given.get(need, False) else need]
        if need == BASE and given[DATA] and not given[BASE]:
            reason = "it needs the model to compare with; add --against"
    return {
        "name": requirement.name,
        "value": value,
        "operator": requirement.operator,
        "limit": requirement.limit,
        "result": "ok" if requirement.holds(value) else "failed",
        "requirement": requirement.text,
        "reason": reason,
    }


def _reasons(rows: Collection[Mapping[str, Any]]) -> list[str]:
    """Why requirements have no value."""
    return list(
        dict.fromkeys(f"{row['name']} has no value: {row['reason']}" for row in rows if row["reason"])
    )
