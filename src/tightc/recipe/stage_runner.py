"""A recipe's run in progress: what each stage reads, whether it was done before, and its row of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tightc.data.images import Images, NormalizedImages, Split
from tightc.data.options import DataOptions
from tightc.errors import DataError
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.finetuning.finetune import finetune
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model, load_model
from tightc.model.history import ended_early
from tightc.model.layer_view.image_classifier import image_input
from tightc.model.layer_view.layer_metrics import density_metrics
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import is_permuted
from tightc.model.packings.packed_form import unpack_layers
from tightc.packing.pack import pack
from tightc.permutation.permute import permute
from tightc.progress import Progress, no_progress
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.recipe.recipe import Recipe, SeeingQuantize, Step
from tightc.recipe.workspace import Workspace, data_key, file_key, key_of
from tightc.report import Report
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape
from tightc.tile.subwords import subwords_of

Row = dict[str, Any]

_FIGURES = (
    "accuracy",
    "density",
    "matrix_compression_rate",
    "tightness",
    "passes",
    "cycles",
    "speedup",
    "energy_gain",
)
# stages that make no model
_REPORTS = ("simulate", "evaluate")
# options that change nothing but the time, and a file that is known by its content
_NO_MATTER = {"jobs", "threads", "dask", "checkpoint", "checkpoint_minutes", "inputs"}


@dataclass
class StageRunner:
    """The recipe, with paths that can be opened, and how far it has come.

    `model` is what the last stage made, `made` how many stages made one, `listener` tells which stage its tasks
    belong to.
    """

    recipe: Recipe
    workspace: Workspace
    outer: Progress
    progress: Progress = no_progress
    model: Model = field(init=False)
    made: int = 0
    names: set[str] = field(default_factory=set)
    opened: dict[Split, Images] = field(default_factory=dict)

    def start(self) -> Row:
        """Loads the recipe's model and measures it, with the recipe's data once all that it says of them is checked."""
        self.model = self.dense
        if self.recipe.data:
            shape = image_input(self.dense.proto, self.dense.origin).shape
            self._data.normalization.check(shape.channels)
        key = key_of("dense", self.dense.sha256, version("tightc"))
        return self._row("00-dense", "dense", key, lambda: (self.dense, Report("dense", {})))

    def step(self, step: Step) -> Row:
        """Runs one stage, or takes its result from the workspace."""
        options = step.options.model_dump(mode="json", exclude=_NO_MATTER)
        reads = [
            self.model.sha256,
            self.recipe.seed if step.draws else "",
            self._data_key if step.sees_images else "",
            file_key(step.simulate.inputs) if step.simulate and step.simulate.inputs else "",
            self.dense.sha256 if options.get("teacher") else "",
        ]
        key = key_of(step.stage, options, reads, version("tightc"))
        return self._row(
            self._name(step.stage), step.stage, key, lambda: self._stages(key)[step.stage](step.options)
        )

    def _row(self, name: str, stage: str, key: str, act: Callable[[], tuple[Model | None, Report]]) -> Row:
        """The row of a stage: from its record where that holds, else by what `act` gives."""
        self.progress = _named(name, self.outer)
        found = self.workspace.done(name, key, reports=stage in _REPORTS)
        state = "unchanged" if found else "done"
        if found:
            record, model = found
            self.outer(name, 1.0, {"": "unchanged"})
        else:
            made, report = act()
            record, model = {"key": key, "report": report.to_dict()}, None
            if made is not None:
                model = self.workspace.keep_model(name, made)
                # before it is measured: what was made is not made again
                self.workspace.keep_record(name, record, model)
                self.workspace.checkpoint_path(key).unlink(missing_ok=True)
        measured = ""
        if model is not None:
            self.model = model
            by = ended_early(model) if stage != "dense" else ""
            state += f", ended by {by}" if by else ""
            measured = key_of(_FIGURES, self.measured.model_dump(mode="json"), self._data_key)
        if record.get("measured") != measured or record.get("row", {}).keys() != {*_FIGURES, "bytes"}:
            row = self._measure(model) if model else _reported(record["report"])
            record |= {"measured": measured, "row": row}
            self.workspace.keep_record(name, record, model)
        return {"name": name, "stage": stage, **record["row"], "state": state}

    def _name(self, stage: str) -> str:
        """Stages that make a model are numbered; one that only reports has the number of the model it read."""
        self.made += stage not in _REPORTS
        name = f"{self.made:02}-{stage}"
        while name in self.names:
            name += "-again"
        self.names.add(name)
        return name

    @cached_property
    def dense(self) -> Model:
        """The model that the recipe starts from."""
        return load_model(self.recipe.model)

    @cached_property
    def measured(self) -> SimulateOptions:
        """What the table is measured on: the recipe's first simulate, but in dataflow ws and on permute's array.

        Where that is made of PEs for digits, weights that are not arranged take as many as make whole words.
        """
        steps = self.recipe.stages
        options = next((step.simulate for step in steps if step.simulate), SimulateOptions())
        arrays = [
            step.permute.array.of_words(
                1 if step.permute.subword_bits is None else subwords_of(step.permute.subword_bits)
            )
            for step in steps
            if step.permute
        ]
        array = next(iter(arrays), options.array) or ArrayShape(32, 32)
        return options.model_copy(update={"array": array, "dataflow": "ws", "verify": False, "inputs": None})

    def _stages(self, key: str) -> dict[str, Callable[[Any], tuple[Model | None, Report]]]:
        seed, progress = self.recipe.seed, self.progress
        return {
            "prune": self._prune,
            "finetune": lambda options: self._finetune(options, self.workspace.checkpoint_path(key)),
            "quantize": self._quantize,
            "permute": lambda options: permute(self.model, options, seed=seed, progress=progress),
            "pack": lambda options: pack(self.model, options),
            "simulate": lambda options: (None, simulate(self.model, options)),
            "evaluate": lambda options: (None, self._evaluate(self.model, options)),
        }

    def _prune(self, options: PruneOptions) -> tuple[Model, Report]:
        seen = (
            NormalizedImages(self._images("train"), self._data.normalization) if options.sees_images else None
        )
        return prune(self.model, options, seen, seed=self.recipe.seed, progress=self.progress)

    def _quantize(self, options: SeeingQuantize) -> tuple[Model, Report]:
        seen = (
            NormalizedImages(self._images("train"), self._data.normalization) if options.activations else None
        )
        plain = QuantizeOptions(**options.model_dump(exclude={"activations"}))
        return quantize(self.model, plain, seen, seed=self.recipe.seed, progress=self.progress)

    def _finetune(self, options: Any, checkpoint: Path) -> tuple[Model, Report]:
        given = {"checkpoint": str(checkpoint), **options.model_dump(exclude_none=True)}
        teacher = self.dense if given.pop("teacher") else None
        return finetune(
            self.model,
            self._images("train"),
            self._data.normalization,
            FinetuneOptions(**given),
            seed=self.recipe.seed,
            teacher=teacher,
            progress=self.progress,
        )

    def _evaluate(self, model: Model, options: EvaluateOptions) -> Report:
        images = self._images("test")
        return evaluate(model, images, self._data.normalization, options, progress=self.progress)

    @property
    def _data(self) -> DataOptions:
        assert self.recipe.data is not None, "the recipe was checked: stages that need data have it"
        return self.recipe.data

    @cached_property
    def _data_key(self) -> str:
        return self._key_of_data() if self.recipe.data else ""

    def _key_of_data(self) -> str:
        return key_of(data_key(self._data.data), self._data.mean, self._data.std)

    def _images(self, split: Split) -> Images:
        """The images of `split`; DataError where they changed since the keys of the stages were made."""
        if split not in self.opened:
            key = self._data_key
            images = self._data.open(split, image_input(self.dense.proto, self.dense.origin).shape)
            if self._key_of_data() != key:
                raise DataError(f"{self._data.data}: it changed while the recipe ran", "run the recipe again")
            self.opened[split] = images
        return self.opened[split]

    def _measure(self, model: Model) -> Row:
        """The figures of a model, on the recipe's array, or on the one that it is arranged for."""
        arranged = is_permuted(model)
        run = simulate(
            model, self.measured.model_copy(update={"array": None}) if arranged else self.measured
        ).totals
        density, _ = density_metrics(read_network(unpack_layers(model)))
        figures = {**run, "density": density["density"]}
        if self.recipe.data:
            figures["accuracy"] = self._evaluate(model, EvaluateOptions()).totals["accuracy"]
        return {**{figure: figures.get(figure) for figure in _FIGURES}, "bytes": len(model.to_bytes())}


def _reported(report: Mapping[str, Any]) -> Row:
    """The figures of a stage that only reports, by its own report."""
    return {**{figure: report["totals"].get(figure) for figure in _FIGURES}, "bytes": None}


def _named(stage: str, outer: Progress) -> Progress:
    """A listener that tells which stage a task belongs to."""
    return lambda task, done, figures: outer(
        stage if stage.endswith(task) else f"{stage} {task}", done, figures
    )
