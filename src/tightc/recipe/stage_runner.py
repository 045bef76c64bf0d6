"""Runs the stages of a recipe, reuses earlier results, and makes a row of the table for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tightc.config.input_spec import image_shape
from tightc.data.images import Images, Normalization, NormalizedImages, Split
from tightc.data.options import DataOptions
from tightc.data.samples import Samples
from tightc.data.validation_split import split_validation
from tightc.errors import DataError
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.finetuning.finetune import finetune
from tightc.finetuning.labels import is_labeled
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model, load_model
from tightc.model.history import early_end_reason
from tightc.model.layer_view.layer_metrics import density_metrics
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.network_inputs import network_inputs
from tightc.model.onnx_proto.serialization import serialized_size
from tightc.model.packings.metadata import is_permuted
from tightc.model.packings.packed_form import unpack_layers
from tightc.packing.pack import pack
from tightc.permutation.permute import permute
from tightc.progress import Progress, no_progress
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.recipe.recipe import REPORT_STAGES, Recipe, RecipeEvaluate, RecipeQuantize, Step
from tightc.recipe.records import DENSE, stage_name
from tightc.recipe.workspace import Workspace, hash_data, hash_file, hash_key
from tightc.report import Report, Result
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape
from tightc.tile.subwords import subwords_of

Row = dict[str, Any]
Data = NormalizedImages | Samples
OpenedImages = dict[tuple[str, Split], Data]  # by the hash of the source
StageResult = tuple[Model | None, Report]  # no model for a stage that only reports

_COLUMNS = (
    "accuracy",
    "density",
    "matrix_compression_rate",
    "tightness",
    "passes",
    "cycles",
    "speedup",
    "energy_gain",
)
# options that do not change the result, and files that are hashed by their content instead
_UNHASHED_OPTIONS = {"jobs", "threads", "dask", "checkpoint", "checkpoint_minutes", "inputs", "mask"}


@dataclass
class StageRunner:
    """Runs the stages of `recipe`, with paths relative to the current folder, one after the other.

    `progress` gets the tasks of all stages, `stage_progress` is that of the present stage. `model` is the last model
    made, `models_made` the number of stages that made one.
    """

    recipe: Recipe
    workspace: Workspace
    progress: Progress
    stage_progress: Progress = no_progress
    model: Model = field(init=False)
    models_made: int = 0
    names: set[str] = field(default_factory=set)
    opened_images: OpenedImages = field(default_factory=dict)

    def start(self) -> Row:
        """Load the recipe's model and return its row; an unsuitable normalization is refused before any work."""
        self.model = self.dense
        if self.recipe.data:
            shape = image_shape(network_inputs(self.dense.proto, self.dense.origin))
            if shape is not None:
                self._data.normalization.check(shape.channels)
        key = hash_key("dense", self.dense.sha256, version("tightc"))
        return self._row(DENSE, "dense", key, lambda: (self.dense, Report("dense", {})))

    def step(self, step: Step) -> Row:
        """Run the stage of `step`, or take its result from the workspace; returns its row."""
        options = step.options.model_dump(mode="json", exclude=_UNHASHED_OPTIONS)
        if step.finetune is not None:
            options["validation"] = self._trained_without or step.finetune.validation
        reads = [
            self.model.sha256,
            self.recipe.seed if step.uses_seed else "",
            self._images_key(step),
            hash_file(step.simulate.inputs) if step.simulate and step.simulate.inputs else "",
            hash_file(step.prune.mask) if step.prune and step.prune.mask else "",
            self.teacher.sha256 if options.get("teacher") else "",
        ]
        key = hash_key(step.stage, options, reads, version("tightc"))
        name = self._assign_name(step.stage)
        number, stages = len(self.names), len(self.recipe.stages)
        self.progress("run", (number - 1) / stages, {"stage": f"{number} of {stages}, {step.stage}"})
        row = self._row(name, step.stage, key, lambda: self._stage_functions(key)[step.stage](step.options))
        self.progress("run", number / stages, {"stage": f"{number} of {stages}, {step.stage}"})
        return row

    def _row(self, name: str, stage: str, key: str, run: Callable[[], StageResult]) -> Row:
        """The row of a stage: from its record where `key` is the same, else from what `run` returns."""
        self.stage_progress = _name_stage(name, self.progress)
        found = self.workspace.find_result(name, key, has_model=stage not in REPORT_STAGES)
        state = "unchanged" if found else "done"
        if found:
            record, model = found
            self.progress(name, 1.0, {"": "unchanged"})
        else:
            made, report = run()
            record, model = {"key": key, "report": report.to_dict()}, None
            if made is not None:
                model = self.workspace.write_model(name, made)
                # recorded before it is measured, so that an interrupt does not lose it
                self.workspace.write_record(name, record, model)
        measured = ""
        if model is not None:
            self.workspace.remove_checkpoint(
                key
            )  # also where the run that trained it was killed before it did so
            self.model = model
            reason = early_end_reason(model) if stage != "dense" else ""
            state += f", ended by {reason}" if reason else ""
            parts = [_COLUMNS, self.table_options.model_dump(mode="json"), self._data_key]
            measured = hash_key(*parts, *self._split_key())
        if record.get("measured") != measured or record.get("row", {}).keys() != {*_COLUMNS, "bytes"}:
            row = self._measure(model) if model else _report_row(record["report"])
            record |= {"measured": measured, "row": row}
            self.workspace.write_record(name, record, model)
        return {"name": name, "stage": stage, **record["row"], "state": state}

    def _assign_name(self, stage: str) -> str:
        """The name of a stage: numbered if it makes a model, else with the number of the model that it reads."""
        self.models_made += stage not in REPORT_STAGES
        name = stage_name(stage, self.models_made, self.names)
        self.names.add(name)
        return name

    @cached_property
    def dense(self) -> Model:
        """The model that the recipe starts from."""
        return load_model(self.recipe.model)

    @cached_property
    def teacher(self) -> Model:
        """The model that finetune distills from, and that evaluate compares with."""
        return load_model(self.recipe.teacher) if self.recipe.teacher else self.dense

    @cached_property
    def table_options(self) -> SimulateOptions:
        """How the table is measured: like the recipe's first simulate, in dataflow ws and on the array of permute.

        If that array has PEs for subwords, several of them make a PE for the whole weights of other models.
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

    def _stage_functions(self, key: str) -> dict[str, Callable[[Any], StageResult]]:
        """The function of each stage, by name; each takes the stage's options."""
        seed, progress = self.recipe.seed, self.stage_progress
        return {
            "prune": self._prune,
            "finetune": lambda options: self._finetune(options, self.workspace.checkpoint_path(key)),
            "quantize": self._quantize,
            "permute": lambda options: permute(self.model, options, seed=seed, progress=progress),
            "pack": lambda options: pack(self.model, options),
            "simulate": lambda options: (None, simulate(self.model, options)),
            "evaluate": lambda options: (None, self._evaluate_stage(options)),
        }

    def _prune(self, options: PruneOptions) -> Result:
        images = self._calibration_images() if options.needs_images else None
        return prune(self.model, options, images, seed=self.recipe.seed, progress=self.stage_progress)

    def _quantize(self, options: RecipeQuantize) -> Result:
        images = self._calibration_images() if options.activations else None
        plain = QuantizeOptions(**options.model_dump(exclude={"activations"}))
        return quantize(self.model, plain, images, seed=self.recipe.seed, progress=self.stage_progress)

    def _finetune(self, options: Any, checkpoint: Path) -> Result:
        given = {"checkpoint": str(checkpoint), **options.model_dump(exclude_none=True)}
        given["validation"] = self._trained_without or given["validation"]
        teacher = self.teacher if given.pop("teacher") else None
        images, normalization = self._split(self._images("train"))
        return finetune(
            self.model,
            images,
            normalization,
            FinetuneOptions(**given),
            seed=self.recipe.seed,
            teacher=teacher,
            progress=self.stage_progress,
        )

    def _evaluate_stage(self, options: RecipeEvaluate) -> Report:
        plain = EvaluateOptions(**options.model_dump(exclude={"teacher"}))
        teacher = self.teacher if options.teacher else None
        return self._evaluate(self.model, self._test_images(), plain, teacher)

    def _evaluate(
        self, model: Model, data: Data, options: EvaluateOptions, teacher: Model | None = None
    ) -> Report:
        images, normalization = self._split(data)
        return evaluate(model, images, normalization, options, teacher=teacher, progress=self.stage_progress)

    def _split(self, data: Data) -> tuple[Images | Samples, Normalization]:
        """Images and their normalization; samples have none."""
        return (data, Normalization()) if isinstance(data, Samples) else (data.images, data.normalization)

    @property
    def _data(self) -> DataOptions:
        assert self.recipe.data is not None, "the recipe was checked: stages that need data have it"
        return self.recipe.data

    @cached_property
    def _data_key(self) -> str:
        """The hash of the recipe's data before the first stage; empty where there is none."""
        return hash_source(self._data) if self.recipe.data else ""

    @property
    def _validation(self) -> int:
        """Number of images that are held out."""
        return self.recipe.data.validation if self.recipe.data else 0

    @property
    def _trained_without(self) -> int:
        """Number of training images that are held out."""
        return self.recipe.data.trained_without if self.recipe.data else 0

    def _split_key(self) -> list[Any]:
        """What the held-out images are, for keys; empty without any."""
        if not self._validation:
            return []
        return [self._validation] if self._trained_without else [self._validation, "test"]

    def _images_key(self, step: Step) -> str:
        """The hash of the images that `step` reads; empty where it reads none."""
        if not step.needs_images:
            return ""
        parts: list[Any] = []
        if step.calibrates and self._trained_without:
            parts = [self._trained_without]
        elif step.stage == "evaluate" and not self._trained_without:
            parts = self._split_key()
        return hash_key(self._data_key, *parts) if parts else self._data_key

    def _calibration_images(self) -> Data:
        training = self._images("train")
        return split_data(training, self._trained_without)[0] if self._trained_without else training

    def _measured_images(self) -> Data:
        """The images of the accuracy column: the validation split where there is one, else the test set."""
        if not self._validation:
            return self._images("test")
        return split_data(self._images("train" if self._trained_without else "test"), self._validation)[1]

    def _test_images(self) -> Data:
        """The images of evaluate: the test set without those that are held out."""
        test = self._images("test")
        if self._validation and not self._trained_without:
            return split_data(test, self._validation)[0]
        return test

    def _images(self, split: Split) -> Data:
        """The images or samples of `split`; DataError where the data changed since it was hashed."""
        place = (self._data_key, split)
        if place not in self.opened_images:
            self.opened_images[place] = open_split(self._data, split, self.dense, self._data_key)
        return self.opened_images[place]

    def _measure(self, model: Model) -> Row:
        """The columns of a model, on the array of its packings where it has some, else on that of the table."""
        options = self.table_options
        if is_permuted(model):
            options = options.model_copy(update={"array": None})
        totals = dict(simulate(model, options).totals)
        density, _ = density_metrics(read_network(unpack_layers(model)))
        totals["density"] = density["density"]
        measured = self._measured_images() if self.recipe.data else None
        if measured is not None and is_labeled(self._split(measured)[0], model):
            totals["accuracy"] = self._evaluate(model, measured, EvaluateOptions()).totals["accuracy"]
        return {**{column: totals.get(column) for column in _COLUMNS}, "bytes": serialized_size(model.proto)}


def hash_source(data: DataOptions) -> str:
    """The hash of the source of `data`, of its normalization, and of how images are resized and cropped."""
    framing = [data.resize, data.crop] if data.framing else []
    return hash_key(hash_data(data.data), data.mean, data.std, *framing)


def open_split(data: DataOptions, split: Split, model: Model, key: str) -> Data:
    """The images or samples of `split` for `model`, labeled or not; DataError where their hash is no longer `key`."""
    images = data.open_for(split, network_inputs(model.proto, model.origin), labeled=False)
    if hash_source(data) != key:
        raise DataError(f"{data.data}: it changed while the recipe ran", "run the recipe again")
    return images


def split_data(data: Data, count: int) -> tuple[Data, Data]:
    """`data` without `count` held-out images, and these."""
    if isinstance(data, Samples):
        return split_validation(data, count)
    rest, held_out = split_validation(data.images, count)
    return NormalizedImages(rest, data.normalization), NormalizedImages(held_out, data.normalization)


def _report_row(report: Mapping[str, Any]) -> Row:
    """The columns of a stage that only reports, from its report."""
    return {**{column: report["totals"].get(column) for column in _COLUMNS}, "bytes": None}


def _name_stage(stage: str, progress: Progress) -> Progress:
    """A progress that passes tasks on to `progress` with the name of their stage."""
    return lambda task, done, figures: progress(
        stage if stage.endswith(task) else f"{stage} {task}", done, figures
    )
