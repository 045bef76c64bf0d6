"""What the page is about: a model, simulated, with the records of its run where it has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.packings.metadata import is_permuted, matching_packings
from tightc.model.packings.packed_form import decode_layers
from tightc.names import escape
from tightc.recipe.recipe import REPORT_STAGES
from tightc.recipe.run_folder import RunFolder, read_run
from tightc.report import Figures, LayerReport, Report
from tightc.report_page.annealing import Curve, curves_of_model, curves_of_run
from tightc.report_page.options import ReportOptions
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.packing import Packing

LETTERS = ("A", "B")


@dataclass(frozen=True)
class Subject:
    """A model on the page.

    `letter` tells two apart and is empty where there is one. `report` is that of `simulate`. `stages`: a row for each
    stage of its run, empty without a run, and `missing` the names of those that have not ended. `history`: stage and
    options of each stage of its recipe, or of the model's history. `annealing`: curves by the labels of layers.
    """

    letter: str
    name: str
    report: Report
    network: Network
    packings: Mapping[str, Packing]
    stages: tuple[Figures, ...]
    missing: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]
    annealing: Mapping[str, Curve]

    @property
    def label(self) -> str:
        """How charts and tables call it."""
        return self.letter or ("packed" if self.packings else "as it is")

    @property
    def rows(self) -> tuple[LayerReport, ...]:
        """The measures of each layer, in the order of the network's layers; `name` is the readable one, the label."""
        return tuple(LayerReport({**row, "name": row["label"]}) for row in self.report.layers)

    @property
    def totals(self) -> Figures:
        """The measures of the network."""
        return self.report.totals


def read_subject(source: Model | Path, letter: str, options: ReportOptions) -> Subject:
    """The subject of a model, or of the run in a folder, simulated with `options`."""
    run = read_run(source) if isinstance(source, Path) else None
    model = run.last if run else source
    assert isinstance(model, Model)
    report = simulate(model, options.simulated(_options_of_run(run) if run else None))
    plain, decoded = decode_layers(model)
    network = read_network(plain)
    return Subject(
        letter=letter,
        name=escape(_name(source)),
        report=report,
        network=network,
        packings=matching_packings(plain, network, decoded),
        stages=run.rows if run else (),
        missing=run.missing if run else (),
        history=_history_of_run(run) if run else tuple(read_history(model)),
        annealing=curves_of_run(run) if run else curves_of_model(model, network),
    )


def _name(source: Model | Path) -> str:
    if isinstance(source, Path):
        return source.resolve().name
    return PurePath(source.origin).name


def _options_of_run(run: RunFolder) -> SimulateOptions:
    """Those of the first simulate of its recipe, weight-stationary, as the table of the run has them."""
    found = next((step.simulate for step in run.recipe.stages if step.simulate), SimulateOptions())
    array = None if is_permuted(run.last) else found.array
    return found.model_copy(update={"dataflow": "ws", "array": array})


def _history_of_run(run: RunFolder) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {"stage": step.stage, "options": step.options.model_dump(mode="json")}
        for step in run.recipe.stages
        if step.stage not in REPORT_STAGES
    )
