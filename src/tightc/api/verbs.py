"""The public verbs: each checks its arguments, runs a stage and returns its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from numpy.typing import ArrayLike

from tightc.api.arguments import (
    images_and_normalization,
    options_from,
    python_errors,
    refuse_without_images,
    require_data,
    require_images,
    require_model,
    require_seed,
)
from tightc.api.documentation import public_verb
from tightc.comparison.options import CompareOptions
from tightc.compression.options import CompressOptions
from tightc.data.images import NormalizedImages
from tightc.data.samples import Samples
from tightc.difference.options import DiffOptions
from tightc.errors import OptionError
from tightc.evaluation.options import EvaluateOptions
from tightc.exploration.options import ExploreOptions
from tightc.finetuning.options import FinetuneOptions
from tightc.inspection.options import InspectOptions, SensitivityOptions
from tightc.model.file import Model
from tightc.packing.options import PackOptions
from tightc.permutation.options import PermuteOptions
from tightc.progress import Progress, no_progress
from tightc.pruning.options import PruneOptions
from tightc.quantization.options import QuantizeOptions
from tightc.report import Report, Result
from tightc.report_page.options import ReportOptions
from tightc.requirements.options import CheckOptions
from tightc.rtl.options import RtlOptions
from tightc.simulation.options import SimulateOptions
from tightc.verification.options import VerifyOptions

if TYPE_CHECKING:
    from tightc.api import keywords as kw


@public_verb(InspectOptions, SensitivityOptions)
def inspect(
    model: Model,
    options: InspectOptions | None = None,
    *,
    images: NormalizedImages | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.InspectKeywords],
) -> Report:
    """List the layers of a model, and what is not covered.

    With `images` each layer is also pruned alone, by magnitude, to measure its sensitivity: the loss of accuracy and
    the divergence of the class probabilities.

    Returns
    -------
    Report
        A row for each layer: its matrix, the vectors that stream through it, its density.
    """
    from tightc.inspection.inspect import inspect as stage

    given: dict[str, Any] = dict(keywords)
    about_images = {name: given.pop(name) for name in SensitivityOptions.model_fields if name in given}
    chosen = options_from(InspectOptions, options, given)
    report = stage(require_model(model), chosen)
    if images is None:
        refuse_without_images(about_images)
        return report
    from tightc.inspection.sensitivity import with_sensitivity

    seen = require_images(images)
    sensitivity = SensitivityOptions(**{**about_images, "seed": require_seed(seed)})
    return with_sensitivity(report, model, seen.images, seen.normalization, sensitivity, progress=progress)


@public_verb(PruneOptions)
def prune(
    model: Model,
    options: PruneOptions | None = None,
    *,
    images: NormalizedImages | Samples | None = None,
    mask: str | PathLike[str] | Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.PruneKeywords],
) -> Result:
    """Set the least important weights to zero.

    Every layer keeps at least one weight, and biases stay. Criteria fisher and obs need `images`. Tiles recorded in the
    model are dropped.

    Returns
    -------
    Result
        The pruned model, and its density by layer.
    """
    from tightc.pruning.prune import prune as stage

    given: dict[str, Any] = dict(keywords)
    masks = mask if isinstance(mask, Mapping) else None
    if mask is not None:
        given["mask"] = "<arrays>" if masks is not None else mask
    chosen = options_from(PruneOptions, options, given)
    network = require_model(model)
    seen = None if images is None else require_data(images, network)
    if seen is not None and not chosen.needs_images:
        raise OptionError("images: expected criterion obs or fisher, got magnitude", "leave images out")
    return stage(network, chosen, seen, masks=masks, seed=require_seed(seed), progress=progress)


@public_verb(FinetuneOptions)
def finetune(
    model: Model,
    images: NormalizedImages | Samples,
    options: FinetuneOptions | None = None,
    *,
    teacher: Model | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.FinetuneKeywords],
) -> Result:
    """Train the remaining weights, or prune while training; zeros stay zero.

    Needs torch: `pip install 'tightc[finetune]'`. Without a sparsity or budget the tiles of a permuted model stay
    valid. Ctrl-C raises an Interrupted that carries the result so far.

    Returns
    -------
    Result
        The trained model, and loss, accuracy and density of the training.
    """
    from tightc.finetuning.finetune import finetune as stage

    chosen = options_from(FinetuneOptions, options, keywords)
    network = require_model(model)
    seen, normalization = images_and_normalization(require_data(images, network))
    if teacher is not None:
        require_model(teacher, "teacher")
    return stage(
        network,
        seen,
        normalization,
        chosen,
        seed=require_seed(seed),
        teacher=teacher,
        progress=progress,
    )


@public_verb(QuantizeOptions)
def quantize(
    model: Model,
    options: QuantizeOptions | None = None,
    *,
    images: NormalizedImages | Samples | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.QuantizeKeywords],
) -> Result:
    """Quantize weights to int8, and with images the inputs of the layers too.

    Symmetric, with a scale for each filter that minimizes the mean square error. Zeros stay zero.

    Returns
    -------
    Result
        The quantized model, and the error of each layer.
    """
    from tightc.quantization.quantize import quantize as stage

    chosen = options_from(QuantizeOptions, options, keywords)
    if images is None:
        refuse_without_images(keywords, "keep", "skip")
    network = require_model(model)
    seen = None if images is None else require_data(images, network)
    return stage(network, chosen, seen, seed=require_seed(seed), progress=progress)


@public_verb(PermuteOptions)
def permute(
    model: Model,
    options: PermuteOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.PermuteKeywords],
) -> Result:
    """Pack the nonzero weights into few, full tiles, and record the tiles in the model.

    Weights and outputs stay as they are; only a lossy method sets weights to zero. The same seed gives the same tiles
    for any number of threads. Ctrl-C raises an Interrupted that carries the result so far.

    Returns
    -------
    Result
        The model with a packing of every layer, and the measures of the packings.
    """
    from tightc.permutation.permute import permute as stage

    chosen = options_from(PermuteOptions, options, keywords)
    return stage(require_model(model), chosen, seed=require_seed(seed), progress=progress)


@public_verb(PackOptions)
def pack(
    model: Model,
    options: PackOptions | None = None,
    *,
    stream: str | PathLike[str] | None = None,
    **keywords: Unpack[kw.PackKeywords],
) -> Result:
    """Write the compact form of a permuted model, which runs in stock onnxruntime.

    Each weight becomes a few small tensors and a function that rebuilds it. With a stream the tiles are sorted as they
    are in it.

    Returns
    -------
    Result
        The packed model, and its size before and after.
    """
    from tightc.packing.pack import pack as stage
    from tightc.packing.stream_file import pack_to_file

    chosen = options_from(PackOptions, options, keywords)
    if stream is not None:
        return pack_to_file(require_model(model), chosen, stream)
    return stage(require_model(model), chosen)


@public_verb()
def unpack(model: Model, *, stream: str | PathLike[str] | None = None) -> Result:
    """Restore the plain model from a packed one.

    The weights are the same to the bit, but for the sign of zeros. The tiles stay recorded.

    Returns
    -------
    Result
        The plain model, and its size before and after.
    """
    from tightc.packing.stream_file import read_stream_file
    from tightc.packing.unpack import unpack as stage

    if stream is not None:
        return stage(require_model(model), read_stream_file(stream), str(stream))
    return stage(require_model(model))


@public_verb(SimulateOptions)
def simulate(
    model: Model,
    options: SimulateOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.SimulateKeywords],
) -> Report:
    """Count cycles and energy on a systolic array, and compare with the dense network.

    A permuted or packed layer runs its tiles, any other layer runs dense. Cycles are exact closed forms; energy is a
    model, not a measurement.

    Returns
    -------
    Report
        Cycles, utilisation and energy of the network and of each layer, beside those of the dense network.
    """
    from tightc.simulation.simulate import simulate as stage

    chosen = options_from(SimulateOptions, options, keywords)
    return stage(require_model(model), chosen, seed=require_seed(seed), progress=progress)


@public_verb(RtlOptions)
def write_rtl(
    model: Model,
    folder: str | PathLike[str],
    options: RtlOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.WriteRtlKeywords],
) -> Report:
    """Write the array as SystemVerilog, the network in its memories.

    The model has int8 weights and activations. VerifyError where a simulation finds other values or cycles than
    onnxruntime and `simulate`.

    Returns
    -------
    Report
        Passes and cycles of each layer, and what the simulation found.
    """
    from tightc.rtl.cosimulation import check_simulator, simulated_report
    from tightc.rtl.rtl import rtl as stage
    from tightc.rtl.write import write_design

    chosen = options_from(RtlOptions, options, keywords)
    check_simulator(chosen)
    design = stage(require_model(model), chosen, seed=require_seed(seed), progress=progress)
    write_design(design, Path(folder))
    return simulated_report(design, Path(folder), chosen)


@public_verb(CompareOptions)
def compare(
    models: Model | Sequence[Model],
    options: CompareOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.CompareKeywords],
) -> Report:
    """Compare methods of packing on the same hardware.

    Every method packs the weights of each model anew and is simulated on the same array. The models are not changed.

    Returns
    -------
    Report
        A row for each model and variant.
    """
    from tightc.comparison.compare import compare as stage

    chosen = options_from(CompareOptions, options, keywords)
    several = models if isinstance(models, list | tuple) and not isinstance(models, Result) else [models]
    given = [require_model(model, "models") for model in several]
    if not given:
        raise OptionError(
            "models: expected at least one Model, got none", "give a model, or a list of models"
        )
    return stage(given, chosen, seed=require_seed(seed), progress=progress)


@public_verb(ExploreOptions)
def explore(
    models: Model | Sequence[Model],
    options: ExploreOptions | None = None,
    *,
    images: NormalizedImages | Samples | None = None,
    store: str | PathLike[str] | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.ExploreKeywords],
) -> Report:
    """Find the Pareto front of arrays, fan-ins, sparsities and methods.

    Points are kept in the SQLite file `store`, if one is given, and taken from it when they are there. A point is
    skipped only where a proven lower bound of it is dominated. With `images` accuracy is a measure of the front.

    Returns
    -------
    Report
        A row for each point, with `status` front, dominated, skipped or unfit.
    """
    from tightc.exploration.explore import explore as stage

    chosen = options_from(ExploreOptions, options, keywords)
    several = models if isinstance(models, list | tuple) and not isinstance(models, Result) else [models]
    given = [require_model(model, "models") for model in several]
    if not given:
        raise OptionError(
            "models: expected at least one Model, got none", "give a model, or a list of models"
        )
    data = None if images is None else require_data(images, given[0])
    where = None if store is None else Path(store)
    found = stage(given, chosen, data, store=where, seed=require_seed(seed), progress=progress)
    return found.report


@public_verb(EvaluateOptions)
def evaluate(
    model: Model,
    images: NormalizedImages | Samples,
    options: EvaluateOptions | None = None,
    *,
    teacher: Model | None = None,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.EvaluateKeywords],
) -> Report:
    """Measure top-1 accuracy, or another metric, with onnxruntime.

    With a `teacher` the agreement with it: the images of the same class, or the error of other outputs.

    Returns
    -------
    Report
        Accuracy in percent, and the counts behind it; or the measures of the metric.
    """
    from tightc.evaluation.evaluate import evaluate as stage

    chosen = options_from(EvaluateOptions, options, keywords)
    network = require_model(model)
    seen, normalization = images_and_normalization(require_data(images, network))
    if teacher is not None:
        require_model(teacher, "teacher")
    return stage(network, seen, normalization, chosen, teacher=teacher, progress=progress)


@public_verb(ReportOptions)
def write_report(
    sources: Model | str | PathLike[str] | Sequence[Model | str | PathLike[str]],
    path: str | PathLike[str],
    options: ReportOptions | None = None,
    *,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.WriteReportKeywords],
) -> Report:
    """Write one HTML page on a run or on models.

    The page is one HTML file that needs no network. The models are simulated by closed forms; nothing is searched or
    trained. Needs altair: `pip install 'tightc[report]'`.

    Returns
    -------
    Report
        How large the page is, and the layers whose tiles it holds.
    """
    from tightc.files import write_file_atomically
    from tightc.report_page.page import report_page as stage

    chosen = options_from(ReportOptions, options, keywords)
    several = sources if isinstance(sources, list | tuple) and not isinstance(sources, Result) else [sources]
    given = [
        Path(one) if isinstance(one, str | PathLike) else require_model(one, "sources") for one in several
    ]
    html, report = stage(given, chosen, progress=progress)
    write_file_atomically(Path(path), html)
    return report


@public_verb(CheckOptions)
def check(
    model: Model,
    options: CheckOptions | None = None,
    *,
    against: Model | None = None,
    images: NormalizedImages | Samples | None = None,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.CheckKeywords],
) -> Report:
    """Check requirements on a model, such as `require=["speedup>=4", "accuracy_drop<=1"]`.

    All measures are computed afresh. A requirement on the accuracy needs `images`, one on `accuracy_drop` or
    `agreement` also a model to compare `against`. A requirement without a value fails.

    Returns
    -------
    Report
        Whether all requirements hold (`passed`), and a row for each with its value and limit.
    """
    from tightc.requirements.check import check as stage

    chosen = options_from(CheckOptions, options, keywords)
    network = require_model(model)
    base = None if against is None else require_model(against, "against")
    data = None if images is None else require_data(images, network)
    return stage(network, chosen, against=base, data=data, progress=progress)


@public_verb(DiffOptions)
def diff(
    model: Model,
    other: Model,
    options: DiffOptions | None = None,
    *,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.DiffKeywords],
) -> Report:
    """Show what differs between two models, layer by layer.

    Layers are matched by the names of their weights. Both models are simulated on the same hardware.

    Returns
    -------
    Report
        Whether the models are `equal`, and a row for each layer with its measures in `a`, the model, and in `b`, the
        other.
    """
    from tightc.difference.diff import diff as stage

    chosen = options_from(DiffOptions, options, keywords)
    return stage(require_model(model), require_model(other, "other"), chosen, progress=progress)


@overload
def verify(
    model: Model,
    other: Model,
    options: VerifyOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.VerifyKeywords],
) -> Report: ...
@overload
def verify(
    model: Model,
    other: SimulateOptions | None = None,
    options: SimulateOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.SimulateKeywords],
) -> Report: ...
@public_verb(VerifyOptions, SimulateOptions)
def verify(
    model: Model,
    other: Model | SimulateOptions | None = None,
    options: Any = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Any,
) -> Report:
    """Verify that two models have the same weights and outputs, such as a permuted and a packed one.

    Weights are compared exactly after unpacking, but for the sign of zeros; outputs within a tolerance, by onnxruntime.
    Without another model, the cycle engine checks the cycles and values of every layer, with the options of `simulate`:
    as `simulate(model, verify=True)`, with a VerifyError where the engine, the closed forms and onnxruntime disagree.

    Returns
    -------
    Report
        Whether the models agree (`passed`), with a row for each weight and output. Without another model, as
        `simulate`, with `engine_cycles` and `value_error` for each layer.
    """
    if other is None or isinstance(other, SimulateOptions):
        own = options_from(SimulateOptions, options if other is None else other, keywords)
        return simulate(model, own.model_copy(update={"verify": True}), seed=seed, progress=progress)
    from tightc.verification.verify import verify as stage

    chosen = options_from(VerifyOptions, options, keywords)
    models = require_model(model), require_model(other, "other")
    return stage(*models, chosen, seed=require_seed(seed), progress=progress)


@python_errors
def run_recipe(
    recipe: str | PathLike[str],
    folder: str | PathLike[str] | None = None,
    *,
    seed: int | None = None,
    allow_code: bool = False,
    progress: Progress = no_progress,
) -> Report:
    """Run a recipe: a YAML file with a model, data and a list of stages.

    A stage is skipped where its input and options did not change.

    Parameters
    ----------
    recipe : str or PathLike
        The YAML file of the recipe.
    folder : str or PathLike, optional
        Folder for the models and records, default tightc-run/NAME.
    seed : int, optional
        Seed of all randomness, default the recipe's.
    allow_code : bool, default False
        Allow the recipe to run code: a function that gives its data, or a Dask scheduler.
    progress : callable, optional
        Called as `progress(task, done, figures)`: the name of a task, the fraction done, label to value.

    Returns
    -------
    Report
        A row for the model that the recipe starts from, and one for each stage.
    """
    from tightc.recipe.run import run_recipe as run

    path = Path(recipe)
    where = Path("tightc-run") / path.stem if folder is None else Path(folder)
    checked = None if seed is None else require_seed(seed)
    return run(path, where, seed=checked, allow_code=allow_code, progress=progress)


@public_verb(CompressOptions)
def compress(
    model_path: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    options: CompressOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
    **keywords: Unpack[kw.CompressKeywords],
) -> Report:
    """Compress a model as far as a drop of accuracy permits, by the whole chain towards a goal.

    Short trainings find the sparsity, and full ones follow. Held-out images choose; the test set is read once, at the
    end. The folder then holds the packed model and the recipe that repeats it. A call that was interrupted goes
    on where it was.

    Returns
    -------
    Report
        A row for each training. `report.totals["met"]` says whether the drop was kept, on the held-out images and on
        the test set.
    """
    from tightc.compression.compress import compress as run

    path = Path(model_path)
    chosen = options_from(CompressOptions, options, keywords)
    folder = Path("tightc-compress") / path.stem if output is None else Path(output)
    return run(path, folder, chosen, seed=require_seed(seed), progress=progress)
